// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// manual is the configuration of a chain that brings nothing back by itself.
func manual(stores ...*faulty) chain.Config {
	config := configOf(stores...)
	config.Policy.Failback = chain.FailbackOff
	return config
}

// newStores returns n new stores.
func newStores(n int) []*faulty {
	stores := make([]*faulty, n)
	for i := range stores {
		stores[i] = newFaulty(nil)
	}
	return stores
}

// others returns connections of another host to the same stores.
func others(stores []*faulty) []*faulty {
	out := make([]*faulty, len(stores))
	for i := range out {
		out[i] = stores[i].another()
	}
	return out
}

// openWithout opens a chain of two whose standby has been dropped and holds
// nothing of what was done since.
func openWithout(t *testing.T) *bench {
	t.Helper()
	b := open(t, manual(newStores(2)...))
	b.start(t, "before")
	b.stores[1].fail(driver.Unavailable)
	b.start(t, "alone")
	require.Empty(t, b.stores[0].epoch(t).InSync)
	b.stores[1].fail(nil)
	return b
}

// advance changes the epoch record of a store as a host does that dies then.
func (f *faulty) advance(t *testing.T, change func(*driver.Epoch)) driver.Epoch {
	t.Helper()
	held := f.epoch(t)
	next := held.Clone()
	next.Token = driver.NewToken()
	change(&next)
	_, err := f.Store.Advance(t.Context(), driver.AdvanceRequest{Expect: held.At(), Next: next})
	require.NoError(t, err)
	return next
}

func TestJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openWithout(t)
		other := open(t, manual(others(b.stores)...))
		require.NoError(t, b.Rejoin(t.Context(), "b", nil))
		e := b.stores[0].epoch(t)
		require.Equal(t, firstEpoch+1, e.Number)
		require.Equal(t, []string{"b"}, e.InSync)
		require.Equal(t, driver.Serving, e.State)
		require.NotNil(t, b.stores[1].held(t, "alone"))
		synctest.Wait()
		require.Len(t, eventsOf[chain.Joined](b), 2, "at the beginning, and now")
		require.Equal(t, "b", eventsOf[chain.Joined](b)[1].Link)

		// The other host mirrors to it from its next commit on.
		require.Equal(t, firstEpoch+1, other.start(t, "x").Epoch)
		require.NotNil(t, b.stores[1].held(t, "x"))
		b.stores[0].fail(driver.Unavailable)
		other.stores[0].fail(driver.Unavailable)
		_, err := other.Get(t.Context(), "alone")
		require.NoError(t, err)
		require.Equal(t, firstEpoch+3, b.stores[1].epoch(t).Number)
	})
}

// During a handover commits and claims of all hosts are held back, reads are not.
func TestHandoverHoldsWritersBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openWithout(t)
		other := open(t, manual(others(b.stores)...))
		stop := other.work(t, chain.WorkOptions{Concurrency: 4}, func(context.Context, *chain.Handle) ([]byte, error) { return []byte("out"), nil })
		var wg sync.WaitGroup
		err := b.Rejoin(t.Context(), "b", func(ctx context.Context) error {
			for i, host := range []*bench{b, other} {
				_, err := host.Get(ctx, "alone")
				require.NoError(t, err)
				wg.Go(func() { host.start(t, fmt.Sprint("held back ", i)) })
			}
			time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
			for i := range 2 {
				require.Nil(t, b.stores[0].held(t, fmt.Sprint("held back ", i)))
			}
			return nil
		})
		require.NoError(t, err)
		wg.Wait()
		for i := range 2 {
			require.NotNil(t, b.stores[1].held(t, fmt.Sprint("held back ", i)))
		}
		eventually(t, "all is done", func() bool { return finished(t, b.Chain) == 4 })
		require.NoError(t, stop())
		for _, id := range []string{"before", "alone"} {
			require.True(t, driver.Equal(b.stores[0].held(t, id), b.stores[1].held(t, id)))
		}
	})
}

func TestHandoverIsRolledBackWhenTheDrainFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		drain func(context.Context) error
		wait  time.Duration
	}{
		{"Failure", func(context.Context) error { return errTest }, 0},
		{"TooSlow", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, 2 * time.Second},
		{"Deaf", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Second); return nil }, 3 * time.Second}, //nolint:forbidigo // the clock of the bubble
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openWithout(t)
				other := open(t, manual(others(b.stores)...))
				began := time.Now()
				waited := make(chan time.Duration, 1)
				err := b.Rejoin(t.Context(), "b", func(ctx context.Context) error {
					go func() {
						if _, err := other.Start(t.Context(), chain.Workflow{ID: "during", Kind: "call"}); err != nil {
							t.Errorf("start during the handover: %v", err)
						}
						waited <- time.Since(began)
					}()
					return tc.drain(ctx)
				})
				require.Error(t, err)
				require.InDelta(t, tc.wait, time.Since(began), float64(100*time.Millisecond))
				require.LessOrEqual(t, <-waited, 2100*time.Millisecond, "writers wait no longer than the limit")
				e := b.stores[0].epoch(t)
				require.Equal(t, firstEpoch, e.Number)
				require.Equal(t, driver.Serving, e.State)
				require.Empty(t, e.InSync)
				synctest.Wait()
				require.Len(t, append(eventsOf[chain.HandoverRolledBack](b), eventsOf[chain.HandoverRolledBack](other)...), 1)
			})
		})
	}
}

// Who began the handover died in the middle of it.
func TestStuckHandoverIsRolledBackByAnyHost(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"WhileOpen", "AtOpen"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stores := newStores(2)
				b := open(t, manual(stores...))
				if when == "AtOpen" {
					require.NoError(t, b.Close(t.Context()))
				}
				stores[0].advance(t, func(e *driver.Epoch) { e.Version, e.State = e.Version+1, driver.Handover })
				if when == "AtOpen" {
					b = open(t, manual(others(stores)...))
				}
				began := time.Now()
				require.Equal(t, firstEpoch, b.start(t, "w").Epoch)
				require.InDelta(t, 2, time.Since(began).Seconds(), 0.1)
				require.Equal(t, []string{"b"}, stores[0].epoch(t).InSync)
				eventually(t, "the standby is told", func() bool { return stores[1].epoch(t).Equal(stores[0].epoch(t)) })
			})
		})
	}
}

// A standby that fails during a handover ends it: what the joining link lacks is
// not known any more.
func TestDropDuringAHandoverEndsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, manual(newStores(3)...))
		b.stores[2].fail(driver.Unavailable)
		b.start(t, "w")
		b.stores[2].fail(nil)
		require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync)
		err := b.Rejoin(t.Context(), "c", func(ctx context.Context) error {
			b.stores[1].model.Erase()
			<-ctx.Done()
			return context.Cause(ctx)
		})
		require.ErrorIs(t, err, driver.Conflict)
		require.Equal(t, firstEpoch, b.stores[0].epoch(t).Number)
		require.Empty(t, b.stores[0].epoch(t).InSync)
		b.start(t, "x")
		require.NoError(t, b.Rejoin(t.Context(), "c", nil))
		require.Equal(t, []string{"c"}, b.stores[0].epoch(t).InSync)
		require.NotNil(t, b.stores[2].held(t, "x"))
	})
}

// The active link dies in the middle of a handover.
func TestFailoverFromAHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, manual(newStores(3)...))
		b.stores[2].fail(driver.Unavailable)
		b.start(t, "w")
		b.stores[2].fail(nil)
		err := b.Rejoin(t.Context(), "c", func(ctx context.Context) error {
			b.stores[0].fail(driver.Unavailable)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		require.Error(t, err)
		require.Equal(t, movedEpoch, b.start(t, "x").Epoch)
		e := b.stores[1].epoch(t)
		require.Equal(t, driver.Serving, e.State)
		require.Empty(t, e.InSync)
	})
}

// The link that joins dies before the handover ends, and after.
func TestJoiningLinkDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openWithout(t)
		require.Error(t, b.Rejoin(t.Context(), "b", func(context.Context) error {
			b.stores[1].model.Erase() // the copy that follows is refused
			return nil
		}))
		require.Empty(t, b.stores[0].epoch(t).InSync)
		b.start(t, "x")
		require.NoError(t, b.Rejoin(t.Context(), "b", nil))
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "y")
		require.Empty(t, b.stores[0].epoch(t).InSync)
	})
}

// The answers of the active link are lost at each step.
func TestJoinWithLostAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openWithout(t)
		b.stores[0].loseAnswers(2, "advance")
		require.NoError(t, b.Rejoin(t.Context(), "b", func(context.Context) error {
			b.stores[0].loseAnswers(2, "advance")
			return nil
		}))
		require.Equal(t, firstEpoch+1, b.stores[0].epoch(t).Number)
		b.start(t, "x")
		require.NotNil(t, b.stores[1].held(t, "x"))
	})
}
