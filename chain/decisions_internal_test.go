// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// TestDecisionsAreDocumented: docs/chain.md has the table as it is in the code.
func TestDecisionsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/chain.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## What each error leads to\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}

	header := "| class |"
	for op := range operations {
		header += " " + op.String() + " |"
	}
	want := []string{header}
	for _, class := range driver.Classes() {
		row := "| " + class.String() + " |"
		for op := range operations {
			row += " " + decisions[class][op].String() + " |"
		}
		want = append(want, row)
	}
	require.Equal(t, want, documented)
}
