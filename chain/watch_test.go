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

// follower keeps what a Watch has told.
type follower struct {
	mu     sync.Mutex
	last   map[string]chain.Change
	told   int
	listed int
	cursor string
	stop   func() error
}

func (f *follower) take(b chain.Changes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cursor = b.Cursor
	for _, ch := range b.Changes {
		f.told++
		if b.Listed {
			f.listed++
		}
		if was := f.last[ch.ID]; was.Epoch < ch.Epoch || was.Epoch == ch.Epoch && was.Revision < ch.Revision {
			f.last[ch.ID] = ch
		}
	}
	return nil
}

func (f *follower) of(id string) chain.Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last[id]
}

// watch runs Watch until stop is called, and returns after the first batch.
func (b *bench) watch(t *testing.T, filter chain.WatchFilter) *follower {
	t.Helper()
	f := &follower{last: map[string]chain.Change{}}
	ctx, cancel := context.WithCancel(t.Context())
	done, begun := make(chan error, 1), make(chan struct{})
	go func() {
		begin := sync.OnceFunc(func() { close(begun) })
		done <- b.Watch(ctx, filter, func(c chain.Changes) error {
			defer begin()
			return f.take(c)
		})
	}()
	<-begun
	f.stop = func() error {
		cancel()
		return <-done
	}
	return f
}

func TestWatchTellsWhatHappens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "before")
		all := b.watch(t, chain.WatchFilter{Records: true})
		ended := b.watch(t, chain.WatchFilter{Kinds: []string{"call"}, Statuses: []driver.Status{driver.Succeeded}})
		other := b.watch(t, chain.WatchFilter{Kinds: []string{"other"}})
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			return []byte("out"), h.Save(ctx, "s", nil)
		})
		b.start(t, "w")
		b.until(t, "w", driver.Succeeded)
		synctest.Wait()
		require.NoError(t, stop())
		for _, f := range []*follower{all, ended, other} {
			require.ErrorIs(t, f.stop(), context.Canceled)
		}
		ch := all.of("w")
		require.Equal(t, driver.Succeeded, ch.Status)
		require.Equal(t, "out", string(ch.Record.Output))
		require.Equal(t, driver.Succeeded, all.of("before").Status, "it changed after the beginning")
		require.Equal(t, 2, ended.told)
		require.Nil(t, ended.of("w").Record)
		require.Zero(t, other.told)
		require.NotEmpty(t, other.cursor)
	})
}

// Another host goes on where one has stopped.
func TestWatchResumesOnAnotherHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := newFaulty(nil), newFaulty(nil)
		first := open(t, configOf(one, two))
		f := first.watch(t, chain.WatchFilter{})
		first.start(t, "a")
		synctest.Wait()
		require.Error(t, f.stop())
		first.start(t, "b")

		second := open(t, configOf(one.another(), two.another()))
		g := second.watch(t, chain.WatchFilter{Cursor: f.cursor})
		synctest.Wait()
		require.Equal(t, uint64(1), g.of("b").Revision)
		require.Zero(t, g.of("a").Revision, "it was told before the cursor")
		require.Zero(t, g.listed)
		require.Error(t, g.stop())
	})
}

// Nothing is missed over failovers, and nothing is listed: the cursor has a place
// in the other link too.
func TestWatchGoesOnOverAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		f := b.watch(t, chain.WatchFilter{})
		for i := range 20 {
			b.start(t, fmt.Sprint("early", i))
		}
		time.Sleep(30 * time.Second) //nolint:forbidigo // the clock of the bubble: the places are brought up to date
		for i := range 20 {
			b.start(t, fmt.Sprint("late", i))
		}
		synctest.Wait()
		before := f.told
		require.Equal(t, 40, before)
		b.stores[0].freeze()
		b.start(t, "during")
		synctest.Wait()
		require.Equal(t, uint64(1), f.of("during").Revision)
		require.Zero(t, f.listed)
		require.LessOrEqual(t, f.told-before, 21, "the early ones do not come again")
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "last")
		synctest.Wait()
		require.Equal(t, uint64(1), f.of("last").Revision)
		require.Zero(t, f.listed)
		require.Error(t, f.stop())
	})
}

// What the active link took and the watcher had not been told of when it died
// comes from the next link.
func TestWatchIsToldWhatItHadNotSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		f := b.watch(t, chain.WatchFilter{})
		b.start(t, "a")
		synctest.Wait()
		require.Error(t, f.stop())
		b.start(t, "b")
		b.stores[0].fail(driver.Unavailable)
		b.start(t, "c")
		g := b.watch(t, chain.WatchFilter{Cursor: f.cursor})
		synctest.Wait()
		for _, id := range []string{"b", "c"} {
			require.Equal(t, uint64(1), g.of(id).Revision, id)
		}
		require.Zero(t, g.listed)
		require.Error(t, g.stop())
	})
}

func TestWatchListsWhenTheCursorIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		f := b.watch(t, chain.WatchFilter{})
		require.Error(t, f.stop())
		for i := range 600 {
			b.start(t, fmt.Sprint(i))
		}
		lost := true
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op == "changes" && lost {
				lost = false
				return driver.CursorLost
			}
			return nil
		})
		f = b.watch(t, chain.WatchFilter{Cursor: f.cursor})
		synctest.Wait()
		require.Equal(t, 600, f.listed)
		b.start(t, "after")
		synctest.Wait()
		require.Equal(t, 601, f.told)
		require.Equal(t, 1, b.logs.FilterMessageSnippet("watch lists").Len())
		require.Error(t, f.stop())
	})
}

func TestWatchWaitsWhileTheFeedIsBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		f := b.watch(t, chain.WatchFilter{})
		b.start(t, "a")
		time.Sleep(11 * time.Second) //nolint:forbidigo // the clock of the bubble: the feed is opened anew
		b.stores[0].fail(driver.Unavailable, "changes")
		b.start(t, "b")
		time.Sleep(11 * time.Second) //nolint:forbidigo // the clock of the bubble
		b.start(t, "c")
		time.Sleep(30 * time.Second) //nolint:forbidigo // the clock of the bubble
		require.Zero(t, f.of("c").Revision)
		b.stores[0].fail(nil)
		time.Sleep(2 * time.Second) //nolint:forbidigo // the clock of the bubble
		require.Equal(t, uint64(1), f.of("c").Revision)
		require.Equal(t, 1, b.logs.FilterMessage("watch broke off").Len())
		require.Error(t, f.stop())
	})
}

func TestWatchHidesTheChainsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		f := b.watch(t, chain.WatchFilter{})
		tr, err := driver.Start(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()}, chain.Workflow{ID: "own", Kind: "understudy.test"})
		require.NoError(t, err)
		_, err = b.stores[0].Store.Commit(t.Context(), driver.CommitRequest{Guard: driver.Guard{Epoch: firstEpoch}, Transitions: []driver.Transition{tr}})
		require.NoError(t, err)
		b.start(t, "w")
		synctest.Wait()
		require.Equal(t, 1, f.told)
		page, err := b.List(t.Context(), chain.Filter{})
		require.NoError(t, err)
		require.Len(t, page.Records, 1)
		require.Error(t, f.stop())
	})
}

func TestWatchErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		none := func(chain.Changes) error { return nil }
		for _, cursor := range []string{"nonsense!", "e30", "bm9uc2Vuc2U"} {
			require.ErrorIs(t, b.Watch(t.Context(), chain.WatchFilter{Cursor: cursor}, none), driver.Invalid, cursor)
		}
		require.ErrorIs(t, b.Watch(t.Context(), chain.WatchFilter{Kinds: []string{""}}, none), driver.Invalid)
		require.ErrorIs(t, b.Watch(t.Context(), chain.WatchFilter{Statuses: []driver.Status{99}}, none), driver.Invalid)
		require.Equal(t, errTest, b.Watch(t.Context(), chain.WatchFilter{}, func(chain.Changes) error { return errTest }), "as it is")

		feedless := newFaulty(nil)
		feedless.about = func(d *driver.DescribeResponse) { d.Capabilities = nil }
		c := open(t, configOf(feedless))
		require.ErrorIs(t, c.Watch(t.Context(), chain.WatchFilter{}, none), driver.Unsupported)

		done := make(chan error, 1)
		go func() { done <- b.Watch(t.Context(), chain.WatchFilter{}, none) }()
		synctest.Wait()
		require.NoError(t, b.Close(t.Context()))
		require.ErrorIs(t, <-done, chain.ErrClosed)
	})
}

// A watch that ends before it has told what had happened since its cursor does not
// give a cursor that leaves that out in another link.
func TestWatchThatEndsEarlyKeepsItsPlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		f := b.watch(t, chain.WatchFilter{})
		require.Error(t, f.stop())
		b.start(t, "untold")
		b.stores[0].hold("changes")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		cursor := f.cursor
		err := b.Watch(ctx, chain.WatchFilter{Cursor: cursor}, func(c chain.Changes) error {
			cursor = c.Cursor
			return nil
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)

		b.stores[0].fail(driver.Unavailable)
		b.start(t, "over")
		g := b.watch(t, chain.WatchFilter{Cursor: cursor})
		synctest.Wait()
		require.Equal(t, uint64(1), g.of("over").Revision)
		require.Equal(t, uint64(1), g.of("untold").Revision)
		require.Error(t, g.stop())
	})
}
