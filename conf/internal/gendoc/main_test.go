// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const folder = "../.."

func TestPage(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, run(folder, out))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	page := string(text)
	require.Contains(t, page, "| `timeout` | duration | Timeout of an incident: ")
	require.Contains(t, page, "everything included. Default: `10s`. |")
	require.Contains(t, page, "| `allow_weaker` | list of texts | `allow_weaker` names the links")
	require.Contains(t, page, "#### `links[]`")
	require.Contains(t, page, "| `config` | section |")
	require.Contains(t, page, "### redis\n")
	require.Contains(t, page, "| `password` | secret |")
	require.Contains(t, page, "#### `sentinel.tls`")
	require.Contains(t, page, "chain: recorder\n")
	require.NotContains(t, page, "|  |", "a key without a meaning")

	again, err := makePage(folder)
	require.NoError(t, err)
	require.Equal(t, page, again)
}

func TestPageOfAnotherFolder(t *testing.T) {
	t.Parallel()
	require.Error(t, run(t.TempDir(), filepath.Join(t.TempDir(), "page.md")))
}
