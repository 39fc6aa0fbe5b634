// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

// The test binary is also the program, when its first argument is "plugin".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// output is a writer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// call runs the program to its end.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // which plugins may take to start on a busy machine
	defer cancel()
	var out, complaints output
	status = run(ctx, args, &out, &complaints)
	return status, out.String(), complaints.String()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string // parts
	}{
		"Nothing":             {nil, exitUsage, "", "Usage: understudy <command>"},
		"Help":                {[]string{"help"}, exitOK, "serve a linked driver", ""},
		"HelpFlag":            {[]string{"--help"}, exitOK, "Usage: understudy <command>", ""},
		"HelpOfCommand":       {[]string{"help", "drivers"}, exitOK, "Usage: understudy drivers", ""},
		"HelpFlagOfCommand":   {[]string{"plugin", "-h"}, exitOK, "Usage: understudy plugin <driver>", ""},
		"HelpOfGroup":         {[]string{"dev", "help"}, exitOK, "Usage: understudy dev <command>", ""},
		"HelpInGroup":         {[]string{"help", "dev", "eventstore"}, exitOK, "", "-listen"},
		"UnknownCommand":      {[]string{"serve"}, exitUsage, "", `unknown command "serve": want one of version, drivers, plugin`},
		"GroupAlone":          {[]string{"dev"}, exitUsage, "", "Usage: understudy dev <command>"},
		"UnknownInGroup":      {[]string{"dev", "redis"}, exitUsage, "", `understudy dev: unknown command "redis": want one of eventstore`},
		"UnexpectedArgument":  {[]string{"version", "now"}, exitUsage, "", `understudy version: unexpected argument "now"`},
		"UnknownFlag":         {[]string{"drivers", "-all"}, exitUsage, "", "flag provided but not defined: -all"},
		"PluginWithoutDriver": {[]string{"plugin"}, exitUsage, "", "an argument is missing"},
		"PluginOfUnknown":     {[]string{"plugin", "nope"}, exitUsage, "", `"nope" is not linked into this program (linked: `},
		"PluginWithoutHost":   {[]string{"plugin", "memory"}, exitFailed, "", "it does not run by itself"},
		"BadFlagOfServer":     {[]string{"dev", "eventstore", "-nodes", "some"}, exitUsage, "", "invalid value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := call(t, c.args...)
			require.Equal(t, c.status, status)
			require.Contains(t, stdout, c.stdout)
			require.Contains(t, stderr, c.stderr)
			require.Equal(t, c.stdout == "", stdout == "", "standard output: %q", stdout)
			require.Equal(t, c.stderr == "", stderr == "", "standard error: %q", stderr)
		})
	}
}

func TestGroupWithoutLinkedCommands(t *testing.T) {
	t.Parallel()
	var out, complaints output
	p := &program{stdout: &out, stderr: &complaints}
	require.Equal(t, exitUsage, p.dispatch(t.Context(), "understudy dev", nil, []string{"eventstore"}))
	require.Contains(t, complaints.String(), "build without the tag custom")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	status, stdout, _ := call(t, "version")
	require.Equal(t, exitOK, status)
	require.Regexp(t, `^understudy \S+.*\ncontract \d+\ngo\S+ \w+/\w+\n$`, stdout)
}

func TestVersionNamesTheCommit(t *testing.T) {
	t.Parallel()
	number, revision := built(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}})
	require.Equal(t, "v1.2.3 commit 0123456789ab (modified)", number+revision)
}

func TestDriversAreSorted(t *testing.T) {
	t.Parallel()
	status, stdout, _ := call(t, "drivers")
	require.Equal(t, exitOK, status)
	var listed []string
	for line := range strings.Lines(stdout) {
		name, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		listed = append(listed, name)
		require.Regexp(t, `^\s*version \S`, version)
	}
	require.Equal(t, driver.Names(), listed)
}

func TestDriversTellWhatABuildLeftOut(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "run", "-tags", "custom,drivers.memory", ".", "drivers").Output()
	require.NoError(t, err)
	require.Regexp(t, `^memory +version \S+\nnot linked: .*redis.*-tags custom,.*drivers\.redis`, string(out))
}

func TestPluginServesAHost(t *testing.T) {
	t.Parallel()
	binary, err := os.Executable()
	require.NoError(t, err)
	store, err := plugins.Launch(t.Context(), plugins.Spec{Path: binary, Args: []string{"plugin", "memory"},
		Driver: "memory", Chain: "c", Link: "l", Logger: zap.NewNop(),
		StartTimeout: time.Minute, PingTimeout: 10 * time.Second})
	require.NoError(t, err)
	about, err := store.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	require.Equal(t, "memory", about.Driver)
	require.NoError(t, store.Close(t.Context()))
}

func TestDevEventStoreRunsUntilItIsStopped(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"dev", "eventstore", "--listen", "127.0.0.1:0"}, &stdout, &stderr) }()
	require.Eventually(t, func() bool { return strings.HasPrefix(stdout.String(), "esdb://127.0.0.1:") }, time.Minute, 5*time.Millisecond, "no connection string")
	stop()
	require.Equal(t, exitOK, <-ended, stderr.String())
}
