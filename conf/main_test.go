// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes a file of the text, named c.yaml, in a folder of its own.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// load loads the text as a file. The environment is what is given, nothing else.
func load(t *testing.T, text string, environ []string, set ...string) (*conf.Config, error) {
	t.Helper()
	return conf.Load(conf.Options{File: write(t, text), Environ: append([]string{}, environ...), Set: set})
}

// problems returns the problems of what load refuses, with c.yaml for the file.
func problems(t *testing.T, text string, environ []string, set ...string) []string {
	t.Helper()
	path := write(t, text)
	_, err := conf.Load(conf.Options{File: path, Environ: append([]string{}, environ...), Set: set})
	var all conf.Problems
	require.ErrorAs(t, err, &all)
	return strings.Split(strings.ReplaceAll(all.Error(), path, "c.yaml"), "\n")
}

// small is a configuration with two links and no default changed.
const small = `chain: calls
links:
  - name: redis
    plugin: /opt/understudy-redis
    config: {addresses: ["a:1", "b:2"], database: 3}
  - name: event-store
    driver: memory
`
