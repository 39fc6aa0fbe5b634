// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// leaveBehind opens a chain of two and brings its standby out of step: it has
// missed the starts w0, w1, … and answers again.
func leaveBehind(t *testing.T, starts int, change func(*chain.Policy)) *bench {
	t.Helper()
	config := configOf(newFaulty(nil), newFaulty(nil))
	config.Policy.Mirror, config.Policy.Failback = 50*time.Millisecond, chain.FailbackOff
	config.Policy.Check.Interval = 20 * time.Millisecond
	change(&config.Policy)
	b := open(t, config)
	b.start(t, "before")
	b.stores[1].fail(driver.Unavailable)
	for i := range starts {
		b.start(t, fmt.Sprint("w", i))
	}
	require.Empty(t, b.stores[0].epoch(t).InSync)
	b.stores[1].fail(nil)
	eventually(t, "the standby is told", func() bool { return b.stores[1].epoch(t).At() == b.stores[0].epoch(t).At() })
	return b
}

// TestStaleWait: a standby that has missed something does not serve, and calls go
// on when the active link is back.
func TestStaleWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := leaveBehind(t, 1, func(*chain.Policy) {})
		b.stores[0].fail(driver.Denied)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "x", done)
		eventually(t, "all links down", func() bool { return len(eventsOf[chain.AllDown](b)) == 1 })
		require.Equal(t, "a", b.stores[1].epoch(t).Active)
		b.stores[0].fail(nil)
		<-done
		require.Empty(t, eventsOf[chain.FailedOver](b))
	})
}

// TestStaleServe: a standby that has missed something serves, with what this host
// holds for it.
func TestStaleServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		b := leaveBehind(t, n, func(p *chain.Policy) { p.StaleStandby = chain.StaleServe })
		b.stores[0].fail(driver.Denied)
		b.start(t, "after")
		require.Equal(t, "b", b.stores[1].epoch(t).Active)
		for i := range n {
			r, err := b.Get(t.Context(), fmt.Sprint("w", i))
			require.NoError(t, err)
			require.NotNil(t, b.stores[1].held(t, r.ID))
		}
		eventually(t, "the event", func() bool { return len(eventsOf[chain.StaleServes](b)) == 1 })
		e := eventsOf[chain.StaleServes](b)[0]
		require.Equal(t, n, e.Brought)
		require.True(t, e.Complete)
	})
}

// TestStaleServeTellsWhatItLeaves: more than the outbox holds is told to be
// missing.
func TestStaleServeTellsWhatItLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := leaveBehind(t, 5, func(p *chain.Policy) { p.StaleStandby, p.Outbox = chain.StaleServe, 3 })
		b.stores[0].fail(driver.Denied)
		b.start(t, "after")
		eventually(t, "the event", func() bool { return len(eventsOf[chain.StaleServes](b)) == 1 })
		e := eventsOf[chain.StaleServes](b)[0]
		require.Equal(t, 3, e.Brought)
		require.False(t, e.Complete)
	})
}

// TestStaleServeHandsNothingOutAgain: a host that makes a standby serve which
// misses what another host has finished waits for that host.
func TestStaleServeHandsNothingOutAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := func(p *chain.Policy) { p.StaleStandby, p.Mirror = chain.StaleServe, 300*time.Millisecond }
		b := leaveBehind(t, 1, policy)
		other := configOf(b.stores[0].another(), b.stores[1].another())
		other.Policy.Failback, other.Policy.Check.Interval = chain.FailbackOff, 20*time.Millisecond
		policy(&other.Policy)
		another := open(t, other)

		work(t, b, 2) // the standby knows one of them, as ready, and misses the other
		b.stores[0].fail(driver.Denied)
		another.stores[0].fail(driver.Denied)
		again := make(chan string, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- another.Work(ctx, "call", func(_ context.Context, h *chain.Handle) ([]byte, error) {
				again <- h.ID()
				return nil, nil
			}, chain.WorkOptions{})
		}()
		another.start(t, "fresh")
		require.Equal(t, "fresh", <-again)
		cancel()
		require.NoError(t, <-ended)
		require.Equal(t, driver.Succeeded, b.stores[1].held(t, "before").Status)
	})
}

// TestServesAfterAnUnseenJoin: a host that has not seen how a link came back into
// step, and then finds it serving, does not tell that anything is missing.
func TestServesAfterAnUnseenJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := leaveBehind(t, 1, func(*chain.Policy) {})
		config := manual(others(b.stores)...)
		config.Policy.Check.Interval = 20 * time.Millisecond
		another := open(t, config)
		b.stores[0].fail(driver.Denied)
		b.stores[1].fail(driver.Denied)
		require.NoError(t, another.Rejoin(t.Context(), "b", nil))
		another.stores[0].fail(driver.Denied)
		another.start(t, "x")
		require.Equal(t, "b", b.stores[1].epoch(t).Active)

		b.stores[1].fail(nil)
		b.start(t, "y")
		eventually(t, "the event", func() bool { return len(eventsOf[chain.Followed](b)) == 1 })
		require.Empty(t, eventsOf[chain.StaleServes](b))
	})
}

// work ends n workflows.
func work(t *testing.T, b *bench, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, n)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Work(ctx, "call", func(context.Context, *chain.Handle) ([]byte, error) {
			done <- struct{}{}
			return nil, nil
		}, chain.WorkOptions{})
	}()
	for range n {
		<-done
	}
	cancel()
	require.NoError(t, <-ended)
}

// TestStaleServeByTheNextLink: a link that has missed something and answers, but
// does not take over, does not keep the next one from it.
func TestStaleServeByTheNextLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(3)...)
		config.Policy.StaleStandby, config.Policy.Failback = chain.StaleServe, chain.FailbackOff
		b := open(t, config)
		b.stores[1].fail(driver.Unavailable)
		b.stores[2].fail(driver.Unavailable)
		b.start(t, "w")
		require.Empty(t, b.stores[0].epoch(t).InSync)
		b.stores[1].fail(driver.ReadOnly, "advance", "merge") // a replica
		b.stores[2].fail(nil)
		b.stores[0].fail(driver.Denied)
		b.start(t, "x")
		require.Equal(t, "c", b.Status().Epoch.Active)
		require.NotNil(t, b.stores[2].held(t, "w"))
		synctest.Wait()
		require.Len(t, eventsOf[chain.StandbyDropped](b), 2, "when they were")
		require.Empty(t, eventsOf[chain.AllDown](b))
	})
}

// TestStaleServeKeepsLeases: what was claimed while a link was out of step is not
// handed out again when that serves.
func TestStaleServeKeepsLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := leaveBehind(t, 1, func(p *chain.Policy) { p.StaleStandby = chain.StaleServe })
		var begun atomic.Int64
		release := make(chan struct{})
		stop := b.work(t, chain.WorkOptions{Lease: time.Minute}, func(ctx context.Context, _ *chain.Handle) ([]byte, error) {
			begun.Add(1)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, ctx.Err()
		})
		eventually(t, "the claims", func() bool { return begun.Load() == 2 })
		b.stores[0].fail(driver.Denied)
		_, err := b.Get(t.Context(), "before")
		require.NoError(t, err)
		require.Equal(t, "b", b.Status().Epoch.Active)
		sleep(30 * time.Second)
		require.Equal(t, int64(2), begun.Load())
		close(release)
		for _, id := range []string{"before", "w0"} {
			b.until(t, id, driver.Succeeded)
		}
		require.NoError(t, stop())
	})
}

// TestStaleServeBringsWhatWasStored: a start that finds its workflow stored is
// acknowledged like one that stores it.
func TestStaleServeBringsWhatWasStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := leaveBehind(t, 1, func(p *chain.Policy) { p.StaleStandby = chain.StaleServe })
		tr, err := driver.Start(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()},
			chain.Workflow{ID: "stored", Kind: "call", Input: []byte("input of stored")})
		b.stores[0].another().alone(t, tr, err)
		b.start(t, "stored")
		b.stores[0].fail(driver.Denied)
		_, err = b.Get(t.Context(), "stored")
		require.NoError(t, err)
		require.NotNil(t, b.stores[1].held(t, "stored"))
	})
}

// TestStaleServeBringsWhatWasAcknowledgedEarly: to a standby that was dropped before
// it had what was acknowledged already.
func TestStaleServeBringsWhatWasAcknowledgedEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(2)...)
		config.Policy.MirrorMode, config.Policy.StaleStandby, config.Policy.Failback = chain.MirrorAsync, chain.StaleServe, chain.FailbackOff
		b := open(t, config)
		b.stores[1].fail(driver.Full, "merge")
		b.start(t, "early")
		sleep(time.Second)
		require.Empty(t, b.stores[0].epoch(t).InSync)
		b.stores[1].fail(nil)
		b.stores[0].fail(driver.Denied)
		_, err := b.Get(t.Context(), "early")
		require.NoError(t, err)
		require.Equal(t, "b", b.Status().Epoch.Active)
	})
}
