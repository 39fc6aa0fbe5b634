// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// unit is one of a caller.
type unit struct {
	caller, n int
	bytes     int
	gone      bool
	done      chan struct{}
}

func (u *unit) weigh(l *load) {
	l.records++
	l.bytes += u.bytes
}

// TestCombinerIsFair: a batch holds no more than its limits, and a caller with
// one unit at a time is not kept waiting by callers with thousands.
func TestCombinerIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const trip = 10 * time.Millisecond
		c := combiner[*unit]{send: func(batch []*unit) {
			bytes, last := 0, map[int]int{}
			for _, u := range batch {
				bytes += u.bytes
				if before, seen := last[u.caller]; seen && u.n != before+1 {
					t.Errorf("unit %d of caller %d comes after %d", u.n, u.caller, before)
				}
				last[u.caller] = u.n
			}
			if len(batch) > driver.MaxBatch || len(batch) > 1 && bytes > driver.MaxBatchBytes {
				t.Errorf("a batch of %d units with %d bytes", len(batch), bytes)
			}
			time.Sleep(trip) //nolint:forbidigo // the clock of the bubble
			for _, u := range batch {
				close(u.done)
			}
		}}
		const greedy, each = 8, 4 * driver.MaxBatch
		var callers sync.WaitGroup
		for caller := range greedy {
			var units []*unit
			for n := range each {
				units = append(units, &unit{caller: caller, n: n, bytes: 1 + (n%7)*driver.MaxBatchBytes/100, done: make(chan struct{})})
			}
			c.add(units...)
			callers.Go(func() { <-units[each-1].done })
		}
		for n := range 20 {
			u := &unit{caller: greedy, n: n, bytes: 100, done: make(chan struct{})}
			c.mu.Lock()
			ahead := inFlight
			bytes, records := 0, 0
			for _, q := range c.queue {
				if records++; records > driver.MaxBatch || bytes+q.bytes > driver.MaxBatchBytes {
					ahead, records, bytes = ahead+1, 1, 0
				}
				bytes += q.bytes
			}
			c.mu.Unlock()
			began := time.Now()
			c.add(u)
			<-u.done
			require.LessOrEqual(t, time.Since(began), time.Duration(ahead/inFlight+2)*trip, "it waits for what came before, and for nothing else")
		}
		callers.Wait()
	})
}

// TestAbandonedCallsDoNotPileUp: while nothing can be sent, callers come and give
// up; what they wanted must not fill the memory.
func TestAbandonedCallsDoNotPileUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := combiner[*unit]{send: func([]*unit) { <-release }, gone: func(u *unit) bool { return u.gone }}
		waiting := &unit{}
		for n := range 10_000 {
			u := &unit{gone: true}
			if n == 5_000 {
				u = waiting
			}
			c.add(u)
			synctest.Wait()
			require.LessOrEqual(t, len(c.queue), 2*minSweep+1)
		}
		require.Contains(t, c.queue, waiting)
		close(release)
	})
}

// TestWhatHasTimeWaitsForOthers: units that have time go when it is over, with the
// next one that has none, or when they are hurried, and not while others that came
// before are being sent.
func TestWhatHasTimeWaitsForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const patience, trip = 100 * time.Millisecond, 10 * time.Millisecond
		began := time.Now()
		var mu sync.Mutex
		sent := map[int]time.Duration{}
		c := combiner[*unit]{send: func(batch []*unit) {
			time.Sleep(trip) //nolint:forbidigo // the clock of the bubble
			mu.Lock()
			defer mu.Unlock()
			for _, u := range batch {
				sent[u.n] = time.Since(began)
			}
		}}
		wait := func(d time.Duration) map[int]time.Duration {
			time.Sleep(d) //nolint:forbidigo // the clock of the bubble
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(sent)
		}
		c.addLater(patience, &unit{n: 1})
		wait(patience / 2)
		c.addLater(patience, &unit{n: 2})
		require.Empty(t, wait(patience/2-1))
		wait(1 + trip/2)
		c.addLater(patience, &unit{n: 3})
		want := map[int]time.Duration{1: patience + trip, 2: patience + trip}
		require.Equal(t, want, wait(patience/2), "together, when the first one's time is over")
		c.add(&unit{n: 4})
		want[3], want[4] = time.Since(began)+trip, time.Since(began)+trip
		require.Equal(t, want, wait(trip), "with one that has no time")
		c.addLater(patience, &unit{n: 5})
		c.hurry()
		want[5] = time.Since(began) + trip
		require.Equal(t, want, wait(time.Hour))
	})
}
