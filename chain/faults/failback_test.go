// SPDX-License-Identifier: Apache-2.0

//go:build faults

package faults

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slowly is a rate at which a resync takes seconds, but more than the load brings.
const slowly = 300

// away makes Redis fail and come back, and returns when it came.
func (w *world) away(t *testing.T) time.Time {
	t.Helper()
	w.redis.Kill(t)
	w.active(t, second)
	w.progress(t, 60)
	w.redis.Start(t)
	return time.Now()
}

// Redis dies again on its way back: in the middle of the resync, while the writers
// stand still, in the hold-down, and as soon as it is active.
func TestRedisDiesInFailback(t *testing.T) {
	t.Parallel()
	for _, event := range []string{"ResyncStarted", "HandoverBegun", "HoldDown", "Switched"} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			o := options{redis: durable, policy: quick}
			if event == "ResyncStarted" {
				o.policy.ResyncRate = slowly
			}
			w := start(t, o)
			w.happens(t, event, w.away(t))
			w.redis.Kill(t)
			w.active(t, second)
			w.progress(t, 20)
			w.redis.Start(t)
			w.finish(t)
		})
	}
}

func TestRedisFreezesInTheHandover(t *testing.T) {
	t.Parallel()
	w := start(t, options{policy: quick})
	w.happens(t, "HandoverBegun", w.away(t))
	w.redis.Freeze(t)
	lasts(t, 4*time.Second)
	w.progress(t, 20)
	w.redis.Thaw(t)
	w.finish(t)
}

// The active link dies while Redis is brought up to date: nobody has everything,
// and all wait for it.
func TestEventStoreDiesInFailback(t *testing.T) {
	t.Parallel()
	o := options{policy: quick}
	o.policy.ResyncRate = slowly
	w := start(t, o)
	w.happens(t, "ResyncStarted", w.away(t))
	w.eventstore.kill()
	w.happens(t, "AllDown", w.began)
	lasts(t, 2*time.Second)
	w.eventstore.start(t)
	w.finish(t)
}

// The host that brings Redis back dies, and another one goes on.
func TestStewardDies(t *testing.T) {
	t.Parallel()
	for _, event := range []string{"ResyncStarted", "HandoverBegun", "HoldDown"} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			o := options{policy: quick}
			if event == "ResyncStarted" {
				o.policy.ResyncRate = slowly
			}
			w := start(t, o)
			steward := w.happens(t, event, w.away(t)).host
			n := slices.IndexFunc(w.hosts, func(h *hostProcess) bool { return h.name == steward })
			require.GreaterOrEqual(t, n, 0)
			w.killHost(t, n)
			w.finish(t)
		})
	}
}

// A planned switch and a failback under 1,000 commits a second: the log shows the
// pauses.
func TestPauses(t *testing.T) {
	t.Parallel()
	w := start(t, options{rate: 60}) // 3 hosts × 60 × (start, claim, 3 save points, end)
	w.progress(t, 200)
	began := time.Now()
	w.hosts[0].command(t, switchCommand+second)
	w.happens(t, "Switched", began)
	w.whole(t)
	w.away(t)
	w.progress(t, 200)
	w.whole(t)
	lasts(t, 2*time.Second)
	w.rates(t, began, time.Now())
	w.finish(t)
}

// rates prints how many commits were acknowledged in a second.
func (w *world) rates(t testing.TB, from, to time.Time) {
	t.Helper()
	commits := 0
	for _, e := range w.entries(t) {
		if e.Revision > 0 && e.At.After(from) && e.At.Before(to) {
			commits++
		}
	}
	t.Logf("figures: %.0f commits/s over %s, faults included", float64(commits)/to.Sub(from).Seconds(), ms(to.Sub(from)))
}
