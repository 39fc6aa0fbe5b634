// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// away takes link a of two away from a host, which fails over to b, and returns
// when that is done.
func (b *bench) away(t *testing.T) {
	t.Helper()
	b.stores[0].fail(driver.Unavailable)
	b.start(t, "to-fail-over-"+driver.NewToken().String())
	require.Equal(t, "b", b.stores[1].epoch(t).Active)
}

// openManual is a chain of two whose failback is left to the operator.
func openManual(t *testing.T) *bench {
	t.Helper()
	stores := []*faulty{newFaulty(nil), newFaulty(nil)}
	config := configOf(stores...)
	config.Policy.Failback = chain.FailbackManual
	config.ReportDir = t.TempDir()
	return open(t, config)
}

func TestLinkReturnsEmpty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openManual(t)
		for i := range 20 {
			b.start(t, fmt.Sprint(i))
		}
		b.away(t)
		b.stores[0].model.Erase()
		b.stores[0].fail(nil)
		b.inStep(t, 1, "a")
		require.Equal(t, 21, same(t, b.stores[0], b.stores[1]))
		require.NoError(t, b.SwitchTo(t.Context(), "a"))
		b.start(t, "after")
		require.Equal(t, 22, same(t, b.stores[0], b.stores[1]))
		synctest.Wait()
		require.Empty(t, eventsOf[chain.DivergenceFound](b))
		require.Empty(t, eventsOf[chain.StandbyDropped](b))
	})
}

func TestLinkReturnsStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openManual(t)
		b.start(t, "old")
		restore := b.stores[0].model.Snapshot()
		for i := range 20 {
			b.start(t, fmt.Sprint(i))
		}
		_, err := b.Cancel(t.Context(), "old", "test")
		require.NoError(t, err)
		b.away(t)
		restore()
		b.stores[0].fail(nil)
		b.inStep(t, 1, "a")
		require.Equal(t, 22, same(t, b.stores[0], b.stores[1]))
		synctest.Wait()
		require.Empty(t, eventsOf[chain.DivergenceFound](b), "what is only older is no finding")
	})
}

// alone makes a transition in one store, behind the back of the chain.
func (f *faulty) alone(t *testing.T, tr driver.Transition, err error) driver.Record {
	t.Helper()
	require.NoError(t, err)
	resp, err := f.Store.Commit(t.Context(), driver.CommitRequest{Guard: driver.Guard{Epoch: tr.Record.Epoch}, Transitions: []driver.Transition{tr}})
	require.NoError(t, err)
	require.NoError(t, resp.Verdicts[0].Err)
	return tr.Record
}

// TestLinkReturnsDiverged: each row of the table of what a returning link holds.
func TestLinkReturnsDiverged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := []*faulty{newFaulty(nil), newFaulty(nil)}
		config := configOf(stores...)
		config.Policy.Failback = chain.FailbackManual
		config.ReportDir = t.TempDir()
		config.Retention = time.Hour
		b := open(t, config)
		for _, id := range []string{"same", "behind", "ahead", "held"} {
			b.start(t, id)
		}
		stamp := func() driver.Stamp { return driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()} }
		// A holder on another host works on one of them throughout.
		release := make(chan struct{})
		saved := make(chan error, 10)
		stop := b.work(t, chain.WorkOptions{Concurrency: 1, Lease: time.Minute}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			select {
			case <-release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			err := h.Save(ctx, "went on", nil)
			saved <- err
			return nil, err
		})
		leased := func(id string) bool { return b.stores[0].held(t, id).Status == driver.Leased }
		within(t, time.Minute, "a lease", func() bool { return leased("same") || leased("behind") || leased("ahead") || leased("held") })
		held := ""
		for id, r := range b.stores[0].all(t) {
			if r.Status == driver.Leased {
				held = id
			}
		}
		// Only link a has these: they were never acknowledged.
		others := slices.DeleteFunc([]string{"behind", "ahead", "same", "held"}, func(id string) bool { return id == held })
		behind, ahead := others[0], others[1]
		a := b.stores[0]
		lost := a.another() // a connection that does not mirror
		r, err := driver.Cancel(stamp(), *a.held(t, behind), "never acknowledged", time.Time{})
		lost.alone(t, r, err)
		r, err = driver.Cancel(stamp(), *a.held(t, ahead), "never acknowledged", time.Time{})
		lost.alone(t, r, err)
		r, err = driver.Extend(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now(), Lease: a.held(t, held).Lease.Token},
			*a.held(t, held), time.Now().Add(2*time.Minute))
		lost.alone(t, r, err)
		r, err = driver.Start(stamp(), driver.Workflow{ID: "unknown", Kind: "call", Due: time.Now().Add(time.Hour)})
		lost.alone(t, r, err)
		old := stamp()
		old.Now = time.Now().Add(-2 * time.Hour)
		r, err = driver.Start(old, driver.Workflow{ID: "forgotten", Kind: "other"})
		lost.alone(t, r, err)

		b.away(t)
		_, err = b.Cancel(t.Context(), behind, "acknowledged")
		require.NoError(t, err)
		before := b.stores[1].all(t)
		var seenAtReport map[string]driver.Record
		a.hook(func(_ context.Context, op string) error {
			if op == "merge" && seenAtReport == nil {
				seenAtReport = a.all(t)
				entries, err := os.ReadDir(config.ReportDir)
				require.NoError(t, err)
				require.Len(t, entries, 1, "the report is there before the first merge")
			}
			return nil
		})
		b.inStep(t, 1, "a")
		a.hook(nil)
		require.Equal(t, driver.Cancelled, seenAtReport[ahead].Status, "nothing is replaced before it has been reported")

		synctest.Wait()
		found := eventsOf[chain.DivergenceFound](b)
		require.Len(t, found, 1)
		// The holder has made his lease longer in link b meanwhile.
		require.Equal(t, map[chain.Divergence]int{
			chain.DivergenceBehind: 2, chain.DivergenceAhead: 1, chain.DivergenceUnknown: 1, chain.DivergenceForgotten: 1}, found[0].Counts)
		lines := reportOf(t, found[0].Report)
		require.Len(t, lines, 5)
		require.Nil(t, lines["unknown"].Ours)
		require.Equal(t, "cancelled", lines[ahead].Theirs.Status)
		require.Equal(t, before[ahead].Revision, lines[ahead].Ours.Revision)

		require.Equal(t, driver.Ready, b.stores[1].held(t, ahead).Status, "the chain's own record counts, anew")
		require.Equal(t, before[ahead].Revision+1, b.stores[1].held(t, ahead).Revision)
		require.Equal(t, "acknowledged", b.stores[0].held(t, behind).Failure)
		require.Equal(t, driver.Ready, b.stores[1].held(t, "unknown").Status, "it was done, though nobody was told")
		require.Nil(t, b.stores[1].held(t, "forgotten"))
		require.Equal(t, driver.Cancelled, b.stores[0].held(t, "forgotten").Status)

		// The holder of the lease goes on under it.
		close(release)
		require.NoError(t, <-saved)
		b.until(t, held, driver.Succeeded)
		require.NoError(t, stop())
		theirs := b.stores[0].all(t)
		delete(theirs, "forgotten")
		require.Equal(t, b.stores[1].all(t), theirs)
	})
}

// TestLaterStartInAReturningLink: what no transition of the chain's own record can
// follow ends the resync, and not the host.
func TestLaterStartInAReturningLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "v")
		within(t, time.Minute, "the standby is dropped", func() bool { return len(b.Status().Epoch.InSync) == 0 })
		r := *b.stores[0].held(t, "w")
		r.Created, r.Token = r.Created.Add(time.Second), driver.NewToken()
		resp, err := b.stores[1].Store.Merge(t.Context(), driver.MergeRequest{Guard: driver.Guard{Epoch: r.Epoch}, Records: []driver.Record{r}})
		require.NoError(t, err)
		require.True(t, resp.Verdicts[0].Applied)
		b.stores[1].fail(nil)
		within(t, time.Minute, "the resync fails", func() bool { return len(eventsOf[chain.ResyncFailed](b)) > 0 })
		require.ErrorContains(t, eventsOf[chain.ResyncFailed](b)[0].Cause, "started later in the same epoch")
		require.Empty(t, b.Status().Epoch.InSync)
		b.start(t, "u")
	})
}

func reportOf(t *testing.T, path string) map[string]chain.Diverged {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	lines := map[string]chain.Diverged{}
	for s := bufio.NewScanner(f); s.Scan(); {
		require.NotContains(t, s.Text(), "input of")
		var d chain.Diverged
		require.NoError(t, json.Unmarshal(s.Bytes(), &d))
		lines[d.ID] = d
	}
	return lines
}

// Without a place for the report nothing is replaced, and the link stays out.
func TestNothingIsReplacedWithoutTheReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := []*faulty{newFaulty(nil), newFaulty(nil)}
		config := configOf(stores...)
		config.Policy.Failback = chain.FailbackManual
		config.ReportDir = filepath.Join(t.TempDir(), "missing")
		require.NoError(t, os.Mkdir(config.ReportDir, 0o700))
		b := open(t, config)
		require.NoError(t, os.Remove(config.ReportDir))
		b.start(t, "w")
		tr, err := driver.Cancel(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()}, *stores[0].held(t, "w"), "x", time.Time{})
		lost := stores[0].another().alone(t, tr, err)
		b.away(t)
		stores[0].fail(nil)
		within(t, time.Minute, "two failures", func() bool { return len(eventsOf[chain.ResyncFailed](b)) > 1 })
		require.Equal(t, lost.Token, stores[0].held(t, "w").Token)
		require.Empty(t, stores[1].epoch(t).InSync)
		require.ErrorContains(t, eventsOf[chain.ResyncFailed](b)[0].Cause, "missing")
		b.start(t, "goes on")
	})
}

// The failback is told, and counted as a flap should it not last, although its
// own change of the epoch ends the steward's duty.
func TestFailbackIsToldAndCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.away(t)
		b.stores[0].hook(func(ctx context.Context, op string) error {
			if op == "advance" { // a has yet to take the record over while the chain is there already
				late, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
				<-late.Done()
			}
			return ctx.Err()
		})
		within(t, 5*time.Minute, "the failback is told", func() bool { return len(eventsOf[chain.Switched](b)) == 1 })

		b.away(t)
		b.stores[0].fail(nil)
		b.inStep(t, 1, "a")
		within(t, time.Minute, "the next hold-down", func() bool { return len(eventsOf[chain.HoldDown](b)) == 2 })
		require.Equal(t, 1, eventsOf[chain.HoldDown](b)[1].Flaps)
	})
}

// What a returning link holds that the chain does not know is taken into it while
// another link joins: that has it, too.
func TestUnknownIsTakenInWhileAnotherLinkJoins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, configOf(newStores(3)...))
		b.stores[1].fail(driver.Unavailable)
		b.stores[2].fail(driver.Unavailable)
		b.start(t, "w")
		require.Empty(t, b.stores[0].epoch(t).InSync)
		tr, err := driver.Start(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()},
			driver.Workflow{ID: "unknown", Kind: "call", Due: time.Now().Add(time.Hour)})
		b.stores[1].another().alone(t, tr, err)
		// Link c joins by the hand of another host at the very moment.
		var joins sync.Once
		b.stores[0].answers(func(op string) error {
			if op != "merge" {
				return nil
			}
			joins.Do(func() {
				r := b.stores[0].held(t, "w")
				_, err := b.stores[2].Store.Merge(t.Context(), driver.MergeRequest{Guard: driver.Guard{Epoch: firstEpoch}, Records: []driver.Record{*r}})
				require.NoError(t, err)
				b.stores[0].advance(t, func(e *driver.Epoch) { e.Number, e.Version, e.InSync = e.Number+1, 1, []string{"c"} })
				b.stores[2].fail(nil)
			})
			return nil
		})
		b.stores[1].fail(nil)
		b.inStep(t, 0, "b", "c")
		for i := range b.stores {
			require.NotNil(t, b.stores[i].held(t, "unknown"), "store %d", i)
		}
	})
}
