// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wavtest"
)

// TestMain is the recorder itself when the demo starts this binary as a host, or a test as the demo.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "host" || os.Args[1] == "demo") {
		main()
	}
	var err error
	if built, err = os.MkdirTemp("", "recorder-test-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(built)
		os.Exit(code)
	}))
}

// built is the folder of the plugins that are built, once each.
var (
	built    string
	building sync.Mutex
)

// plugin returns the path of a plugin that only this test runs.
func plugin(t *testing.T, driver string) string {
	t.Helper()
	name := "understudy-" + driver
	building.Lock()
	defer building.Unlock()
	if _, err := os.Stat(filepath.Join(built, name)); err != nil {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(built, name), "../../plugins/"+driver).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Link(filepath.Join(built, name), path))
	return path
}

// calls lays out a folder of calls with voices of our own.
func calls(t *testing.T, n int) string {
	t.Helper()
	sounds, data := t.TempDir(), filepath.Join(t.TempDir(), "data")
	for i := range 5 {
		voice := wavtest.PCM(time.Duration(i+1)*time.Second, byte(i))
		require.NoError(t, os.WriteFile(filepath.Join(sounds, string(rune('a'+i))+".wav"), voice, 0o600))
	}
	_, err := sample.Generate(sample.Options{Sounds: sounds, Out: data, Calls: n, Seed: 7})
	require.NoError(t, err)
	return data
}

// otherLinks writes a configuration with links that the demo cannot break.
func otherLinks(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.yaml")
	require.NoError(t, os.WriteFile(path, []byte("chain: recorder\nlinks:\n"+
		"  - {name: eventstore, plugin: nosuch, config: {hosts: []}}\n  - {name: redis, plugin: nosuch, config: {addresses: []}}\n"), 0o600))
	return path
}

func invoke(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestRun(t *testing.T) {
	t.Parallel()
	data, out := calls(t, 60), filepath.Join(t.TempDir(), "out")
	expected, err := sample.ReadExpected(data)
	require.NoError(t, err)
	memory := plugin(t, "memory")
	config := filepath.Join(t.TempDir(), "recorder.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "chain: recorder\nlinks: [{name: first, plugin: %s}, {name: second, plugin: %[1]s}]\n", memory), 0o600))
	code, stdout, stderr := invoke(t, "run", "-config", config, "-data", data, "-out", out)
	require.Zero(t, code, stderr)
	index, err := os.ReadFile(filepath.Join(out, "index.ndjson"))
	require.NoError(t, err)
	require.Equal(t, expected.Archived, bytes.Count(index, []byte("\n")))
	aside, err := os.ReadFile(filepath.Join(out, "set-aside.ndjson"))
	require.NoError(t, err)
	require.Equal(t, len(expected.SetAside), bytes.Count(aside, []byte("\n")))
	require.Contains(t, stdout, "calls archived")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"Nothing", nil, 2, "usage: recorder COMMAND"},
		{"Help", []string{"help"}, 0, "usage: recorder COMMAND"},
		{"Unknown", []string{"nosuch"}, 2, "usage: recorder COMMAND"},
		{"FlagHelp", []string{"demo", "-help"}, 0, "-report"},
		{"MissingFlag", []string{"demo"}, 2, "give -data"},
		{"UnknownFlag", []string{"demo", "-nosuch"}, 2, "-nosuch"},
		{"Argument", []string{"demo", "-data", "x", "y"}, 2, `unexpected argument "y"`},
		{"Zone", []string{"run", "-data", "x", "-out", "y", "-zone", "Nowhere/Land"}, 1, "-zone"},
		{"NoData", []string{"demo", "-data", "nosuch"}, 1, "make sample-data"},
		{"NoPlugin", []string{"run", "-config", "../../conf/understudy.yaml", "-set", "links.redis.plugin=nosuch", "-data", t.TempDir(), "-out", t.TempDir()}, 1, "nosuch"},
		{"DemoWithoutPlugin", []string{"demo", "-config", "../../conf/understudy.yaml", "-set", "links.redis.plugin=nosuch", "-data", calls(t, 60),
			"-report", t.TempDir()}, 1, "nosuch does not exist"},
		{"DemoOfOtherLinks", []string{"demo", "-config", otherLinks(t), "-data", calls(t, 60), "-report", t.TempDir()}, 1, "these are other links"},
		{"NoConfiguration", []string{"host", "-data", "x", "-out", "y", "-log", "z", "-host", "h"}, 1, "no configuration file is named"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := invoke(t, tc.args...)
			require.Equal(t, tc.code, code, stderr)
			require.Contains(t, stderr, tc.want)
			require.NotContains(t, stdout, "archived")
		})
	}
}
