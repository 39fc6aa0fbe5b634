// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/examples/recorder/internal/demo"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wavtest"
)

// TestMain is the recorder itself when the demo starts this binary as a pool.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "pool" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// plugins builds the memory driver's plugin and returns its folder.
func plugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "understudy-memory"), "../../plugins/memory")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
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

func invoke(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestDemo(t *testing.T) {
	t.Parallel()
	data, report := calls(t, 120), filepath.Join(t.TempDir(), "report")
	code, stdout, stderr := invoke(t, "demo", "-data", data, "-plugins", plugins(t), "-report", report, "-intake", "1s", "-lease", "1s")
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	for _, want := range []string{"SIGKILL to the plugin of first", "SIGKILL to pool-1", "lost           0", "done twice     0", "first → second"} {
		require.Contains(t, stdout, want)
	}
	require.NotContains(t, stdout, "\x1b", "plain lines")
	expected, err := sample.ReadExpected(data)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(report, "report.json"))
	require.NoError(t, err)
	var got demo.Report
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, expected.Lines, got.Lines)
	require.Equal(t, expected.Archived, got.Archived)
	require.Empty(t, got.Problems)
	require.Len(t, got.Failovers, 1)
	left, err := filepath.Glob(filepath.Join(report, "work-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestDemoEndsWhenInterrupted(t *testing.T) {
	t.Parallel()
	data, report := calls(t, 120), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	binaries := plugins(t)
	time.AfterFunc(500*time.Millisecond, cancel)
	code := run(ctx, []string{"demo", "-data", data, "-plugins", binaries, "-report", report, "-intake", "1m"}, strings.NewReader(""), &bytes.Buffer{}, &out)
	require.Equal(t, 1, code)
	require.Contains(t, out.String(), "context canceled")
}

func TestRun(t *testing.T) {
	t.Parallel()
	data, out := calls(t, 60), filepath.Join(t.TempDir(), "out")
	expected, err := sample.ReadExpected(data)
	require.NoError(t, err)
	plugin := filepath.Join(plugins(t), "understudy-memory")
	code, stdout, stderr := invoke(t, "run", "-link", "first="+plugin, "-link", "second="+plugin, "-data", data, "-out", out)
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
		{"Link", []string{"run", "-link", "x"}, 2, "want NAME=PLUGIN"},
		{"Zone", []string{"run", "-link", "a=b", "-data", "x", "-out", "y", "-zone", "Nowhere/Land"}, 1, "-zone"},
		{"NoData", []string{"demo", "-data", "nosuch"}, 1, "make sample-data"},
		{"NoPlugin", []string{"run", "-link", "a=nosuch", "-data", t.TempDir(), "-out", t.TempDir()}, 1, "nosuch"},
		{"Stores", []string{"pool", "-stores", "x", "-data", "x", "-out", "y", "-log", filepath.Join(t.TempDir(), "log"), "-host", "h"}, 1, "NAME=SOCKET"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := invoke(t, tc.args...)
			require.Equal(t, tc.code, code, stderr)
			require.Contains(t, stderr, tc.want)
			require.Empty(t, stdout)
		})
	}
}
