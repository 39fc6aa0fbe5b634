// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dev/understudy/chain"
)

// quick is a policy that notices a frozen store, and one that has come back, in
// seconds. It is patient enough for a machine that is busy with other tests: there
// a standby that is dropped in vain could not take over when the fault comes.
var quick = chain.Policy{Timeout: 3 * time.Second, Attempt: time.Second, Mirror: 3 * time.Second,
	Check: chain.Check{Interval: 500 * time.Millisecond, Rise: 2}, HoldDown: time.Second, MaxHoldDown: 5 * time.Second}

// Redis is killed, and comes back without its data.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	redisKilled(t, options{policy: quick})
}

func redisKilled(t *testing.T, o options) {
	t.Helper()
	w := start(t, o)
	w.redis.Kill(t)
	w.active(t, second)
	w.progress(t, 20)
	w.redis.Start(t)
	w.finish(t)
}

// One host that is cut off from Redis moves all hosts; what it had under way there
// arrives after the failover, and counts no more.
func TestOneHostCutOffFromRedis(t *testing.T) {
	t.Parallel()
	w := start(t, options{policy: quick, proxied: true})
	w.hosts[0].redis.cut()
	w.active(t, second)
	w.progress(t, 20)
	w.hosts[0].redis.mend()
	w.finish(t)
}

func TestHostKilled(t *testing.T) {
	t.Parallel()
	w := start(t, options{policy: quick, lease: time.Second})
	w.killHost(t, w.random.IntN(len(w.hosts)))
	w.finish(t)
}

func TestPluginOfRedisKilled(t *testing.T) {
	t.Parallel()
	w := start(t, options{policy: quick})
	w.signalPlugin(t, first, syscall.SIGKILL)
	w.progress(t, 40)
	w.finish(t)
}

// A host is paused over a failover. When it goes on it still believes in Redis, and
// must be refused there and lose what others have taken over.
func TestHostPausedOverAFailover(t *testing.T) {
	t.Parallel()
	w := start(t, options{policy: quick, lease: time.Second})
	thaw := w.hosts[0].freeze(t)
	w.redis.Freeze(t)
	w.active(t, second)
	w.progress(t, 20)
	w.redis.Thaw(t)
	thaw()
	w.finish(t)
}
