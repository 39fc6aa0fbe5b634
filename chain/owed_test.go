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

func openAsync(t *testing.T, change func(*chain.Policy)) *bench {
	t.Helper()
	config := configOf(newFaulty(nil), newFaulty(nil))
	config.Policy.MirrorMode = chain.MirrorAsync
	config.Policy.Mirror = 10 * time.Second // a standby may lag for long
	if change != nil {
		change(&config.Policy)
	}
	return open(t, config)
}

// hold makes the named calls of f wait until the returned function is called.
func (f *faulty) hold(ops ...string) (release func()) {
	gate := make(chan struct{})
	f.hook(func(ctx context.Context, op string) error {
		for _, held := range ops {
			if held != op {
				continue
			}
			select {
			case <-gate:
			case <-ctx.Done():
				return driver.ContextError(ctx, false)
			}
		}
		return nil
	})
	return func() { close(gate) }
}

// TestAsyncDoesNotWaitForStandbys: a start returns although the standby does not
// answer, which gets it once it does.
func TestAsyncDoesNotWaitForStandbys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, nil)
		release := b.stores[1].hold("merge")
		b.start(t, "w")
		require.Nil(t, b.stores[1].held(t, "w"))
		release()
		eventually(t, "the standby has it", func() bool { return b.stores[1].held(t, "w") != nil })
		require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync)
	})
}

// TestAsyncFailoverMissesNothing: what was acknowledged before the standby had
// it is brought there before anything else is done in the new epoch.
func TestAsyncFailoverMissesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, nil)
		release := b.stores[1].hold("merge")
		const n = 50
		for i := range n {
			b.start(t, fmt.Sprint("w", i))
		}
		b.stores[0].fail(driver.Denied)
		read := make(chan error, n)
		for i := range n {
			go func() {
				_, err := b.Get(t.Context(), fmt.Sprint("w", i))
				read <- err
			}()
		}
		eventually(t, "the failover", func() bool { return b.stores[1].epoch(t).Active == "b" })
		synctest.Wait()
		require.Empty(t, read, "nothing is read in the new epoch before it has what was acknowledged")
		release()
		for range n {
			require.NoError(t, <-read)
		}
	})
}

// TestAsyncFailoverKeepsTheLatestSavePoint: of what a workflow has gone through
// while the standby lagged, that brings up the end, and the worker goes on from it.
func TestAsyncFailoverKeepsTheLatestSavePoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, nil)
		b.start(t, "w")
		lags, saved, failed := make(chan struct{}), make(chan struct{}), make(chan struct{})
		const steps = 300
		stop := b.work(t, chain.WorkOptions{}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			<-lags
			for i := range steps {
				if err := h.Save(ctx, fmt.Sprint("step", i), nil); err != nil {
					return nil, err
				}
			}
			close(saved)
			<-failed
			return nil, h.Save(ctx, "last", nil)
		})
		eventually(t, "the standby has the claim", func() bool {
			r := b.stores[1].held(t, "w")
			return r != nil && r.Status == driver.Leased
		})
		release := b.stores[1].hold("merge")
		close(lags)
		<-saved
		b.stores[0].fail(driver.Denied)
		close(failed)
		eventually(t, "the failover", func() bool { return b.stores[1].epoch(t).Active == "b" })
		release()
		r := b.until(t, "w", driver.Succeeded)
		require.Equal(t, "last", r.Step)
		require.GreaterOrEqual(t, r.Revision, uint64(2+steps+2))
		require.NoError(t, stop())
	})
}

// TestAsyncSparesTheStandby: it is brought the latest of what a workflow goes
// through in a short time, and at once when the chain is switched or closed.
func TestAsyncSparesTheStandby(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, func(p *chain.Policy) { p.Failback = chain.FailbackManual })
		var merges atomic.Int64
		b.stores[1].hook(func(_ context.Context, op string) error {
			if op == "merge" {
				merges.Add(1)
			}
			return nil
		})
		b.start(t, "w")
		const steps = 300
		stop := b.work(t, chain.WorkOptions{}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			for i := range steps {
				sleep(time.Millisecond)
				if err := h.Save(ctx, fmt.Sprint("step", i), nil); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		b.until(t, "w", driver.Succeeded)
		require.NoError(t, stop())
		require.Less(t, merges.Load(), int64(10), "for %d save points", steps)

		b.start(t, "v")
		began := time.Now()
		require.NoError(t, b.SwitchTo(t.Context(), "b"))
		_, err := b.Get(t.Context(), "v")
		require.NoError(t, err)
		require.Less(t, time.Since(began), 50*time.Millisecond, "by the clock of the bubble")

		b.start(t, "u")
		require.NoError(t, b.Close(t.Context()))
		require.NotNil(t, b.stores[0].held(t, "u"))
	})
}

// TestAsyncFullOutboxWaits: with as many records on their way as the outbox
// holds, calls wait as in sync mode.
func TestAsyncFullOutboxWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, func(p *chain.Policy) { p.Outbox = 3 })
		release := b.stores[1].hold("merge")
		for i := range 3 {
			b.start(t, fmt.Sprint("w", i))
		}
		done := make(chan driver.Record, 1)
		b.startAsync(t, "w3", done)
		eventually(t, "it waits for the standby too", func() bool { return b.Status().Links[1].Lag.Records == 4 })
		require.NotNil(t, b.stores[0].held(t, "w3"))
		synctest.Wait()
		require.Empty(t, done)
		release()
		<-done
		require.NotNil(t, b.stores[1].held(t, "w3"))
	})
}

// TestAsyncCancelWaits: what nobody's lease protects is acknowledged only when
// the standbys have it.
func TestAsyncCancelWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, nil)
		b.start(t, "w")
		eventually(t, "the standby has it", func() bool { return b.stores[1].held(t, "w") != nil })
		release := b.stores[1].hold("merge")
		done := make(chan error, 1)
		go func() {
			_, err := b.Cancel(t.Context(), "w", "by request")
			done <- err
		}()
		eventually(t, "the active link has it", func() bool { return b.stores[0].held(t, "w").Status == driver.Cancelled })
		synctest.Wait()
		require.Empty(t, done)
		release()
		require.NoError(t, <-done)
		require.Equal(t, driver.Cancelled, b.stores[1].held(t, "w").Status)
	})
}

// TestAsyncCloseSettles: Close waits until the standbys have what was
// acknowledged.
func TestAsyncCloseSettles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, nil)
		release := b.stores[1].hold("merge")
		b.start(t, "w")
		closed := make(chan error, 1)
		go func() { closed <- b.Close(t.Context()) }()
		time.AfterFunc(20*time.Millisecond, release)
		require.NoError(t, <-closed)
		require.NotNil(t, b.stores[1].held(t, "w"))
	})
}

// TestAsyncCloseTellsWhatIsMissing: Close gives up when the standby does not
// answer, and says how much it misses.
func TestAsyncCloseTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, nil)
		release := b.stores[1].hold("merge")
		defer release()
		b.start(t, "w")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.ErrorContains(t, b.Close(ctx), "1 acknowledged records have not reached the standbys")
	})
}

// TestMinInSync: with fewer standbys in step than asked for nothing is
// acknowledged, neither what was under way nor what comes.
func TestMinInSync(t *testing.T) {
	t.Parallel()
	for _, mode := range []chain.MirrorMode{chain.MirrorSync, chain.MirrorAsync} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := configOf(newFaulty(nil), newFaulty(nil))
				config.Policy.MinInSync, config.Policy.MirrorMode, config.Policy.Mirror = 1, mode, 50*time.Millisecond
				config.Policy.Failback = chain.FailbackOff
				b := open(t, config)
				b.start(t, "w0")
				b.stores[1].fail(driver.Full)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 2)
				start := func(id string) {
					_, err := b.Start(ctx, chain.Workflow{ID: id, Kind: "call"})
					ended <- err
				}
				if mode == chain.MirrorAsync {
					b.start(t, "w1") // was in step when it was acknowledged
				} else {
					go start("w1")
				}
				eventually(t, "the drop", func() bool { return !b.Status().Protected })
				calls := b.stores[0].count("commit")
				go start("w2")
				sleep(time.Minute)
				_, err := b.Get(t.Context(), "w0") // reads go on
				require.NoError(t, err)
				require.Empty(t, ended)
				require.Nil(t, b.stores[0].held(t, "w2"))
				cancel()
				err = <-ended
				require.Contains(t, []driver.Class{driver.Unavailable, driver.Unknown}, driver.ClassOf(err))
				require.LessOrEqual(t, b.stores[0].count("commit")-calls, 1, "nobody is to try again and again")
			})
		})
	}
}

// Mutations that wait for standbys do not pile up when nobody waits for them any
// more.
func TestWhatWaitsForStandbysIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(2)...)
		config.Policy.MinInSync = 1
		b := open(t, config)
		b.stores[1].fail(driver.Unavailable)
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			b.StartBatch(ctx, batchOf(256))
			cancel()
		}
		require.LessOrEqual(t, b.Parked(), 2048)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "w", done)
		b.stores[1].fail(nil)
		<-done
		require.Zero(t, b.Parked())
	})
}

// TestAsyncStandbyThatCannotBeDropped: what was acknowledged comes to a standby that
// could neither take it nor be left behind at first.
func TestAsyncStandbyThatCannotBeDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openAsync(t, nil)
		b.stores[0].fail(driver.Internal, "advance")
		b.stores[1].fail(driver.Unavailable, "merge")
		b.start(t, "w")
		sleep(time.Minute)
		require.Equal(t, 1, b.Status().Unmirrored)
		b.stores[0].fail(nil)
		b.stores[1].fail(nil)
		sleep(5 * time.Second)
		require.Zero(t, b.Status().Unmirrored)
		require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync)
		require.NotNil(t, b.stores[1].held(t, "w"))
		require.Equal(t, 1, b.logs.FilterMessageSnippet("a standby in step lacks them").Len())
	})
}
