// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// Several links may have the same driver, which names only itself.
func TestWrongSectionNamesItsLink(t *testing.T) {
	t.Parallel()
	config := chain.Config{Name: "test", Links: []chain.Link{
		{Name: "a", Driver: "memory", Config: json.RawMessage(`{"fed": 1}`)},
		{Name: "b", Driver: "memory"},
		{Name: "c", Driver: "memory", Config: json.RawMessage(`{"max_records": -1}`)},
	}}
	_, err := chain.Open(t.Context(), config)
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, `link "a": memory: configure`)
	require.ErrorContains(t, err, `link "c": memory: configure`)
	require.NotContains(t, err.Error(), `"b"`)
}

// A folder for reports that cannot be used is found before a link returns that
// could not be brought back without it.
func TestReportDirIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, dir := range map[string]string{"Missing": file + "s", "File": file} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := configOf(newFaulty(nil))
			config.ReportDir = dir
			_, err := chain.Open(t.Context(), config)
			require.ErrorIs(t, err, driver.Invalid)
			require.ErrorContains(t, err, "ReportDir")
			require.ErrorContains(t, err, dir)
		})
	}
	config := configOf(newFaulty(nil))
	config.ReportDir = t.TempDir()
	open(t, config)
	left, err := os.ReadDir(config.ReportDir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// CheckLinks says what Open would, and needs no store that answers.
func TestCheckLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := []*faulty{newFaulty(nil), newFaulty(nil)}
		for _, s := range stores {
			s.fail(driver.Unavailable)
		}
		config := configOf(stores...)
		require.NoError(t, chain.CheckLinks(t.Context(), config))
		require.Zero(t, stores[0].epoch(t).Number, "nothing was begun")

		stores[0].about = func(d *driver.DescribeResponse) { d.Protection = driver.TLS }
		config.StartDegraded = true
		err := chain.CheckLinks(t.Context(), config)
		require.ErrorIs(t, err, driver.Invalid)
		require.ErrorContains(t, err, `b: open: invalid: the protection of its connections is "local", of those of "a" "tls"`)

		config.Links = append(config.Links, chain.Link{Name: "c", Driver: "nosuch"})
		err = chain.CheckLinks(t.Context(), config)
		require.ErrorContains(t, err, `"nosuch" is not linked`)
		require.ErrorContains(t, err, "b: open", "all problems at once")
	})
}
