// SPDX-License-Identifier: Apache-2.0

//go:build linux

package plugins

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLaneThatIsNone(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"three":           `"three": want two numbers of files, with a comma`,
		"1":               `"1": want two numbers`,
		"987654,987655":   "file 987654: bad file descriptor",
		"987654,x":        "file 987654: bad file descriptor",
		"987654,987655,1": "file 987654: bad file descriptor",
	} {
		_, err := takeLane(given)
		require.ErrorContains(t, err, want, given)
	}
}
