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
	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

func TestFailoverAfterThreeRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "before")
		commits := b.stores[0].count("commit")
		b.stores[0].fail(driver.Unavailable)
		began := time.Now()
		r := b.start(t, "w")
		require.Less(t, time.Since(began), time.Second, "three retries with the default back-off")
		require.Equal(t, commits+4, b.stores[0].count("commit"), "one attempt and three retries")
		require.Equal(t, movedEpoch, r.Epoch)
		require.NotNil(t, b.stores[1].held(t, "before"), "what was acknowledged is there already")

		synctest.Wait()
		overs := eventsOf[chain.FailedOver](b)
		require.Len(t, overs, 1)
		require.Equal(t, "a", overs[0].From)
		require.Equal(t, "b", overs[0].To)
		require.Equal(t, 4, overs[0].Attempts)
		require.Equal(t, 1, overs[0].InFlight)
		require.ErrorIs(t, overs[0].Cause, driver.Unavailable)
		lines := b.logs.FilterLevelExact(zap.ErrorLevel).All()
		require.Len(t, lines, 1, "one ERROR line per failover")
		require.Equal(t, "failed over", lines[0].Message)
		fields := lines[0].ContextMap()
		for _, key := range []string{"from", "to", "epoch", "cause", "evidence", "attempts", "elapsed", "in_flight", "protected"} {
			require.Contains(t, fields, key)
		}
	})
}

func TestFailoverOfFrozenStoreAtTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[0].freeze()
		began := time.Now()
		b.start(t, "w")
		require.InDelta(t, 10, time.Since(began).Seconds(), 0.01, "the budget runs from the start of the first attempt that failed")
		synctest.Wait()
		require.InDelta(t, 10, eventsOf[chain.FailedOver](b)[0].Elapsed.Seconds(), 0.01)
	})
}

func TestBudgetIsWhicheverIsSooner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := []*faulty{newFaulty(nil), newFaulty(nil)}
		config := configOf(stores...)
		config.Policy = chain.Policy{Retries: 11, Timeout: 2 * time.Second, Attempt: 500 * time.Millisecond, MaxBackoff: 200 * time.Millisecond}
		b := open(t, config)
		stores[0].fail(driver.Unavailable)
		began := time.Now()
		b.start(t, "w")
		require.LessOrEqual(t, time.Since(began), 2*time.Second)
		require.Greater(t, time.Since(began), 1500*time.Millisecond)
	})
}

// A store that takes writes and never answers a read is of no use, however many
// writes succeed between the reads.
func TestReadsThatAlwaysFailUnderWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[0].fail(driver.Unavailable, "get")
		done := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := b.Get(t.Context(), "w")
			done <- err
		}()
		for n := 0; len(done) == 0 && n < 1000; n++ {
			b.start(t, fmt.Sprint(n))
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
		}
		require.Less(t, time.Since(began), time.Second)
		require.NoError(t, <-done)
	})
}

// The callers of one moment share the incident: their failures count once.
func TestConcurrentCallersShareOneBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op != "commit" {
				return nil
			}
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
			return driver.Unavailable
		})
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				_, err := b.Start(t.Context(), chain.Workflow{ID: fmt.Sprint(i), Kind: "call"})
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.LessOrEqual(t, b.stores[0].count("commit"), 12, "four rounds of three batches in flight")
		synctest.Wait()
		require.Len(t, eventsOf[chain.FailedOver](b), 1)
		require.Equal(t, 500, eventsOf[chain.FailedOver](b)[0].InFlight)
	})
}

func TestShortTroubleIsNoFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		for i := range 5 { // each trouble is an incident of its own
			left := 3
			b.stores[0].hook(func(_ context.Context, op string) error {
				if op == "commit" && left > 0 {
					left--
					return driver.Unavailable
				}
				return nil
			})
			require.Equal(t, firstEpoch, b.start(t, fmt.Sprint(i)).Epoch)
		}
		require.Empty(t, eventsOf[chain.FailedOver](b))
	})
}

// An impatient caller neither hides that the store is frozen nor waits for it.
func TestImpatientCallersStillLeadToFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[0].freeze()
		began := time.Now()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			called := time.Now()
			_, err := b.Get(ctx, "w")
			cancel()
			require.LessOrEqual(t, time.Since(called), 400*time.Millisecond)
			if err == nil {
				break
			}
			require.ErrorIs(t, err, driver.Unavailable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(began), 12*time.Second)
		}
		require.GreaterOrEqual(t, time.Since(began), 9*time.Second)
	})
}

func TestUnknownOutcomeIsRepeatedByToken(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		lost   int // answers of a that are lost
		active uint64
	}{
		{"OnTheSameLink", 2, firstEpoch},
		{"OnTheNextLink", 100, movedEpoch},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				b.start(t, "w")
				b.stores[0].loseAnswers(tc.lost, "commit")
				r, err := b.Cancel(t.Context(), "w", "no longer wanted")
				require.NoError(t, err)
				require.Equal(t, uint64(2), r.Revision, "done once")
				require.Equal(t, tc.active, r.Epoch)
				require.Equal(t, b.stores[0].held(t, "w").Token, b.stores[1].held(t, "w").Token, "the same transition in both stores")
			})
		})
	}
}

// The active link has taken the record and the mirror has too, but the answer of
// the mirror is lost, and then the active link dies: the next link recognises it.
func TestMirroredRecordIsRecognisedAfterFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[1].loseAnswers(100, "merge")
		b.stores[0].hook(func(context.Context, string) error {
			if b.stores[1].count("merge") >= 2 {
				return driver.Unavailable
			}
			return nil
		})
		type outcome struct {
			r   driver.Record
			err error
		}
		cancelled := make(chan outcome, 1)
		go func() {
			r, err := b.Cancel(t.Context(), "w", "no longer wanted")
			cancelled <- outcome{r, err}
		}()
		eventually(t, "the second lost answer", func() bool { return b.stores[1].count("merge") >= 3 })
		_, err := b.Get(t.Context(), "w") // finds out about a
		require.NoError(t, err)
		o := <-cancelled
		r := o.r
		require.NoError(t, o.err)
		require.Equal(t, uint64(2), r.Revision)
		require.Equal(t, movedEpoch, b.stores[1].epoch(t).Number, "failed over")
		require.Equal(t, r.Token, b.stores[1].held(t, "w").Token)
	})
}

func TestLostStoreFailsOverAtOnce(t *testing.T) {
	t.Parallel()
	erase := func(f *faulty) func() { return f.model.Erase }
	rollBack := func(f *faulty) func() { return f.model.Snapshot() }
	for _, tc := range []struct {
		name  string
		spoil func(*faulty) func()
		write bool // whether a write finds it, or a read
	}{{"ErasedRead", erase, false}, {"ErasedWrite", erase, true}, {"RolledBackRead", rollBack, false}, {"RolledBackWrite", rollBack, true}} {
		spoil, write := tc.spoil, tc.write
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				b.start(t, "one")
				lose := spoil(b.stores[0])
				b.start(t, "two")
				lose()
				began := time.Now()
				if write {
					require.Equal(t, movedEpoch, b.start(t, "three").Epoch)
					require.Nil(t, b.stores[0].held(t, "three"), "nothing is applied to it")
				}
				r, err := b.Get(t.Context(), "two")
				require.NoError(t, err)
				require.Equal(t, "two", r.ID)
				eventually(t, "it is told", func() bool { return len(eventsOf[chain.LinkLost](b)) == 1 })
				lost := eventsOf[chain.LinkLost](b)[0]
				require.Equal(t, "a", lost.Link)
				require.ErrorIs(t, lost.Cause, driver.Lost)
				require.Zero(t, time.Since(began), "without a retry")
				synctest.Wait()
				require.ErrorIs(t, eventsOf[chain.FailedOver](b)[0].Cause, driver.Lost)
				require.Equal(t, movedEpoch, b.stores[0].epoch(t).Number, "fenced as soon as it can be reached")
			})
		})
	}
}

func TestAllLinksDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[0].fail(fmt.Errorf("a is broken: %w", driver.Unavailable))
		b.stores[1].fail(fmt.Errorf("b is broken: %w", driver.Unavailable))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, err := b.Start(ctx, chain.Workflow{ID: "x", Kind: "call"})
		require.Equal(t, 5*time.Second, time.Since(began), "callers wait to their own deadline")
		require.ErrorIs(t, err, driver.Unavailable, "certainly not done")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "a is broken")
		require.ErrorContains(t, err, "b is broken")
		require.Len(t, eventsOf[chain.AllDown](b), 1)

		// It recovers by itself, here with the same link.
		done := make(chan error, 1)
		go func() {
			_, err := b.Start(t.Context(), chain.Workflow{ID: "y", Kind: "call"})
			done <- err
		}()
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
		require.Len(t, b.logs.FilterMessage("all links down: callers wait").All(), 1, "logged once per state")
		b.stores[0].fail(nil)
		b.stores[1].fail(nil)
		require.NoError(t, <-done)
		synctest.Wait()
		require.Len(t, append(eventsOf[chain.Recovered](b), make([]chain.Recovered, len(eventsOf[chain.FailedOver](b)))...), 1)
	})
}

func TestSecondHostFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		other := open(t, configOf(b.stores[0].another(), b.stores[1].another(), b.stores[2].another()))
		b.start(t, "w")
		_, err := other.Get(t.Context(), "w")
		require.NoError(t, err)
		b.stores[0].fail(driver.Unavailable) // for the first host only
		b.start(t, "x")
		b.stores[0].fail(nil)
		synctest.Wait()
		r := other.start(t, "y")
		require.Equal(t, movedEpoch, r.Epoch)
		require.Equal(t, r.Token, b.stores[1].held(t, "y").Token)
		synctest.Wait()
		require.Len(t, eventsOf[chain.Followed](other), 1)
		require.Empty(t, eventsOf[chain.FailedOver](other))
		for i := range b.stores {
			require.Equal(t, movedEpoch, b.stores[i].epoch(t).Number, "store %d knows the epoch", i)
		}
		eventually(t, "the first host sees that a is fenced", func() bool { return len(eventsOf[chain.LinkFenced](b)) == 1 })
	})
}

// A refusal that does not tell the newer epoch makes the host look for it, not
// the caller wait for that.
func TestFencedWithoutAnEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[0].hook(func(ctx context.Context, op string) error {
			if op == "epoch" {
				<-ctx.Done()
				return driver.ContextError(ctx, false)
			}
			return driver.Fenced
		})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := b.Get(ctx, "w")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.LessOrEqual(t, time.Since(began), 400*time.Millisecond)
		// The newer epoch stands in b.
		epoch := b.stores[1].epoch(t)
		_, err = b.stores[1].Store.Advance(t.Context(), driver.AdvanceRequest{Expect: epoch.At(),
			Next: driver.Epoch{Number: 7, Version: 1, Token: driver.NewToken(), Active: "b"}})
		require.NoError(t, err)
		require.Equal(t, uint64(7), b.start(t, "x").Epoch)
	})
}

// A store that never returns, whatever its context says, holds nobody up.
func TestHungDriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		release := make(chan struct{})
		b.stores[0].hook(func(context.Context, string) error {
			<-release
			return driver.Unavailable
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := b.Get(ctx, "w")
		require.ErrorIs(t, err, driver.Unavailable)
		require.Equal(t, time.Second, time.Since(began))
		_, err = b.Cancel(ctx, "w", "")
		require.ErrorIs(t, err, driver.Unavailable, "an ended context has no effect")
		b.start(t, "x")
		require.Less(t, time.Since(began), 12*time.Second)
		close(release)
	})
}
