// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/plugins"
)

// processes is a chain over two memory plugins in subprocesses.
type processes struct {
	*bench
	plugins []*plugins.Store
}

func openProcesses(t *testing.T) *processes {
	t.Helper()
	path, err := memoryPlugin()
	require.NoError(t, err)
	core, logs := observer.New(zap.InfoLevel)
	p := &processes{bench: &bench{logs: logs, seen: &events{}}}
	config := chain.Config{Name: "test"}
	for _, name := range linkNames[:2] {
		s, err := plugins.Launch(t.Context(), plugins.Spec{Path: path, Chain: "test", Link: name})
		require.NoError(t, err)
		p.plugins = append(p.plugins, s)
		config.Links = append(config.Links, chain.Link{Name: name, Store: s})
	}
	p.Chain, err = chain.Open(t.Context(), config, chain.WithLogger(zap.New(core)), chain.WithEvents(p.seen.add))
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		require.NoError(t, p.Close(ctx))
		for _, s := range p.plugins {
			require.NoError(t, s.Close(ctx))
		}
	})
	return p
}

// signal sends a signal to the process of a link.
func (p *processes) signal(t *testing.T, link int, sig syscall.Signal) {
	t.Helper()
	pid := p.plugins[link].Status().PID
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(pid, sig))
}

// TestLedgerWithProcesses: a plugin is killed or frozen in the middle of the load.
// No caller sees an error, and the books balance.
func TestLedgerWithProcesses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		link   int
		signal syscall.Signal
		active string
		wait   time.Duration // that no call may exceed
	}{
		{"ActiveKilled", 0, syscall.SIGKILL, "b", 2 * time.Second},
		{"ActiveFrozen", 0, syscall.SIGSTOP, "b", 10500 * time.Millisecond},
		{"StandbyKilled", 1, syscall.SIGKILL, "a", 2 * time.Second},
		{"StandbyFrozen", 1, syscall.SIGSTOP, "a", 10500 * time.Millisecond},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := openProcesses(t)
			books := newLedger()
			stop := p.work(t, chain.WorkOptions{Concurrency: 32}, books.handler(func(context.Context) {}))
			const callers, each = 16, 60
			var longest atomic.Int64
			var done atomic.Int64
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					for n := range each {
						began := time.Now()
						if err := books.start(t.Context(), p.Chain, fmt.Sprintf("%d-%d", i, n)); err != nil {
							t.Errorf("a caller saw an error: %v", err)
						}
						for {
							took, most := int64(time.Since(began)), longest.Load()
							if took <= most || longest.CompareAndSwap(most, took) {
								break
							}
						}
						done.Add(1)
					}
				})
			}
			eventually(t, "a third of the load", func() bool { return done.Load() > callers*each/3 })
			p.signal(t, tc.link, tc.signal)
			wg.Wait()
			eventually(t, "all is done", func() bool { return finished(t, p.Chain) == callers*each })
			require.NoError(t, stop())
			books.balance(t, p.Chain, callers*each)
			require.Less(t, time.Duration(longest.Load()), tc.wait+raceTolerance)
			if tc.active == "b" {
				eventually(t, "the event", func() bool { return len(eventsOf[chain.FailedOver](p.bench)) == 1 })
				e := eventsOf[chain.FailedOver](p.bench)[0]
				t.Logf("failed over after %s and %d attempts: %v; longest wait %s", e.Elapsed, e.Attempts, e.Cause, time.Duration(longest.Load()))
			} else {
				eventually(t, "the event", func() bool { return len(eventsOf[chain.StandbyDropped](p.bench)) > 0 }) // and again, where the machine is slow
				t.Logf("dropped: %v; longest wait %s", eventsOf[chain.StandbyDropped](p.bench)[0].Cause, time.Duration(longest.Load()))
			}
		})
	}
}

// raceTolerance is for machines that have much else to do.
const raceTolerance = 5 * time.Second

// The chain launches plugins by itself, and leaves no process behind.
func TestLinksAsPlugins(t *testing.T) {
	t.Parallel()
	path, err := memoryPlugin()
	require.NoError(t, err)
	c, err := chain.Open(t.Context(), chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Plugin: path}, {Name: "b", Plugin: path}}})
	require.NoError(t, err)
	_, err = c.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call"})
	require.NoError(t, err)
	require.NoError(t, c.Close(t.Context()))
	require.NoError(t, c.Close(t.Context()))

	_, err = chain.Open(t.Context(), chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Plugin: path + "-missing"}}})
	require.ErrorContains(t, err, "understudy-memory-missing")
}
