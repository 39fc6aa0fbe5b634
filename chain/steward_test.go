// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// atStep makes the first chain that comes to the step do something, once.
func atStep(step string, do func()) chain.Option {
	var hit atomic.Bool
	return chain.WithSteps(func(at string) {
		if at == step && hit.CompareAndSwap(false, true) {
			do()
		}
	})
}

// A host whose own resync has failed does not hold what it saw then against the
// link that another host has brought back after it was emptied.
func TestAbortedResyncForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		cut := others(stores)
		failed := make(chan struct{})
		first := open(t, configOf(cut...), atStep("handover_begun", func() {
			cut[1].fail(driver.Unavailable)
			close(failed)
		}))
		first.start(t, "before")
		cut[1].fail(driver.Unavailable)
		first.start(t, "meanwhile")
		cut[1].fail(nil)
		<-failed
		second := open(t, configOf(others(stores)...))
		first.Freeze("the other host is to bring the link back")
		stores[1].model.Erase()
		e := second.inStep(t, 0, "b")
		cut[1].fail(nil)
		second.start(t, "after")
		first.start(t, "after that")
		within(t, time.Minute, "the first host follows", func() bool { return first.Status().Epoch.Number == e.Number })
		first.start(t, "in the end")
		require.Equal(t, e, stores[0].epoch(t))
		require.Equal(t, 5, same(t, stores[0], stores[1]))
	})
}

// A steward that has not heard yet that the link has left the set does not take
// its duty for done: there is no other one before the number of the epoch changes.
func TestStewardBehindTheTimes(t *testing.T) {
	t.Parallel()
	t.Run("Resync", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := openN(t, 3)
			b.stores[2].fail(driver.Unavailable) // so that there are stewards
			b.start(t, "without c")
			require.True(t, b.BeginDuty("resync", "b"))
			pass(t, 10*time.Second)
			b.stores[1].fail(driver.Unavailable)
			b.start(t, "alone")
			b.stores[1].fail(nil)
			b.inStep(t, 0, "b")
		})
	})
	t.Run("Failback", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			config := configOf(newStores(3)...)
			config.Policy.HoldDown = 20 * time.Second
			b := open(t, config)
			require.NoError(t, b.SwitchTo(t.Context(), "c"))
			require.True(t, b.BeginDuty("failback", "b"))
			pass(t, 10*time.Second)
			b.stores[0].fail(driver.Unavailable)
			b.start(t, "without a")
			within(t, 2*time.Minute, "the failback", func() bool { return b.stores[1].epoch(t).Active == "b" })
		})
	})
}

// A record that somebody else has changed during a handover, in the same number,
// ends the attempt to bring a link back, and not the duty.
func TestHandoverOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(3)
		b := open(t, configOf(stores...), atStep("drained", func() {
			stores[0].advance(t, func(e *driver.Epoch) {
				e.Version, e.State, e.InSync = e.Version+1, driver.Serving, []string{}
			})
			stores[1].fail(driver.Unavailable)
		}))
		stores[2].fail(driver.Unavailable)
		b.start(t, "without c")
		stores[2].fail(nil)
		b.inStep(t, 0, "c")
		stores[1].fail(nil)
		b.inStep(t, 0, "b", "c")
	})
}

// Links that were not brought back, as policy forbade it, are when it allows it
// again.
func TestFailbackOnAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		var b *bench
		b = open(t, configOf(stores...), atStep("primary_seen", func() {
			_ = b.SetPolicy(chain.Policy{Failback: chain.FailbackOff})
		}))
		stores[1].fail(driver.Unavailable)
		b.start(t, "alone")
		stores[1].fail(nil)
		pass(t, time.Minute)
		require.Empty(t, stores[0].epoch(t).InSync)
		require.NoError(t, b.SetPolicy(chain.Policy{}))
		b.inStep(t, 0, "b")
	})
}

// What is committed anew for a link to come back does not wait for that link,
// although nothing else is done without a standby.
func TestResyncDoesNotWaitForStandbys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		config := configOf(stores...)
		config.Policy.MinInSync = 1
		config.Policy.Failback = chain.FailbackManual
		b := open(t, config)
		b.start(t, "ahead")
		tr, err := driver.Cancel(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()},
			*stores[0].held(t, "ahead"), "never acknowledged", time.Time{})
		stores[0].another().alone(t, tr, err)
		stores[0].fail(driver.Unavailable)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "waits", done)
		within(t, time.Minute, "the failover", func() bool { return stores[1].epoch(t).Active == "b" })
		stores[0].fail(nil)
		b.inStep(t, 1, "a")
		<-done
		require.Equal(t, driver.Ready, stores[0].held(t, "ahead").Status)
		require.Equal(t, 2, same(t, stores[0], stores[1]))
	})
}

// pass lets time pass in a bubble.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}
