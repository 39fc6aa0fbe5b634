// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// inStep waits until the named links are the in-sync set of the active link.
func (b *bench) inStep(t *testing.T, active int, names ...string) driver.Epoch {
	t.Helper()
	var e driver.Epoch
	within(t, 5*time.Minute, fmt.Sprintf("%q in step", names), func() bool {
		e = b.stores[active].epoch(t)
		return e.State == driver.Serving && fmt.Sprint(e.InSync) == fmt.Sprint(names)
	})
	return e
}

// within waits for a condition, on the clock of a bubble.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	began := time.Now()
	for !condition() {
		require.Less(t, time.Since(began), limit, "waited for: %s", what)
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
	}
}

// same checks that two stores hold the same records, those of stewards excepted.
func same(t *testing.T, a, b *faulty) int {
	t.Helper()
	held := a.all(t)
	require.Equal(t, held, b.all(t))
	return len(held)
}

// all returns what the store itself holds, by id.
func (f *faulty) all(t *testing.T) map[string]driver.Record {
	t.Helper()
	held := map[string]driver.Record{}
	req := driver.ListRequest{Limit: driver.MaxBatch}
	for {
		page, err := f.Store.List(t.Context(), req)
		require.NoError(t, err)
		for _, r := range page.Records {
			if r.Kind != chain.StewardKind {
				held[r.ID] = r
			}
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			return held
		}
	}
}

func TestDroppedStandbyComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "before")
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "meanwhile")
		require.Empty(t, b.stores[0].epoch(t).InSync)
		b.stores[1].fail(nil)
		e := b.inStep(t, 0, "b")
		require.Equal(t, "a", e.Active)
		b.start(t, "after")
		require.Equal(t, 3, same(t, b.stores[0], b.stores[1]))
		synctest.Wait()
		require.Len(t, eventsOf[chain.ResyncStarted](b), 1)
		require.Equal(t, int64(1), eventsOf[chain.Resynced](b)[0].Copied)
		require.Empty(t, eventsOf[chain.DivergenceFound](b))
		require.Empty(t, eventsOf[chain.ResyncFailed](b))
	})
}

// mergeLoser is a store that says of the first merge of a record that it is done,
// and has not done it.
type mergeLoser struct {
	driver.Store
	id   string
	lost atomic.Bool
}

func (l *mergeLoser) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	i := slices.IndexFunc(req.Records, func(r driver.Record) bool { return r.ID == l.id })
	if i < 0 || !l.lost.CompareAndSwap(false, true) {
		return l.Store.Merge(ctx, req)
	}
	req.Records = slices.Delete(slices.Clone(req.Records), i, i+1)
	resp := driver.MergeResponse{}
	if len(req.Records) > 0 {
		var err error
		if resp, err = l.Store.Merge(ctx, req); err != nil {
			return resp, err
		}
	}
	resp.Verdicts = slices.Insert(resp.Verdicts, i, driver.Verdict{Applied: true})
	return resp, nil
}

// What the check at the end of a resync finds missing is copied before the link
// joins.
func TestResyncThatIsFoundIncompleteBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		loser := &mergeLoser{Store: stores[1].Store, id: "meanwhile"}
		stores[1].Store = loser
		b := open(t, configOf(stores...))
		b.start(t, "before")
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "meanwhile")
		require.Empty(t, b.stores[0].epoch(t).InSync)
		b.stores[1].fail(nil)
		b.inStep(t, 0, "b")
		require.True(t, loser.lost.Load())
		require.Equal(t, 2, same(t, b.stores[0], b.stores[1]))
		failed := eventsOf[chain.ResyncFailed](b)
		require.Len(t, failed, 1)
		require.ErrorContains(t, failed[0].Cause, `verify "meanwhile"`)
		var steps []string
		for _, e := range eventsOf[chain.ResyncStarted](b) {
			steps = append(steps, e.Step)
		}
		require.Equal(t, []string{"compare", "compare"}, steps)
	})
}

// mergeRefuser finds that all records are invalid but those of the first merges.
type mergeRefuser struct {
	driver.Store
	mu   sync.Mutex
	left int // merges
	good map[string]bool
}

func (m *mergeRefuser) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	m.mu.Lock()
	id := req.Records[0].ID
	if m.left > 0 {
		m.left--
		m.good[id] = true
	}
	good := m.good[id]
	m.mu.Unlock()
	if good {
		return m.Store.Merge(ctx, req)
	}
	verdicts := make([]driver.Verdict, len(req.Records))
	for i := range verdicts {
		verdicts[i].Err = driver.Invalid
	}
	return driver.MergeResponse{Verdicts: verdicts}, nil
}

// A record that the link refuses ends a resync, however far that has come; it is
// no reason to go through the list from its beginning.
func TestResyncOfARecordThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		stores[1].Store = &mergeRefuser{Store: stores[1].Store, left: 32, good: map[string]bool{}} // the first block of pages
		config := configOf(stores...)
		config.Policy.ResyncRate = 10_000
		b := open(t, config)
		b.stores[1].fail(driver.Unavailable)
		for _, s := range b.StartBatch(t.Context(), batchOf(36*driver.MaxBatch)) {
			require.NoError(t, s.Err)
		}
		b.stores[1].fail(nil)
		within(t, time.Minute, "the resync fails", func() bool { return len(eventsOf[chain.ResyncFailed](b)) > 0 })
		require.ErrorContains(t, eventsOf[chain.ResyncFailed](b)[0].Cause, "invalid")
		require.Len(t, eventsOf[chain.ResyncStarted](b), 1)
	})
}

// loaded is a store in which much is written before its changes are followed.
type loaded struct {
	driver.Store
	once sync.Once
	load func()
}

func (l *loaded) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	if req.ToEnd && req.Cursor != "" {
		l.once.Do(l.load)
	}
	return l.Store.Changes(ctx, req, emit)
}

// A merge that fails while more changes are read ends the resync by its own error:
// that says whether what was copied still counts.
func TestResyncEndsByTheErrorOfAMerge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		source := &loaded{Store: stores[0].Store}
		stores[0].Store = source
		b := open(t, configOf(stores...))
		source.load = func() {
			b.StartBatch(t.Context(), batchOf(20*driver.MaxBatch))
			stores[1].fail(fmt.Errorf("emptied: %w", driver.Lost), "merge")
		}
		stores[1].fail(driver.Unavailable)
		b.start(t, "w")
		stores[1].fail(nil)
		within(t, time.Minute, "the resync fails", func() bool { return len(eventsOf[chain.ResyncFailed](b)) > 0 })
		cause := eventsOf[chain.ResyncFailed](b)[0].Cause
		require.Equal(t, driver.Lost, driver.ClassOf(cause))
		require.NotErrorIs(t, cause, context.Canceled)
		stores[1].fail(nil)
		b.inStep(t, 0, "b")
		require.Equal(t, "compare", eventsOf[chain.ResyncStarted](b)[1].Step, "from the beginning")
	})
}

// merges is a store that notes when it was brought how many records.
type merges struct {
	driver.Store
	mu    sync.Mutex
	at    []time.Time
	sizes []int
}

func (m *merges) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	m.mu.Lock()
	m.at, m.sizes = append(m.at, time.Now()), append(m.sizes, len(req.Records))
	m.mu.Unlock()
	return m.Store.Merge(ctx, req)
}

// A resync keeps to its rate from the first page on, tells how far it has come, and
// goes on in another host from there. The rate can be lifted meanwhile.
func TestResyncKeepsToItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rate, records = 500, 9_000
		stores := newStores(2)
		config := configOf(stores...)
		config.Policy.ResyncRate = rate
		first := open(t, config)
		first.stores[1].fail(driver.Unavailable)
		for _, s := range first.StartBatch(t.Context(), batchOf(records)) {
			require.NoError(t, s.Err)
		}
		first.stores[1].fail(nil)
		within(t, time.Minute, "the resync", func() bool { return len(eventsOf[chain.ResyncStarted](first)) > 0 })
		began := time.Now()
		sleep(12 * time.Second)
		told := eventsOf[chain.ResyncProgress](first)
		require.NotEmpty(t, told)
		require.Equal(t, "copy", told[0].Step)
		require.InDelta(t, records, told[0].About, 100)
		require.InDelta(t, rate*told[0].At.Sub(began).Seconds(), told[0].Done, 3*driver.MaxBatch)
		require.InDelta(t, rate*12, first.Status().Links[1].Resync.Done, 5*driver.MaxBatch)
		require.NoError(t, first.Close(t.Context()))

		own := others(stores)
		target := &merges{Store: own[1].Store}
		own[1].Store = target
		config.Links = configOf(own...).Links
		second := open(t, config)
		within(t, time.Minute, "another host goes on", func() bool { return len(eventsOf[chain.ResyncStarted](second)) > 0 })
		from := eventsOf[chain.ResyncStarted](second)[0]
		require.Equal(t, "copy", from.Step)
		require.InDelta(t, rate*12, from.Done, 6*driver.MaxBatch)
		sleep(3 * time.Second)
		target.mu.Lock()
		for i := range target.at {
			within := 0
			for n := i; n < len(target.at) && target.at[n].Sub(target.at[i]) < time.Second; n++ {
				within += target.sizes[n]
			}
			require.LessOrEqual(t, within, rate+2*driver.MaxBatch, "in the second from merge %d on", i)
		}
		target.mu.Unlock()
		p := second.Policy()
		p.ResyncRate = 0
		require.NoError(t, second.SetPolicy(p))
		sleep(1500 * time.Millisecond)
		require.Equal(t, []string{"b"}, stores[0].epoch(t).InSync, "without a rate there is nothing to wait for")
		require.Equal(t, records, same(t, stores[0], stores[1]))
	})
}

// Where the active link has no change feed, what is written meanwhile is found by
// looking at everything again, and the rate does not hold up the writers.
func TestResyncWithoutAChangeFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		stores[0].about = func(d *driver.DescribeResponse) { d.Capabilities = nil }
		config := configOf(stores...)
		config.Policy.ResyncRate = 100
		b := open(t, config)
		b.stores[1].fail(driver.Unavailable)
		for _, s := range b.StartBatch(t.Context(), batchOf(500)) {
			require.NoError(t, s.Err)
		}
		b.stores[1].fail(nil)
		within(t, time.Minute, "the resync", func() bool { return len(eventsOf[chain.ResyncStarted](b)) > 0 })
		n := 0
		for ; len(b.stores[0].epoch(t).InSync) == 0; n++ {
			require.Less(t, n, 1000)
			began := time.Now()
			b.start(t, fmt.Sprint("meanwhile", n))
			require.Less(t, time.Since(began), time.Second)
			sleep(100 * time.Millisecond)
		}
		require.Equal(t, 500+n, same(t, b.stores[0], b.stores[1]))
		require.Empty(t, eventsOf[chain.ResyncFailed](b))
	})
}
