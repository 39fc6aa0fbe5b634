// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/internal/pace"
	"github.com/understudy-dev/understudy/plugins"
	"github.com/understudy-dev/understudy/plugins/wire"
)

func send(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(pid, sig))
	if sig == syscall.SIGSTOP {
		eventually(t, func() bool { return stopped(t, pid) }, "every thread has stopped")
	}
}

// stopped reports whether all threads of a process have stopped, or ended since:
// the signal only asks them to (see proc(5), the state in stat).
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	return !slices.ContainsFunc(stats, func(file string) bool {
		stat, err := os.ReadFile(file)
		return err == nil && !strings.Contains(string(stat), ") T ") && !strings.Contains(string(stat), ") Z ")
	})
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func restarted(store *plugins.Store, times int) func() bool {
	return func() bool {
		s := store.Status()
		return s.State == plugins.Running && s.Restarts >= times
	}
}

// load keeps a store busy until the test is over, and counts what came of it.
type load struct {
	done, unknown, unavailable, late atomic.Int64
	other                            atomic.Pointer[error]
	watch                            *pace.Watch
}

const attempt = time.Second

func startLoad(t *testing.T, store driver.Store, callers int) *load {
	t.Helper()
	l := &load{watch: pace.Start()}
	t.Cleanup(l.watch.Stop)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.one(ctx, store)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return l
}

func (l *load) one(ctx context.Context, store driver.Store) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	start := time.Now()
	err := commit(ctx, store, "load")
	// The contract gives a call 100 ms after its context; the rest is for what else a
	// machine that keeps up has to do, and for one that does not.
	if time.Since(start) > attempt+time.Second+l.watch.Slack(start.Add(attempt)) {
		l.late.Add(1)
	}
	switch {
	case err == nil:
		l.done.Add(1)
	case errors.Is(err, driver.Unknown):
		l.unknown.Add(1)
	case errors.Is(err, driver.Unavailable):
		l.unavailable.Add(1)
	default:
		l.other.Store(&err)
	}
}

func (l *load) requireGood(t *testing.T) {
	t.Helper()
	if err := l.other.Load(); err != nil {
		require.NoError(t, *err, "only what is missing or was not sent may fail")
	}
	require.Zero(t, l.late.Load(), "calls that outlived their context")
	before := l.done.Load()
	eventually(t, func() bool { return l.done.Load() > before+100 }, "work goes on")
}

func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	store, logs := launch(t, spec("serve"))
	l := startLoad(t, store, 64)
	send(t, store.Status().PID, syscall.SIGINT) // a Ctrl-C is the host's alone
	for n := range 3 {
		l.requireGood(t)
		pid := store.Status().PID
		send(t, pid, syscall.SIGKILL)
		eventually(t, restarted(store, n+1), "a new process")
		require.NotEqual(t, pid, store.Status().PID)
		require.True(t, gone(pid))
	}
	l.requireGood(t)
	require.Equal(t, 3, store.Status().Restarts)
	require.Positive(t, l.unknown.Load(), "calls in flight when the process was killed")
	require.NotEmpty(t, logs.FilterMessage("plugin lost, restarting").All())
}

func TestFrozenUnderLoad(t *testing.T) {
	t.Parallel()
	s := spec("serve")
	s.PingInterval, s.PingTimeout = 200*time.Millisecond, 2*time.Second
	store, _ := launch(t, s)
	l := startLoad(t, store, 16)
	l.requireGood(t)
	pid := store.Status().PID
	send(t, pid, syscall.SIGSTOP)
	eventually(t, restarted(store, 1), "a new process")
	require.True(t, gone(pid))
	l.requireGood(t)
	require.Positive(t, l.unknown.Load())
}

// A frozen process is found by a call that times out, long before the schedule.
func TestFrozenFoundByACall(t *testing.T) {
	t.Parallel()
	s := spec("serve")
	s.PingInterval, s.PingTimeout = time.Hour, 100*time.Millisecond
	store, _ := launch(t, s)
	send(t, store.Status().PID, syscall.SIGSTOP)
	err := commit(within(t, time.Second), store, "a")
	require.ErrorIs(t, err, driver.Unknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	eventually(t, restarted(store, 1), "a new process")
	require.NoError(t, commit(t.Context(), store, "a"))
}

// Calls without any deadline end as well.
func TestCallsInFlight(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, *plugins.Store){
		"Killed": func(t *testing.T, s *plugins.Store) { t.Helper(); send(t, s.Status().PID, syscall.SIGKILL) },
		"Frozen": func(t *testing.T, s *plugins.Store) { t.Helper(); send(t, s.Status().PID, syscall.SIGSTOP) },
		"Panic": func(t *testing.T, s *plugins.Store) {
			t.Helper()
			_, err := get(t.Context(), s, "panic")
			require.Error(t, err)
		},
		"Exit": func(t *testing.T, s *plugins.Store) {
			t.Helper()
			_, err := get(t.Context(), s, "exit")
			require.Error(t, err)
		},
		"Stopped": func(t *testing.T, s *plugins.Store) { t.Helper(); send(t, s.Status().PID, syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec("serve")
			s.PingInterval, s.PingTimeout = 200*time.Millisecond, 2*time.Second
			store, _ := launch(t, s)
			read, write, feed, fed := make(chan error, 1), make(chan error, 1), make(chan error, 1), make(chan struct{}, 1)
			go func() { _, err := get(t.Context(), store, "block"); read <- err }()
			go func() { write <- commit(t.Context(), store, "block") }()
			go func() {
				feed <- store.Changes(t.Context(), driver.ChangesRequest{}, func(driver.ChangeBatch) error {
					select {
					case fed <- struct{}{}:
					default:
					}
					return nil
				})
			}()
			<-fed
			_, err := get(t.Context(), store, "blocked", "2") // the others are there as well
			require.NoError(t, err)
			lose(t, store)
			classes := []driver.Class{driver.Unknown}
			if name == "Stopped" { // in order, so the store can say that it has done nothing, if there is time
				classes = append(classes, driver.Unavailable)
			}
			require.Contains(t, classes, driver.ClassOf(<-write))
			require.ErrorIs(t, <-read, driver.Unavailable)
			require.ErrorIs(t, <-feed, driver.Unavailable)
			eventually(t, restarted(store, 1), "a new process")
			require.NoError(t, commit(t.Context(), store, "a"))
		})
	}
}

// A process of the plugin's own that holds the pipes open hides nothing, and does
// not outlive it if it is of its group.
func TestChildHoldsThePipes(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"SameGroup": {"serve-parent"}, "OtherGroup": {"serve-parent", "detached"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, logs := launch(t, spec(args...))
			children := func() []int {
				var pids []int
				for _, entry := range logs.All() {
					if n, ok := strings.CutPrefix(entry.Message, "child "); ok {
						pids = append(pids, number(t, n))
					}
				}
				return pids
			}
			eventually(t, func() bool { return len(children()) == 1 }, "the child's line in the log")
			send(t, store.Status().PID, syscall.SIGKILL)
			eventually(t, restarted(store, 1), "a new process")
			require.NoError(t, store.Close(t.Context()))
			eventually(t, func() bool { return len(children()) == 2 }, "the child of the new process")
			for _, child := range children() {
				if name == "OtherGroup" {
					send(t, child, syscall.SIGKILL)
				}
				eventually(t, func() bool { return gone(child) || zombie(child) }, "no child left")
			}
		})
	}
}

func TestCrashLoop(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken")
	var mu sync.Mutex
	var seen []plugins.Status
	s := spec("crash-later", broken)
	s.OnStatus = func(status plugins.Status) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, status)
	}
	store, err := plugins.LaunchLooping(t.Context(), s, 3, time.Minute, time.Second)
	require.NoError(t, err)
	closeWithTest(t, store)
	require.NoError(t, commit(t.Context(), store, "a"))

	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	send(t, store.Status().PID, syscall.SIGKILL)
	eventually(t, func() bool { return store.Status().State == plugins.Failed }, "a crash loop")
	status := store.Status()
	require.ErrorContains(t, status.Err, "exit status 4")
	require.True(t, status.Retry.After(status.Since))

	// Now calls do not wait, and say why.
	err = commit(t.Context(), store, "a")
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorContains(t, err, "failed too often")
	require.ErrorContains(t, err, "exit status 4")

	require.NoError(t, os.Remove(broken))
	eventually(t, func() bool { return store.Status().State == plugins.Running }, "it recovers by itself")
	require.NoError(t, commit(t.Context(), store, "a"))

	mu.Lock()
	defer mu.Unlock()
	var states []plugins.State
	for _, status := range seen {
		states = append(states, status.State)
	}
	require.Equal(t, []plugins.State{plugins.Running, plugins.Restarting, plugins.Restarting, plugins.Failed}, states[:4])
	require.Equal(t, plugins.Running, states[len(states)-1])
}

func TestPatient(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	s := spec("crash-later", broken)
	s.Patient, s.WaitTimeout = true, 50*time.Millisecond
	store, _ := launch(t, s)
	err := commit(t.Context(), store, "a")
	require.ErrorIs(t, err, driver.Unavailable)
	require.NoError(t, os.Remove(broken))
	eventually(t, func() bool { return commit(t.Context(), store, "a") == nil }, "it starts once it can")

	s = spec("exit-0")
	s.Patient = true
	_, err = plugins.Launch(t.Context(), s)
	require.ErrorIs(t, err, driver.Invalid, "patience is of no use")
}

// A call that finds no process waits for the next one, for as long as its context
// allows.
func TestCallsWaitForAProcess(t *testing.T) {
	t.Parallel()
	held := filepath.Join(t.TempDir(), "held")
	s := spec("serve-held", held)
	s.WaitTimeout = time.Minute
	store, _ := launch(t, s)
	require.NoError(t, os.WriteFile(held, nil, 0o600))
	send(t, store.Status().PID, syscall.SIGKILL)
	eventually(t, func() bool { return store.Status().State != plugins.Running }, "the loss is noticed")
	err := commit(within(t, 50*time.Millisecond), store, "a")
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, os.Remove(held))
	require.NoError(t, commit(t.Context(), store, "a"))
}

// What a feed's consumer returns comes back as it is, also if it is the error of
// another plugin's store.
func TestConsumerOfChangesFails(t *testing.T) {
	t.Parallel()
	store, _ := launch(t, spec("serve"))
	want := &driver.Error{Class: driver.Unavailable, Cause: wire.ErrNotSent}
	calls := 0
	err := store.Changes(t.Context(), driver.ChangesRequest{}, func(driver.ChangeBatch) error { calls++; return want })
	require.Same(t, want, err)
	require.Equal(t, 1, calls)
}
