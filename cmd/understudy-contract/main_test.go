// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
	"github.com/understudy-dev/understudy/plugins"
)

// The test binary is, by the name of its file, also the programs that are tested
// and the plugins that they check.
var programs = map[string]func() error{
	"understudy-contract": func() error { main(); return nil },
	"good":                func() error { return plugins.Serve(memory.Driver()) },
	"broken":              func() error { return plugins.Serve(brokenDriver()) },
	"other-version":       otherVersion,
	"unreachable":         func() error { return plugins.Serve(unreachableDriver()) },
}

func TestMain(m *testing.M) {
	if program := programs[filepath.Base(os.Args[0])]; program != nil {
		if err := program(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// brokenDriver takes a repeat for a conflict.
func brokenDriver() driver.Driver {
	d := memory.Driver()
	open := d.Open
	d.Open = func(ctx context.Context, req driver.OpenRequest) (driver.Store, error) {
		s, err := open(ctx, req)
		return brokenStore{s}, err
	}
	return d
}

type brokenStore struct{ driver.Store }

func (b brokenStore) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	resp, err := b.Store.Commit(ctx, req)
	for i, v := range resp.Verdicts {
		if v.Err == nil && !v.Applied {
			resp.Verdicts[i].Err = driver.Conflict
		}
	}
	return resp, err
}

// unreachableDriver is one whose product is not there.
func unreachableDriver() driver.Driver {
	d := memory.Driver()
	open := d.Open
	d.Open = func(ctx context.Context, req driver.OpenRequest) (driver.Store, error) {
		s, err := open(ctx, req)
		return unreachableStore{s}, err
	}
	return d
}

type unreachableStore struct{ driver.Store }

func (unreachableStore) Epoch(context.Context, driver.EpochRequest) (driver.EpochResponse, error) {
	return driver.EpochResponse{}, &driver.Error{Class: driver.Denied, Store: "memory", Op: "epoch", Detail: "wrong password"}
}

// otherVersion is a plugin of a protocol that we do not speak.
func otherVersion() error {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: 99, MagicCookieKey: "UNDERSTUDY_PLUGIN", MagicCookieValue: os.Getenv("UNDERSTUDY_PLUGIN")},
		Plugins:         plugin.PluginSet{},
		GRPCServer:      plugin.DefaultGRPCServer,
	})
	return nil
}

// binary returns the path of a copy of the test binary under a name.
func binary(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return program(t, self, name)
}

// program copies a file that is to be run. Another process does: a file that was open
// for writing here cannot be executed as long as a process that another test has just
// started holds it open.
func program(t *testing.T, from, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	out, err := exec.CommandContext(t.Context(), "cp", from, path).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Chmod(path, 0o700))
	return path
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// command runs the program and returns its exit status and output.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	status = run(t.Context(), args, &out, &complaints)
	return status, out.String(), complaints.String()
}

func TestGoodDriverPasses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	status, stdout, stderr := command(t, "-plugin", binary(t, "good"), "-run", "^(Repeat|Cursor|Durable|History)$/", "-report", file, "-v")
	require.Equal(t, exitPassed, status, stdout+stderr)
	require.Contains(t, stdout, "declares changes (by its own word")
	require.Contains(t, stdout, "passed   History/MatchesTheModel (")
	require.Contains(t, stderr, "plugin started", "with -v the lines of the plugin are shown")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(text, &r))
	require.Equal(t, "memory", r.Driver)
	require.Zero(t, r.Failed)
	require.Positive(t, r.Passed)
	require.Len(t, r.Cases, r.Passed+r.Excused)
	for _, c := range r.Cases {
		require.NotEmpty(t, c.Sentence, c.Case)
		require.Equal(t, c.Outcome == contracttest.Excused, c.Reason != "", c.Case)
	}
	require.Contains(t, string(text), `"reason": "the harness does not declare the capability \"durable\""`)
}

// Nothing is said of a driver whose product does not answer: not that each sentence
// of the contract does not hold.
func TestUnreachableProductIsNoFailure(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := command(t, "-plugin", binary(t, "unreachable"))
	require.Equal(t, exitUsage, status, stdout)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "the store does not answer, so nothing can be said of the driver: memory: epoch: denied: wrong password")
}

func TestBrokenDriverFails(t *testing.T) {
	t.Parallel()
	plugin := binary(t, "broken")
	file := filepath.Join(t.TempDir(), "report.json")
	status, stdout, _ := command(t, "-plugin", plugin, "-run", "^Repeat$", "-report", file)
	require.Equal(t, exitFailed, status, stdout)
	require.Contains(t, stdout, "failed   Repeat/")
	require.Contains(t, stdout, "does not hold: ", "the sentence that is broken")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(text, &r))
	require.Positive(t, r.Failed)

	var excuses strings.Builder
	excuses.WriteString("declares: [changes]\nexcuse:\n")
	for _, c := range r.Cases {
		if c.Outcome == contracttest.Failed {
			fmt.Fprintf(&excuses, "  %s: it forgets tokens\n", c.Case)
		}
	}
	status, stdout, stderr := command(t, "-plugin", plugin, "-run", "^Repeat$", "-config", write(t, "excuse.yaml", excuses.String()))
	require.Equal(t, exitPassed, status, stdout+stderr)
	require.Contains(t, stdout, ": it forgets tokens")
	require.NotContains(t, stdout, "by its own word")
}

func TestStatedCapabilitiesAreCompared(t *testing.T) {
	t.Parallel()
	status, stdout, _ := command(t, "-plugin", binary(t, "good"), "-run", "Describe/DeclaresWhatIsExpected",
		"-config", write(t, "c.yaml", "declares: [changes, durable]\nconfig:\n  max_records: 100000\ntimeout: 20s\n"))
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "durable")
}

func TestBadUse(t *testing.T) {
	t.Parallel()
	good := binary(t, "good")
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"NoPlugin":      {nil, "-plugin is missing: want the plugin binary to check"},
		"UnknownFlag":   {[]string{"-plugn", good}, "flag provided but not defined: -plugn: see understudy-contract -h"},
		"Argument":      {[]string{"-plugin", good, "more"}, `unexpected argument "more"`},
		"BadPattern":    {[]string{"-plugin", good, "-run", "("}, "missing closing )"},
		"NoCase":        {[]string{"-plugin", good, "-run", "Nothing/Here"}, `-run "Nothing/Here" matches no case`},
		"Parallel":      {[]string{"-plugin", good, "-parallel", "0"}, "-parallel is 0: want 1 or more"},
		"Missing":       {[]string{"-plugin", good + "-not"}, "does not exist: build or install the plugin"},
		"Folder":        {[]string{"-plugin", filepath.Dir(good)}, filepath.Dir(good)},
		"NotExecutable": {[]string{"-plugin", notExecutable(t)}, "not executable"},
		"NoPluginAtAll": {[]string{"-plugin", program(t, write(t, "hello", "#!/bin/sh\necho hello\n"), "hello")}, "Understudy plugin"},
		"OtherVersion":  {[]string{"-plugin", binary(t, "other-version")}, "version"},
		"NoConfig":      {[]string{"-plugin", good, "-config", good + ".yaml"}, "read the configuration"},
		"BadConfig":     {[]string{"-plugin", good, "-config", write(t, "c.yaml", "config:\n  max_recrods: 5\n")}, `unknown key "max_recrods"`},
		"ReportFolder":  {[]string{"-plugin", good, "-report", filepath.Join(good, "report.json")}, "create the report"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := command(t, test.args...)
			require.Equal(t, exitUsage, status, stdout+stderr)
			require.Contains(t, stderr, test.says)
			require.Equal(t, 1, strings.Count(stderr, "\n"), "one sentence: %s", stderr)
			require.True(t, strings.HasPrefix(stderr, "understudy-contract: "), stderr)
			require.Empty(t, stdout)
		})
	}
}

func notExecutable(t *testing.T) string {
	t.Helper()
	return write(t, "text", "not a program")
}

func TestListAndHelp(t *testing.T) {
	t.Parallel()
	status, stdout, _ := command(t, "-list", "-run", "History")
	require.Equal(t, exitPassed, status)
	require.Contains(t, stdout, "History/IsLinearizable\n    Calls that run at once")
	status, stdout, _ = command(t, "-h")
	require.Equal(t, exitPassed, status)
	for _, name := range []string{"-plugin", "-config", "-run", "-report", "-v", "-list", "-parallel"} {
		require.Contains(t, stdout, "  "+name)
	}
}

func TestInterruptLeavesNoProcess(t *testing.T) {
	t.Parallel()
	plugin := binary(t, "good")
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(t.Context(), binary(t, "understudy-contract"), "-plugin", plugin, "-report", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return len(running(t, plugin)) > 1 }, time.Minute, 5*time.Millisecond, "cases are being run")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, exitFailed, exit.ExitCode(), stderr.String())
	require.Contains(t, stderr.String(), "interrupted: ")
	require.Eventually(t, func() bool { return len(running(t, plugin)) == 0 }, time.Minute, 5*time.Millisecond, "no plugin outlives its host")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), `"interrupted": true`)
}

func TestKillLeavesNoProcess(t *testing.T) {
	t.Parallel()
	plugin := binary(t, "good")
	cmd := exec.CommandContext(t.Context(), binary(t, "understudy-contract"), "-plugin", plugin)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return len(running(t, plugin)) > 1 }, time.Minute, 5*time.Millisecond, "cases are being run")
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	require.Error(t, cmd.Wait())
	require.Eventually(t, func() bool { return len(running(t, plugin)) == 0 }, time.Minute, 5*time.Millisecond, "no plugin outlives its host")
}

// running returns the processes that run a binary.
func running(t *testing.T, path string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(t, err)
	var found []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == path {
			found = append(found, link)
		}
	}
	return found
}

// The reports that the documentation shows are of all cases.
func TestDocumentedReports(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"redis.md", "writing-a-driver.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		require.NoError(t, err)
		require.Contains(t, string(text), fmt.Sprintf("\n%d cases in ", len(contracttest.Cases())), page)
	}
}
