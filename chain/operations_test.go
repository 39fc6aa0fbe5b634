// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
)

// The page about failures names tests that there are.
func TestFailuresPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/failures.md")
	require.NoError(t, err)
	var tests strings.Builder
	for _, pattern := range []string{"*_test.go", "faults/*_test.go", "../conf/*_test.go", "../drivers/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			tests.Write(text)
		}
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(named), 40)
	for _, name := range named {
		require.Contains(t, tests.String(), "func "+name[1]+"(t *testing.T)")
	}
}

// The page for operators names events and log lines that there are.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "| event | log line |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	var source strings.Builder
	for _, pattern := range []string{"*.go", "../plugins/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") }) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			source.Write(text)
		}
	}
	var codes []string
	for _, e := range []chain.Event{chain.FailedOver{}, chain.StandbyDropped{}, chain.AllDown{}, chain.LinkLost{}, chain.DivergenceFound{},
		chain.EffectUnresolved{}, chain.StaleServes{}, chain.TieSettled{}, chain.ResyncFailed{}, chain.Frozen{}, chain.StoreReported{}} {
		codes = append(codes, chain.Code(e))
	}
	word := regexp.MustCompile("`([^`]+)`")
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 || strings.HasPrefix(row, "|---") {
			continue
		}
		for _, code := range word.FindAllStringSubmatch(cells[1], -1) {
			require.Contains(t, codes, code[1])
			codes = slices.DeleteFunc(codes, func(c string) bool { return c == code[1] })
		}
		lines := word.FindAllStringSubmatch(cells[2], -1)
		require.NotEmpty(t, lines, row)
		for _, line := range lines {
			require.Contains(t, source.String(), `"`+strings.TrimRight(line[1], " …"), row)
		}
	}
	require.Empty(t, codes, "events without a line")
}
