// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// everyClass calls check for each class that a store may answer, in a bubble. Most
// are for the caller; others says which are not, and what is seen of them.
func everyClass(t *testing.T, others map[driver.Class]seen, check func(*testing.T, driver.Class, seen)) {
	t.Helper()
	for _, class := range append(driver.Classes(), driver.Class(200)) { // that is of a later version
		want := toCaller
		if other, ok := others[class]; ok {
			want = other
		}
		t.Run(class.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { check(t, class, want) })
		})
	}
}

// elsewhere are the classes that are not for the caller of a mutation, as long as
// it is no verdict.
var elsewhere = map[driver.Class]seen{
	driver.Denied: atOnce, driver.Lost: atOnce, driver.Full: atOnce,
	driver.ReadOnly: afterRetry, driver.Unavailable: afterRetry, driver.Unknown: afterRetry, driver.Class(200): afterRetry,
	driver.Fenced: pausing,
}

// TestLostAnswers: a commit is executed, and answered by each class all the same.
// However often it is attempted, it is executed once.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	everyClass(t, elsewhere, func(t *testing.T, class driver.Class, want seen) {
		b := openN(t, 2)
		before := b.stores[0].count("commit")
		b.stores[0].answers(func(op string) error {
			if op == "commit" {
				return class
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := b.Start(ctx, chain.Workflow{ID: "x", Kind: "call"})
		attempts := b.stores[0].count("commit") - before
		executed := b.stores[0].held(t, "x")
		require.Equal(t, uint64(1), executed.Revision)
		switch want {
		case toCaller:
			require.ErrorIs(t, err, class)
			require.Equal(t, 1, attempts)
		case pausing:
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, driver.Unknown)
			require.InDelta(t, 400, attempts, 150, "about one each 50 ms")
		case afterRetry, atOnce:
			require.NoError(t, err)
			require.Equal(t, map[seen]int{afterRetry: 4, atOnce: 1}[want], attempts)
			moved := b.stores[1].held(t, "x")
			require.Equal(t, uint64(1), moved.Revision)
			require.Equal(t, executed.Token, moved.Token)
		}
	})
}

// TestAdvanceDecisions: the active link answers each class when a standby is to be
// dropped that refuses a record.
func TestAdvanceDecisions(t *testing.T) {
	t.Parallel()
	others := map[driver.Class]seen{driver.Conflict: pausing} // another host has changed the epoch
	maps.Copy(others, elsewhere)
	everyClass(t, others, func(t *testing.T, class driver.Class, want seen) {
		b := openN(t, 3)
		var attempts atomic.Int32
		b.stores[0].hook(func(_ context.Context, op string) error {
			switch {
			case op != "advance":
				return nil
			case b.Status().Epoch.Number == firstEpoch: // after that it is told the new one
				attempts.Add(1)
			}
			return class
		})
		b.stores[1].fail(driver.Invalid, "merge")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := b.Start(ctx, chain.Workflow{ID: "x", Kind: "call"})
		tries := int(attempts.Load())
		moved := b.stores[1].epoch(t).Number
		switch want {
		case toCaller:
			require.ErrorIs(t, err, class)
			require.ErrorIs(t, err, driver.Unknown, "it is in the active link, and a standby in step lacks it")
			require.Equal(t, 1, tries)
			require.Equal(t, firstEpoch, moved)
		case pausing:
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.InDelta(t, 400, tries, 150, "about one each 50 ms")
			require.Equal(t, firstEpoch, moved)
		case afterRetry, atOnce:
			require.NoError(t, err)
			require.Equal(t, map[seen]int{afterRetry: 4, atOnce: 1}[want], tries)
			require.Equal(t, movedEpoch, moved)
			require.Equal(t, uint64(1), b.stores[1].held(t, "x").Revision)
		}
	})
}

// TestCarryDecisions: a link that has taken over answers each class when it is
// brought what has been acknowledged on the former one alone.
func TestCarryDecisions(t *testing.T) {
	t.Parallel()
	everyClass(t, elsewhere, func(t *testing.T, class driver.Class, want seen) {
		config := configOf(newStores(3)...)
		config.Policy.MirrorMode = chain.MirrorAsync
		b := open(t, config)
		var attempts atomic.Int32
		lagging := func(store int, answer func() error) {
			b.stores[store].hook(func(ctx context.Context, op string) error {
				if op != "merge" {
					return nil
				}
				held, err := b.stores[store].Store.Epoch(ctx, driver.EpochRequest{})
				if err == nil && held.Epoch.Number == firstEpoch {
					<-ctx.Done()
					return driver.ContextError(ctx, true)
				}
				return answer()
			})
		}
		t.Cleanup(func() { b.dump(t) })
		lagging(1, func() error {
			attempts.Add(1)
			return class
		})
		lagging(2, func() error { return nil })
		b.start(t, "early")
		synctest.Wait() // both standbys are at it
		b.stores[0].fail(driver.Denied, "commit")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := b.Start(ctx, chain.Workflow{ID: "x", Kind: "call"})
		tries := int(attempts.Load())
		active := b.Status().Epoch.Active
		switch want {
		case toCaller: // there is none any more: the log says it
			require.NoError(t, err)
			require.Equal(t, 1, tries)
			require.Equal(t, "b", active)
			require.Len(t, b.logs.FilterMessageSnippet("acknowledged records are on the active link only").All(), 1)
		case pausing:
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.InDelta(t, 400, tries, 150, "about one each 50 ms")
			require.Equal(t, "b", active)
			b.stores[1].fail(nil)
			eventually(t, "it is carried over", func() bool { return b.stores[1].held(t, "early") != nil })
		case afterRetry, atOnce:
			require.NoError(t, err)
			require.Equal(t, map[seen]int{afterRetry: 4, atOnce: 1}[want], tries)
			require.Equal(t, "c", active)
			require.Equal(t, uint64(1), b.stores[2].held(t, "early").Revision)
		}
	})
}

// crowded has no room for what is merged into it while it is active.
type crowded struct {
	driver.Store
	name string
}

func (c *crowded) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	held, err := c.Epoch(ctx, driver.EpochRequest{})
	if err != nil || held.Epoch.Active != c.name {
		return c.Store.Merge(ctx, req)
	}
	verdicts := make([]driver.Verdict, len(req.Records))
	for i := range verdicts {
		verdicts[i].Err = driver.Full
	}
	return driver.MergeResponse{Verdicts: verdicts}, nil
}

// A link that has taken over and has no room for a record that was acknowledged on
// the former one alone says so in the verdict of the record: that counts as if it
// had refused the call.
func TestCarriedRecordIsRefusedByItsVerdict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(3)
		stores[1].Store = &crowded{stores[1].Store, "b"}
		config := configOf(stores...)
		config.Policy.MirrorMode = chain.MirrorAsync
		b := open(t, config)
		releaseB, releaseC := b.stores[1].hold("merge"), b.stores[2].hold("merge")
		b.start(t, "early")
		b.stores[0].fail(driver.Denied)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "x", done)
		eventually(t, "the failover", func() bool { return b.stores[1].epoch(t).Active == "b" })
		releaseB()
		releaseC()
		<-done
		require.Equal(t, "c", b.Status().Epoch.Active)
		require.Equal(t, uint64(1), b.stores[2].held(t, "early").Revision)
	})
}
