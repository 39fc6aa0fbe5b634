// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// plugged is a configuration of a plugin, which is this binary, and a linked driver.
func plugged(t *testing.T, section, linked string) string {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	return configFile(t, fmt.Sprintf(`chain: calls
links:
  - {name: first, plugin: %q, args: [plugin, memory], config: %s}
  - {name: second, driver: memory, config: %s}
`, binary, section, linked))
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		section, linked string
		flags           []string
		status          int
		stdout, stderr  string // parts
	}{
		"Good":          {"{feed: 5}", "{}", nil, exitOK, "ok: chain calls, 2 links\n", ""},
		"WrongInPlugin": {"{fed: 5}", "{}", nil, exitFailed, "", `unknown key "fed"`},
		"WrongInLinked": {"{}", "{max_records: -1}", nil, exitFailed, "", `link "second": memory: configure`},
		"Static":        {"{fed: 5}", "{}", []string{"-static"}, exitOK, "ok: chain calls, 2 links\n", ""},
		"StaticLinked":  {"{}", "{fed: 1}", []string{"-static"}, exitFailed, "", `link "second": `},
		"WrongFile":     {"{}", "[]", nil, exitFailed, "", "links.second.config: is a list: want a section"},
		"WrongFlag":     {"{}", "{}", []string{"-set", "policy.timeout=1"}, exitFailed, "", "-set policy.timeout: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"config", "check", "-config", plugged(t, c.section, c.linked)}, c.flags...)
			status, stdout, stderr := call(t, args...)
			require.Equal(t, c.status, status, stderr)
			require.Equal(t, c.stdout, stdout)
			require.Contains(t, stderr, c.stderr)
			require.Equal(t, c.stderr == "", stderr == "", "standard error: %q", stderr)
		})
	}
}

func TestConfigCheckTellsOfAllLinks(t *testing.T) {
	t.Parallel()
	path := configFile(t, "chain: c\nlinks:\n- {name: a, plugin: not-there}\n- {name: b, driver: nope}\n- {name: c, driver: memory}\n")
	status, _, stderr := call(t, "config", "check", "-config", path)
	require.Equal(t, exitFailed, status)
	require.Regexp(t, `(?m)^.*\ba: .*not-there does not exist`, stderr)
	require.Regexp(t, `(?m)^.*\bb: .*"nope" is not linked`, stderr)
	require.NotContains(t, stderr, "c:")
}

// What a host refuses at its start is found by the check.
func TestConfigCheckTellsWhatAHostRefuses(t *testing.T) {
	t.Parallel()
	path := configFile(t, "chain: c\nlinks:\n- {name: a, driver: redis, config: {tls: {}}}\n- {name: b, driver: memory}\n")
	status, _, stderr := call(t, "config", "check", "-config", path)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "allow_weaker")
	status, _, stderr = call(t, "config", "check", "-config", path, "-set", "allow_weaker=b")
	require.Equal(t, exitOK, status, stderr)
	status, _, stderr = call(t, "config", "check", "-config", path, "-set", "allow_weaker=b", "-set", "report_dir="+path+"/none")
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "report_dir")
	status, _, stderr = call(t, "config", "check", "-static", "-config", path, "-set", "report_dir="+path+"/none")
	require.Equal(t, exitOK, status, stderr)
}

func TestConfigShow(t *testing.T) {
	t.Parallel()
	path := configFile(t, "chain: c\nlinks:\n- {name: a, driver: redis, config: {password: swordfish}}\n")
	status, stdout, stderr := call(t, "config", "show", "-config", path, "-set", "policy.retries=9")
	require.Equal(t, exitOK, status, stderr)
	require.Regexp(t, `(?m)^links\.a\.config\.password +\[redacted\] +\S+c\.yaml:3$`, stdout)
	require.Regexp(t, `(?m)^policy\.retries +9 +-set policy\.retries$`, stdout)
	require.Regexp(t, `(?m)^policy\.timeout +10s +default$`, stdout)
	require.NotContains(t, stdout, "swordfish")

	status, stdout, stderr = call(t, "config", "show", "-config", path+".not")
	require.Equal(t, exitFailed, status)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "c.yaml.not")
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	status, stdout, _ := call(t, "config", "defaults")
	require.Equal(t, exitOK, status)
	require.Contains(t, stdout, "policy:\n  retries: 3\n  timeout: 10s\n")

	status, _, stderr := call(t, "config", "defaults", "-config", "x")
	require.Equal(t, exitUsage, status)
	require.Contains(t, stderr, "flag provided but not defined: -config")
}
