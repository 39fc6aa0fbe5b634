// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

func TestAcknowledgedIsOnEveryStandby(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		same := func(id string) {
			t.Helper()
			a := b.stores[0].held(t, id)
			for i := 1; i < 3; i++ {
				require.True(t, driver.Equal(a, b.stores[i].held(t, id)), "store %d", i)
			}
		}
		b.start(t, "w")
		same("w")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := b.Work(ctx, "call", func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			same("w") // the claim
			require.Equal(t, driver.Leased, b.stores[2].held(t, "w").Status)
			require.NoError(t, h.Save(ctx, "one", []byte("state")))
			same("w")
			time.Sleep(20 * time.Second) //nolint:forbidigo // the clock of the bubble: two heartbeats
			same("w")
			require.Greater(t, b.stores[2].held(t, "w").Revision, uint64(3), "the heartbeats")
			cancel()
			return []byte("done"), nil
		}, chain.WorkOptions{})
		require.NoError(t, err)
		same("w")
		require.Equal(t, driver.Succeeded, b.stores[2].held(t, "w").Status)
		require.Equal(t, "done", string(b.stores[2].held(t, "w").Output))
	})
}

// The in-sync set is changed before the first acknowledgement that does without
// the standby.
func TestStandbyIsDroppedBeforeTheAcknowledgement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[1].fail(driver.Unavailable)
		release := make(chan struct{})
		b.stores[0].hook(func(ctx context.Context, op string) error {
			if op != "advance" {
				return nil
			}
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return driver.ContextError(ctx, false)
			}
		})
		done := make(chan driver.Record, 1)
		b.startAsync(t, "w", done)
		time.Sleep(4 * time.Second) //nolint:forbidigo // the clock of the bubble
		require.Empty(t, done, "the set is not changed yet")
		close(release)
		r := <-done
		require.Equal(t, firstEpoch, r.Epoch)
		require.Empty(t, b.stores[0].epoch(t).InSync)
		require.Equal(t, uint64(2), b.stores[0].epoch(t).Version)
		synctest.Wait()
		dropped := eventsOf[chain.StandbyDropped](b)
		require.Len(t, dropped, 1)
		require.False(t, dropped[0].Protected)
		require.Len(t, b.logs.FilterMessage("standby dropped: running unprotected").All(), 1)

		// It is no candidate: it misses what was acknowledged since.
		b.stores[1].fail(nil)
		b.stores[0].fail(driver.Unavailable)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		_, err := b.Get(ctx, "w")
		require.ErrorIs(t, err, driver.Unavailable)
		require.Zero(t, b.stores[1].count("claim"))
		require.Equal(t, firstEpoch, b.stores[1].epoch(t).Number)
	})
}

func TestOneStandbyOfTwoIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		b.start(t, "one")
		b.stores[1].model.Erase()
		b.start(t, "two")
		require.Equal(t, []string{"c"}, b.stores[0].epoch(t).InSync)
		synctest.Wait()
		require.True(t, eventsOf[chain.StandbyDropped](b)[0].Protected)
		require.ErrorIs(t, eventsOf[chain.StandbyDropped](b)[0].Cause, driver.Lost)

		b.stores[0].fail(driver.Unavailable)
		require.Equal(t, movedEpoch, b.start(t, "three").Epoch)
		require.NotNil(t, b.stores[2].held(t, "one"), "the chain went on in c")
		require.Equal(t, "c", b.stores[2].epoch(t).Active)
	})
}

// Both links fail, the active one for good: the standby was never dropped, so it
// may take over when it is back.
func TestStandbyThatFailedWithTheActiveLinkTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "one")
		b.stores[1].fail(driver.Unavailable)
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op == "commit" { // takes the record, but can no longer change the set
				return nil
			}
			return driver.Unavailable
		})
		done := make(chan driver.Record, 1)
		b.startAsync(t, "two", done)
		time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble
		require.Empty(t, done)
		b.stores[0].fail(driver.Unavailable)
		b.stores[1].fail(nil)
		r := <-done
		require.Equal(t, movedEpoch, r.Epoch)
		require.Equal(t, r.Token, b.stores[1].held(t, "two").Token)
		require.Equal(t, r.Token, b.stores[0].held(t, "two").Token, "the same transition, known to a as of the old epoch")
		require.Equal(t, firstEpoch, b.stores[0].held(t, "two").Epoch)
	})
}

// The standby is known to have lost everything, but the active link died before
// it could be taken out of the set.
func TestLostStandbyDoesNotTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "one")
		b.stores[1].model.Erase()
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op == "commit" {
				return nil
			}
			return driver.Unavailable
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := b.Start(ctx, chain.Workflow{ID: "two", Kind: "call", Input: []byte("input of two")})
		require.ErrorIs(t, err, driver.Unknown, "the active link took it")
		require.ErrorIs(t, err, driver.Lost)
		require.NotEqual(t, "b", b.stores[1].epoch(t).Active)
		b.stores[0].fail(nil)
		b.start(t, "two")
		require.Empty(t, b.stores[0].epoch(t).InSync)
	})
}

func TestConcurrentCommitsAreCombined(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		release := make(chan struct{})
		var sizes []int
		b.stores[0].commits(func(req driver.CommitRequest) error {
			b.stores[0].mu.Lock()
			sizes = append(sizes, len(req.Transitions))
			b.stores[0].mu.Unlock()
			<-release
			return nil
		})
		done := make(chan error, 700)
		started := 0
		start := func(n int) {
			for range n {
				started++
				id := fmt.Sprint(started)
				go func() {
					_, err := b.Start(t.Context(), chain.Workflow{ID: id, Kind: "call"})
					done <- err
				}()
			}
			synctest.Wait()
		}
		start(1)
		require.Equal(t, []int{1}, sizes, "a lone caller is sent at once")
		start(1)
		start(1)
		start(1)
		require.Equal(t, []int{1, 1, 1}, sizes, "three batches in flight, not four")
		start(599)
		require.Equal(t, []int{1, 1, 1}, sizes, "the others queue")
		release <- struct{}{}
		synctest.Wait()
		require.Equal(t, []int{1, 1, 1, driver.MaxBatch}, sizes, "and go as one batch when a slot is free")
		close(release)
		for range 603 {
			require.NoError(t, <-done)
		}
		sum := 0
		for _, n := range sizes {
			sum += n
		}
		require.Equal(t, 603, sum)
		require.Len(t, sizes, 6)
	})
}

func TestBatchesKeepTheLimitOfBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		release := make(chan struct{})
		var sizes []int
		b.stores[0].commits(func(req driver.CommitRequest) error {
			<-release
			bytes := 0
			for i := range req.Transitions {
				bytes += driver.EncodedSize(&req.Transitions[i].Record)
			}
			b.stores[0].mu.Lock()
			defer b.stores[0].mu.Unlock()
			sizes = append(sizes, bytes)
			return nil
		})
		input := make([]byte, 200<<10)
		done := make(chan error, 120)
		for i := range 120 {
			go func() {
				_, err := b.Start(t.Context(), chain.Workflow{ID: fmt.Sprint(i), Kind: "call", Input: input})
				done <- err
			}()
		}
		synctest.Wait()
		close(release)
		for range 120 {
			require.NoError(t, <-done)
		}
		for _, size := range sizes {
			require.LessOrEqual(t, size, driver.MaxBatchBytes)
		}
		require.LessOrEqual(t, len(sizes), 2+4, "batches are filled up to the limit")
		require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync, "so are merges")
	})
}

// Due times and ends of leases are of the store's clock, however wrong ours is.
func TestStoreTime(t *testing.T) {
	t.Parallel()
	for _, shift := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		t.Run(shift.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				now := func() time.Time { return time.Now().Add(shift) }
				b := open(t, configOf(newFaulty(now), newFaulty(now)))
				r := b.start(t, "w")
				require.WithinDuration(t, now(), r.Due, time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				err := b.Work(ctx, "call", func(ctx context.Context, h *chain.Handle) ([]byte, error) {
					require.NoError(t, h.Save(ctx, "one", nil))
					require.WithinDuration(t, now().Add(30*time.Second), b.stores[0].held(t, "w").Due, time.Second)
					time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
					cancel()
					return nil, ctx.Err()
				}, chain.WorkOptions{})
				require.NoError(t, err)
				require.Equal(t, driver.Succeeded, b.stores[1].held(t, "w").Status)
			})
		})
	}
}

// An id may be used anew once a store has forgotten the workflow that had it, also
// while a standby has not forgotten it yet.
func TestIDThatIsUsedAnewReachesTheStandby(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := newFaulty(func() time.Time { return time.Now().Add(-10 * time.Second) })
		config := configOf(newFaulty(nil), late)
		config.Retention = time.Hour
		b := open(t, config)
		b.start(t, "w")
		_, err := b.Cancel(t.Context(), "w", "no longer wanted")
		require.NoError(t, err)
		sleep(time.Hour + time.Second)
		require.Nil(t, b.stores[0].held(t, "w"), "forgotten")
		require.Equal(t, driver.Cancelled, late.held(t, "w").Status, "not yet")
		anew := b.start(t, "w")
		require.Equal(t, uint64(1), anew.Revision)
		require.Equal(t, anew.Token, late.held(t, "w").Token)
		sleep(time.Minute)
		b.stores[0].fail(driver.Unavailable)
		r, err := b.Get(t.Context(), "w")
		require.NoError(t, err)
		require.Equal(t, anew.Token, r.Token)
	})
}
