// SPDX-License-Identifier: Apache-2.0

//go:build linux

package plugins

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLaneThatIsNone(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"three":           `"three": want two numbers of files, with a comma`,
		"1":               `"1": want two numbers`,
		"987654,987655":   "file 987654: bad file descriptor",
		"987654,x":        `"987654,x": want two numbers`,
		"987654,987655,1": `"987654,987655,1": want two numbers`,
	} {
		_, err := takeLane(given)
		require.ErrorContains(t, err, want, given)
	}
}

// Numbers that name no lane are those of files of somebody else, such as standard
// output, which must not be closed with what was made of them.
func TestFilesThatAreNoLaneStayOpen(t *testing.T) {
	t.Parallel()
	others, err := os.Create(filepath.Join(t.TempDir(), "others"))
	require.NoError(t, err)
	for _, format := range []string{"%d", "%d,x", "%d,987655"} {
		_, err = takeLane(fmt.Sprintf(format, others.Fd()))
		require.Error(t, err)
	}
	for range 5 {
		runtime.GC()
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // what is unreachable is closed in the background
	}
	require.NoError(t, others.Close(), "it is still open")
}
