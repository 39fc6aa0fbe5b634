// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/demo"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

// demoRun is a short demo in a process of its own, with plugins of its own.
type demoRun struct {
	cmd                *exec.Cmd
	mark               string // in the environment of all its processes
	data, report, temp string
	plugins            []string
	out                lockedBuffer
}

func newDemoRun(t *testing.T, lines int, intake time.Duration) *demoRun {
	t.Helper()
	redis, eventstore := plugin(t, "redis"), plugin(t, "eventstore")
	r := &demoRun{data: calls(t, lines), report: t.TempDir(), temp: t.TempDir(), plugins: []string{redis, eventstore},
		mark: fmt.Sprintf("RECORDER_TEST=%d-%s", os.Getpid(), t.Name())}
	self, err := os.Executable()
	require.NoError(t, err)
	r.cmd = exec.CommandContext(t.Context(), self, "demo", "-config", "../../conf/understudy.yaml",
		"-set", "links.redis.plugin="+redis, "-set", "links.eventstore.plugin="+eventstore,
		"-set", "policy.hold_down=500ms", "-set", "policy.check.interval=300ms", "-set", "policy.timeout=20s", "-set", "policy.attempt=1500ms",
		"-data", r.data, "-report", r.report, "-intake", intake.String(), "-lease", "5s")
	r.cmd.Env = append(os.Environ(), r.mark, "TMPDIR="+r.temp)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	require.NoError(t, r.cmd.Start())
	return r
}

// nothingLeft checks that no process of the demo lives on.
func (r *demoRun) nothingLeft(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return len(running(r.mark, r.plugins...)) == 0 }, time.Minute, 20*time.Millisecond,
		"%q are left", running(r.mark, r.plugins...))
}

func (r *demoRun) noFilesLeft(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(r.temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestDemo(t *testing.T) {
	t.Parallel()
	r := newDemoRun(t, 200, 8*time.Second)
	require.NoError(t, r.cmd.Wait(), "%s", &r.out)
	r.nothingLeft(t)
	r.noFilesLeft(t)
	for _, want := range []string{"SIGKILL to Redis", "Redis comes back, empty", "SIGSTOP to Redis", "SIGKILL to host-2", "SIGKILL to the plugin",
		"lost           0", "done twice     0", "left behind    0", "redis → eventstore", "eventstore → redis"} {
		require.Contains(t, r.out.String(), want)
	}
	require.NotContains(t, r.out.String(), "\x1b", "plain lines")
	text, err := os.ReadFile(filepath.Join(r.report, "report.json"))
	require.NoError(t, err)
	var got demo.Report
	require.NoError(t, json.Unmarshal(text, &got))
	expected, err := sample.ReadExpected(r.data)
	require.NoError(t, err)
	require.Equal(t, expected.Lines, got.Lines)
	require.Equal(t, expected.Lines, got.Started)
	require.Equal(t, expected.Lines, got.Completed)
	require.Equal(t, expected.Archived, got.Archived)
	require.Empty(t, got.Problems)
	require.GreaterOrEqual(t, len(got.Failovers), 2)
	require.GreaterOrEqual(t, len(got.Failbacks), 2)
	require.Positive(t, got.LongestWaitMS)
}

// TestDemoEndsWhenInterrupted: nothing is left running, whatever signals come and when.
func TestDemoEndsWhenInterrupted(t *testing.T) {
	t.Parallel()
	turn := make(chan struct{}, 1) // one after the other: each is a dozen processes
	for _, tc := range []struct {
		name    string
		after   string // what it has said when the signals come
		signals []syscall.Signal
	}{
		{"TerminateAtOnce", "calls come in", []syscall.Signal{syscall.SIGTERM}},
		{"Interrupt", "in step", []syscall.Signal{syscall.SIGINT}},
		{"TwiceWhileRedisIsFrozen", "SIGSTOP", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}},
		{"Kill", "in step", []syscall.Signal{syscall.SIGKILL}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			turn <- struct{}{}
			defer func() { <-turn }()
			r := newDemoRun(t, 120, 10*time.Second)
			require.Eventually(t, func() bool { return strings.Contains(r.out.String(), tc.after) }, 3*time.Minute, 10*time.Millisecond, "%s", &r.out)
			for _, s := range tc.signals {
				_ = r.cmd.Process.Signal(s) // it may have ended at the first
			}
			require.Error(t, r.cmd.Wait())
			r.nothingLeft(t)
			if tc.signals[0] != syscall.SIGKILL {
				require.Equal(t, 1, r.cmd.ProcessState.ExitCode(), "%s", &r.out)
				require.Contains(t, r.out.String(), "signal received")
				r.noFilesLeft(t)
			}
		})
	}
}

// running lists the processes that have the mark in their environment, or run one of the binaries.
func running(mark string, binaries ...string) []string {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	var found []string
	for _, p := range processes {
		environ, _ := os.ReadFile(filepath.Join(p, "environ")) // a process that has just ended is none
		exe, _ := os.Readlink(filepath.Join(p, "exe"))
		ours := bytes.Contains(environ, []byte(mark))
		for _, binary := range binaries {
			ours = ours || exe == binary
		}
		if ours {
			found = append(found, p+" "+exe)
		}
	}
	return found
}

// lockedBuffer may be written and read at once.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
