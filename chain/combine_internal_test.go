// SPDX-License-Identifier: Apache-2.0

package chain

import (
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
		var mu sync.Mutex
		last := map[int]int{}
		c := combiner[*unit]{send: func(batch []*unit) {
			bytes := 0
			mu.Lock()
			for _, u := range batch {
				bytes += u.bytes
				require.Equal(t, last[u.caller], u.n, "in the order of the caller")
				last[u.caller]++
			}
			mu.Unlock()
			require.LessOrEqual(t, len(batch), driver.MaxBatch)
			if len(batch) > 1 {
				require.LessOrEqual(t, bytes, driver.MaxBatchBytes)
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
			ahead := 2 // in flight
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
