// SPDX-License-Identifier: Apache-2.0

//go:build faults

package faults

import (
	"syscall"
	"testing"
	"time"
)

func TestPluginFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, link string
		signal     syscall.Signal
	}{
		{"EventStoreKilled", second, syscall.SIGKILL},
		{"RedisFrozen", first, syscall.SIGSTOP},
		{"EventStoreFrozen", second, syscall.SIGSTOP},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, options{})
			w.signalPlugin(t, tc.link, tc.signal)
			w.progress(t, 60)
			w.finish(t)
		})
	}
}

// A plugin that ends again and again is a failed link.
func TestPluginOfRedisKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); lasts(t, 100*time.Millisecond) {
		for _, h := range w.hosts {
			for pid, name := range h.plugins(t) {
				if name == "understudy-redis" {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
				}
			}
		}
	}
	w.active(t, second)
	w.finish(t)
}

func TestHostsKilledAtRandom(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for range 4 {
		lasts(t, time.Duration(w.random.Int64N(int64(3*time.Second))))
		w.killHost(t, w.random.IntN(len(w.hosts)))
	}
	w.progress(t, 40)
	w.finish(t)
}

// All hosts die while Redis is away, and the next ones find Event Store alone.
func TestAllHostsKilledAfterAFailover(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	w.redis.Kill(t)
	w.active(t, second)
	w.progress(t, 20)
	for n := range 3 {
		w.killHost(t, n)
	}
	w.progress(t, 20)
	w.redis.Start(t)
	w.finish(t)
}

// All hosts and Redis end at once, as with a machine that loses power, and Redis
// comes back without what it had not flushed. No host is left that has seen more.
func TestEverythingButEventStoreEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	old := w.redis.Snapshot(t)
	w.progress(t, 60)
	for _, h := range w.hosts {
		h.die(t)
	}
	w.redis.Restart(t, old)
	for range 3 {
		w.addHost(t)
	}
	w.active(t, second)
	w.finish(t)
}
