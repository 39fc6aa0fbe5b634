// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	require.NoError(t, err)
	return n
}

// zombie reports whether a process has ended and waits to be reaped by a parent
// that is not ours to command.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

// A plugin ends with its host, however that ends and whatever the plugin does.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]syscall.Signal{"Serving": syscall.SIGCONT, "Frozen": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self(), "host")
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(stdout).ReadString('\n')
			require.NoError(t, err)
			pid := number(t, line)
			require.False(t, gone(pid))
			send(t, pid, before)
			require.NoError(t, cmd.Process.Kill())
			require.Error(t, cmd.Wait())
			eventually(t, func() bool { return gone(pid) || zombie(pid) }, "an orphan")
		})
	}
}

// The plugin itself also notices, for hosts that cannot bind its life to theirs.
func TestServeEndsWithoutItsHost(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), self(), "serve")
	cmd.Env = []string{plugins.Cookie, "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + shortDir(t)}
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "1|1|unix|")
	require.NoError(t, stdout.Close()) // as if the host had gone
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "it still runs")
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "us") //nolint:usetesting // the path of a socket is bounded
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func TestPluginSeesNothingOfTheHost(t *testing.T) {
	t.Setenv("HOST_SECRET", "hunter2")
	s := spec("serve")
	s.Config = json.RawMessage(`{"secret":"correct horse"}`)
	store, logs := launch(t, s)
	is, err := store.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	for _, where := range []string{"environment", "arguments"} {
		require.NotContains(t, is.Details[where], "hunter2")
		require.NotContains(t, is.Details[where], "correct horse")
	}
	for _, variable := range regexp.MustCompile(`(?m)^[A-Z_]+=`).FindAllString(is.Details["environment"], -1) {
		require.Regexp(t, `^(UNDERSTUDY_)?PLUGIN_|^UNDERSTUDY_PLUGIN=`, variable)
	}
	for _, entry := range logs.All() {
		require.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), "correct horse")
	}

	stdin, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", store.Status().PID))
	require.NoError(t, err)
	require.Equal(t, os.DevNull, stdin)
	group, err := syscall.Getpgid(store.Status().PID)
	require.NoError(t, err)
	require.Equal(t, store.Status().PID, group, "a group of its own")
}

func TestSockets(t *testing.T) {
	t.Parallel()
	s := spec("serve")
	store, err := plugins.Launch(t.Context(), s)
	require.NoError(t, err)
	is, err := store.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	folder := is.Details["directory"]
	for _, path := range []string{folder, filepath.Dir(folder)} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}

	// What a killed process leaves behind goes with its replacement; the rest with
	// the store.
	send(t, store.Status().PID, syscall.SIGKILL)
	eventually(t, restarted(store, 1), "a new process")
	eventually(t, func() bool { _, err := os.Stat(folder); return errors.Is(err, os.ErrNotExist) }, "the folder of the process that was killed is gone")
	require.DirExists(t, filepath.Dir(folder))
	require.NoError(t, store.Close(t.Context()))
	require.NoDirExists(t, filepath.Dir(folder))
}

func TestStaleSocketsAreSwept(t *testing.T) {
	tmp := shortDir(t)
	t.Setenv("TMPDIR", tmp)
	stale, used, young := filepath.Join(tmp, "understudy-sockets-1"), filepath.Join(tmp, "understudy-sockets-2"), filepath.Join(tmp, "understudy-sockets-3")
	for _, dir := range []string{stale, used, young} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "plugin-dir1"), 0o700))
	}
	for _, dir := range []string{stale, used} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
	}
	others, empty := filepath.Join(tmp, "understudy-sockets-4"), filepath.Join(tmp, "understudy-sockets-5")
	require.NoError(t, os.MkdirAll(filepath.Join(others, "work"), 0o700))
	require.NoError(t, os.Mkdir(empty, 0o700))
	for _, dir := range []string{others, empty} {
		long := time.Now().Add(-time.Hour)
		require.NoError(t, os.Chtimes(dir, long, long))
	}
	lock, err := os.Open(filepath.Join(used, "lock"))
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))

	launch(t, spec("serve"))
	require.NoDirExists(t, stale)
	require.DirExists(t, used, "its host lives")
	require.DirExists(t, young, "it is being made")
	require.DirExists(t, others, "it has no lock and is not empty: somebody else's")
	require.NoDirExists(t, empty)
}

func TestClose(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args   []string
		before syscall.Signal
	}{
		"Serving":     {[]string{"serve"}, syscall.SIGCONT},
		"Frozen":      {[]string{"serve"}, syscall.SIGSTOP},
		"DeafToTERM":  {[]string{"serve-mute"}, syscall.SIGCONT},
		"KilledFirst": {[]string{"serve"}, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(test.args...)
			core, logs := observer.New(zapcore.InfoLevel)
			s.Logger, s.StopTimeout = zap.New(core), 200*time.Millisecond
			store, err := plugins.Launch(t.Context(), s)
			require.NoError(t, err)
			blocked := make(chan error, 1)
			go func() { blocked <- commit(t.Context(), store, "block") }()
			pid := store.Status().PID
			send(t, pid, test.before)

			limit := time.Second // of a process that does not answer
			if test.before == syscall.SIGCONT {
				limit = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			err = store.Close(ctx)
			require.Less(t, time.Since(start), 30*time.Second)
			if test.before == syscall.SIGCONT {
				require.NoError(t, err)
				eventually(t, func() bool { return logs.FilterMessage("store closed").Len() == 1 }, "the store was closed")
			}
			eventually(t, func() bool { return gone(pid) }, "no process left")
			require.Error(t, <-blocked)
			eventually(t, func() bool { return store.Status().State == plugins.Closed }, "closed")

			require.NoError(t, store.Close(t.Context()), "once more")
			require.ErrorIs(t, commit(t.Context(), store, "a"), driver.Unavailable)
			_, err = get(t.Context(), store, "a")
			require.ErrorIs(t, err, driver.Unavailable)
			err = store.Changes(t.Context(), driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
			require.ErrorIs(t, err, driver.Unavailable)
		})
	}
}

func TestCloseAll(t *testing.T) { //nolint:paralleltest // it closes the stores of other tests
	a, err := plugins.Launch(t.Context(), spec("serve"))
	require.NoError(t, err)
	b, err := plugins.Launch(t.Context(), spec("serve"))
	require.NoError(t, err)
	require.NoError(t, plugins.CloseAll(t.Context()))
	require.Equal(t, plugins.Closed, a.Status().State)
	require.Equal(t, plugins.Closed, b.Status().State)
	require.NoError(t, plugins.CloseAll(t.Context()))
}
