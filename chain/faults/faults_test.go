// SPDX-License-Identifier: Apache-2.0

//go:build faults

package faults

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

// durable makes Redis keep everything over a SIGKILL.
var durable = []string{"appendonly yes", "appendfsync always"}

// lasts waits for a time: the length of a fault, or what comes of it.
func (w *world) lasts(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// dropped waits until the second link is out of step.
func (w *world) dropped(t testing.TB) {
	t.Helper()
	await(t, "eventstore is dropped", func() error {
		if e := w.epoch(t); slices.Contains(e.InSync, second) {
			return fmt.Errorf("the epoch is %s in sync %v", e, e.InSync)
		}
		return nil
	})
}

// slow makes everything arrive late.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

func TestRedisFrozen(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		length time.Duration
		active string // while it is frozen, with the default policy
	}{{5 * time.Second, first}, {15 * time.Second, second}, {time.Minute, second}} {
		t.Run(tc.length.String(), func(t *testing.T) {
			t.Parallel()
			w := start(t, options{})
			w.redis.Freeze(t)
			w.lasts(t, tc.length)
			w.redis.Thaw(t)
			w.active(t, tc.active)
			w.progress(t, 60)
			w.finish(t)
		})
	}
}

func TestNetworkToRedisCut(t *testing.T) {
	t.Parallel()
	for name, ways := range map[string][]direction{"BothWays": {up, down}, "OnlyRequests": {up}, "OnlyAnswers": {down}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, options{proxied: true})
			for _, h := range w.hosts {
				h.redis.cut(ways...)
			}
			w.active(t, second)
			w.progress(t, 60)
			for _, h := range w.hosts {
				h.redis.mend()
			}
			w.progress(t, 30)
			w.finish(t)
		})
	}
}

func TestOneHostCutOff(t *testing.T) {
	t.Parallel()
	t.Run("FromEventStore", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{proxied: true})
		w.hosts[1].events.cut()
		w.dropped(t)
		w.progress(t, 60)
		w.hosts[1].events.mend()
		w.progress(t, 30)
		w.finish(t)
	})
	t.Run("FromBoth", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{proxied: true})
		w.hosts[1].redis.cut()
		w.hosts[1].events.cut()
		w.lasts(t, 20*time.Second)
		w.progress(t, 60)
		w.hosts[1].redis.mend()
		w.hosts[1].events.mend()
		w.progress(t, 30)
		w.finish(t)
	})
}

func TestRedisRestartsEmpty(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	w.redis.Restart(t, nil)
	w.active(t, second)
	w.progress(t, 60)
	w.finish(t)
}

func TestRedisRestartsStale(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	old := w.redis.Snapshot(t)
	w.progress(t, 60)
	w.redis.Restart(t, old)
	w.active(t, second)
	w.progress(t, 60)
	w.finish(t)
}

// Redis is demoted: it becomes a replica of its own replica, which is made master.
func TestRedisDemoted(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	other := redistest.Start(t, redistest.Options{PlainText: true})
	follow := func(replica, master *redistest.Server) {
		host, port, _ := strings.Cut(master.Addr, ":")
		replica.Do(t, "REPLICAOF", host, port)
		redistest.Eventually(t, "the replica is in step", func() error {
			if status := replica.Info(t, "master_link_status"); status != "up" {
				return fmt.Errorf("its link is %s", status)
			}
			return nil
		})
	}
	follow(other, w.redis)
	w.progress(t, 20)
	other.Do(t, "REPLICAOF", "NO", "ONE")
	follow(w.redis, other)
	w.active(t, second)
	w.progress(t, 60)
	w.redis.Do(t, "REPLICAOF", "NO", "ONE")
	w.finish(t)
}

func TestRedisOutOfMemory(t *testing.T) {
	t.Parallel()
	w := start(t, options{redis: []string{"maxmemory-policy noeviction"}})
	used, err := strconv.Atoi(w.redis.Info(t, "used_memory"))
	require.NoError(t, err)
	w.redis.Do(t, "CONFIG", "SET", "maxmemory", strconv.Itoa(used+100_000))
	w.active(t, second)
	w.progress(t, 60)
	w.redis.Do(t, "CONFIG", "SET", "maxmemory", "0")
	w.finish(t)
}

func TestPasswordOfRedisRotated(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	rotate := func(password string) {
		w.redis.Do(t, "ACL", "SETUSER", redistest.User, "resetpass", ">"+password)
		w.redis.Do(t, "CLIENT", "KILL", "USER", redistest.User)
	}
	rotate("another-password")
	w.active(t, second)
	w.progress(t, 60)
	rotate(redistest.UserPassword)
	w.finish(t)
}

func TestEventStoreFails(t *testing.T) {
	t.Parallel()
	t.Run("Killed", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{})
		w.eventstore.kill()
		w.progress(t, 60)
		w.eventstore.start(t)
		w.finish(t)
	})
	t.Run("Frozen", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{})
		w.eventstore.signal(t, syscall.SIGSTOP)
		w.lasts(t, 10*time.Second)
		w.progress(t, 60)
		w.eventstore.signal(t, syscall.SIGCONT)
		w.finish(t)
	})
	t.Run("Slow", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{proxied: true})
		for _, h := range w.hosts {
			h.events.slow(150 * time.Millisecond)
		}
		w.progress(t, 60)
		w.whole(t) // slow is not broken
		for _, h := range w.hosts {
			h.events.slow(3 * time.Second)
		}
		w.dropped(t)
		w.progress(t, 60)
		for _, h := range w.hosts {
			h.events.slow(0)
		}
		w.finish(t)
	})
}

func TestBothDown(t *testing.T) {
	t.Parallel()
	for _, back := range []string{first, second} {
		t.Run(back+"BackFirst", func(t *testing.T) {
			t.Parallel()
			w := start(t, options{redis: durable})
			w.redis.Kill(t)
			w.eventstore.kill()
			w.lasts(t, 5*time.Second)
			if back == first {
				w.redis.Start(t)
				w.lasts(t, 5*time.Second)
				w.eventstore.start(t)
			} else {
				w.eventstore.start(t)
				w.lasts(t, 5*time.Second)
				w.redis.Start(t)
			}
			w.progress(t, 60)
			w.finish(t)
		})
	}
}

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

func TestHostsKilledAtRandom(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for range 4 {
		w.lasts(t, time.Duration(w.random.Int64N(int64(3*time.Second))))
		w.killHost(t, w.random.IntN(len(w.hosts)))
	}
	w.progress(t, 60)
	w.finish(t)
}

// One host loses Event Store for 5 s and goes on alone on Redis, and Redis dies
// before Event Store has caught up: what that host has finished is not handed out
// again.
func TestRedisDiesBeforeEventStoreHasCaughtUp(t *testing.T) {
	t.Parallel()
	w := start(t, options{proxied: true, redis: durable})
	w.hosts[0].events.cut()
	w.dropped(t)
	w.progress(t, 60)
	w.redis.Kill(t)
	w.hosts[0].events.mend()
	w.lasts(t, 10*time.Second)
	w.redis.Start(t)
	w.progress(t, 60)
	w.finish(t)
}

func TestFlapping(t *testing.T) {
	t.Parallel()
	w := start(t, options{redis: durable})
	for range 30 {
		w.redis.Kill(t)
		w.lasts(t, 2*time.Second)
		w.redis.Start(t)
		w.lasts(t, 2*time.Second)
	}
	w.progress(t, 60)
	w.finish(t)
}
