// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// errStop is what an emit returns to end a feed.
var errStop = errors.New("enough")

// feed is a running call of Changes.
type feed struct {
	e      *env
	cancel context.CancelFunc
	over   chan struct{}
	err    error // once over is closed
	inEmit atomic.Int32

	mu      sync.Mutex
	batches []driver.ChangeBatch
}

// follow begins a feed and waits for its first batch.
func (c *conn) follow(req driver.ChangesRequest) *feed {
	c.e.Helper()
	return c.followWith(req, func() {})
}

// followWith calls during in each emit.
func (c *conn) followWith(req driver.ChangesRequest, during func()) *feed {
	c.e.Helper()
	ctx, cancel := context.WithCancel(c.e.Context())
	f := &feed{e: c.e, cancel: cancel, over: make(chan struct{})}
	c.e.Cleanup(f.end)
	go func() {
		defer close(f.over)
		defer guard(c.e.T, "a feed")
		f.err = c.Changes(ctx, req, func(b driver.ChangeBatch) error {
			if f.inEmit.Add(1) > 1 {
				f.e.Errorf("emit was called while another call of it was running")
			}
			defer f.inEmit.Add(-1)
			during()
			f.mu.Lock()
			defer f.mu.Unlock()
			f.batches = append(f.batches, b)
			return nil
		})
	}()
	f.await("the first batch, which comes at once", func([]driver.Change) error {
		if f.cursor() == "" {
			return errors.New("no batch has come")
		}
		return nil
	})
	return f
}

// end ends the feed and checks that it does.
func (f *feed) end() {
	f.cancel()
	select {
	case <-f.over:
	case <-time.After(f.e.closeTime()):
		f.e.Errorf("Changes has not returned %s after its context was done", f.e.closeTime())
	}
}

// changes returns what has come so far.
func (f *feed) changes() []driver.Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []driver.Change
	for _, b := range f.batches {
		all = append(all, b.Changes...)
	}
	return all
}

// cursor returns that of the last batch.
func (f *feed) cursor() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.batches) == 0 {
		return ""
	}
	return f.batches[len(f.batches)-1].Cursor
}

// await waits until what has come satisfies the condition.
func (f *feed) await(what string, condition func([]driver.Change) error) {
	f.e.Helper()
	f.e.eventually(what, func() error {
		err := condition(f.changes())
		select {
		case <-f.over:
			if err != nil {
				require.NoError(f.e, f.err, "the feed ended: %s", what)
				require.Fail(f.e, "the feed ended without an error")
			}
		default:
		}
		return err
	})
}

// awaitAll waits until the last change of each record has come, and checks that
// revisions never go back and that nothing comes twice.
func (f *feed) awaitAll(want []driver.Record) {
	f.e.Helper()
	f.await("the last change of each record", func(all []driver.Change) error {
		last := lastOf(all)
		for _, r := range want {
			if last[r.ID].Revision != r.Revision || last[r.ID].Epoch != r.Epoch {
				return fmt.Errorf("%q has come to revision %d in %d changes, want %d", r.ID, last[r.ID].Revision, len(all), r.Revision)
			}
		}
		return nil
	})
	forward(f.e, f.changes())
}

func lastOf(all []driver.Change) map[string]driver.Change {
	last := make(map[string]driver.Change)
	for _, change := range all {
		last[change.ID] = change
	}
	return last
}

// forward checks that the revisions of each record grow.
func forward(e *env, all []driver.Change) {
	e.Helper()
	last := make(map[string]driver.Change)
	for i, change := range all {
		if was, ok := last[change.ID]; ok {
			require.True(e, change.Epoch > was.Epoch || change.Epoch == was.Epoch && change.Revision > was.Revision,
				"change %d: %q came at revision %d of epoch %d after %d of %d", i, change.ID, change.Revision, change.Epoch, was.Revision, was.Epoch)
		}
		last[change.ID] = change
	}
}

// present returns the cursor of the present.
func (c *conn) present() string {
	c.e.Helper()
	var cursor string
	err := c.Changes(c.e.Context(), driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
		require.Empty(c.e, b.Changes, "with an empty cursor the first batch is empty")
		cursor = b.Cursor
		return errStop
	})
	require.ErrorIs(c.e, err, errStop)
	require.NotEmpty(c.e, cursor, "the cursor of the present")
	return cursor
}

// describes checks that change tells of r.
func (e *env) describes(change driver.Change, r driver.Record) {
	e.Helper()
	want := driver.Change{ID: r.ID, Kind: r.Kind, Revision: r.Revision, Epoch: r.Epoch, Status: r.Status, Due: r.Due}
	require.True(e, want.Due.Equal(change.Due), "due is %s, want %s", change.Due, want.Due)
	change.Due = want.Due
	change.Record = nil
	require.Equal(e, want, change)
}

// busy lets writers move records on, all at once, and returns the records as they
// then stand.
func busy(conns []*conn, writers, records, rounds int) []driver.Record {
	conns[0].e.Helper()
	return busyOn(conns, "w", writers, records, rounds)
}

// busyOn is busy on new records whose ids begin with prefix.
func busyOn(conns []*conn, prefix string, writers, records, rounds int) []driver.Record {
	e := conns[0].e
	e.Helper()
	out := make([][]driver.Record, writers)
	e.all(writers, func(i int) error {
		c := conns[i%len(conns)]
		for _, id := range numbered(fmt.Sprint(prefix, i), records) {
			r := c.start(id)
			for round := range rounds {
				if round%2 == 0 {
					r = c.apply(c.must(driver.Cancel(c.stamp(), r, "no", time.Time{})))
				} else {
					r = c.apply(c.must(driver.Requeue(c.stamp(), r, r.Updated)))
				}
			}
			out[i] = append(out[i], r)
		}
		return nil
	})
	return slices.Concat(out...)
}
