// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func cursorCases() []Case {
	const area = "Cursor"
	cases := []Case{
		{Name: "BeginsRightAfterItsPlace", run: cursorPlace,
			Sentence: "With a cursor it begins right after it: nothing comes again and nothing is left out."},
		{Name: "OfThePresentBringsAnEmptyBatch", run: cursorAtEnd,
			Sentence: "The first batch comes at once also then, empty if there is nothing to tell."},
		{Name: "OutlivesItsConnection", run: cursorReconnect,
			Sentence: "Cursors stay good over reconnects and are good on every connection to the same data."},
		{Name: "OfEachBatchIsGood", run: cursorEach,
			Sentence: "Cursor: the place after the last of Changes: opaque, at most 1 KiB."},
		{Name: "ThatIsNoneIsInvalid", run: cursorInvalid,
			Sentence: "Errors: Invalid for a cursor that the store did not give."},
		{Name: "OfAnotherStoreIsRefused", run: cursorForeign,
			Sentence: "Errors: CursorLost when the store no longer reaches back to the cursor; Invalid for a cursor that the store did not give."},
		{Name: "IsLostOnceDropped", run: cursorLost, needsDrop: true,
			Sentence: "Errors: CursorLost when the store no longer reaches back to the cursor: begin anew with List."},
	}
	for i := range cases {
		cases[i].Area, cases[i].Needs = area, []driver.Capability{driver.CapChanges}
	}
	return cases
}

func cursorPlace(e *env) {
	conns := e.several(2)
	first := busy(conns, 2, 10, 3)
	cursor := conns[0].present()
	second := busyMore(conns[0], first)
	for _, c := range conns {
		f := c.follow(driver.ChangesRequest{Cursor: cursor})
		f.awaitAll(second)
		for _, change := range f.changes() {
			require.Greater(e, change.Revision, first[0].Revision, "%q at revision %d stands before the cursor", change.ID, change.Revision)
		}
	}
}

// busyMore requeues the cancelled records and returns them as they then stand.
func busyMore(c *conn, records []driver.Record) []driver.Record {
	c.e.Helper()
	out := make([]driver.Record, len(records))
	for i, r := range records {
		out[i] = c.apply(c.must(driver.Requeue(c.stamp(), r, r.Updated)))
	}
	return out
}

func cursorAtEnd(e *env) {
	c := e.open()
	c.start("a")
	cursor := c.present()
	f := e.share(c).follow(driver.ChangesRequest{Cursor: cursor})
	require.Empty(e, f.changes())
	f.awaitAll([]driver.Record{c.start("b")})
}

func cursorReconnect(e *env) {
	c := e.open()
	c.start("before")
	cursor := c.present()
	r := c.start("a")
	if e.h.Has(driver.CapShared) {
		other := e.share(c)
		other.close()
	}
	for _, on := range []*conn{c, e.share(c), c} {
		f := on.follow(driver.ChangesRequest{Cursor: cursor})
		f.awaitAll([]driver.Record{r})
		require.Len(e, f.changes(), 1)
		f.end()
	}
}

// cursorEach reads a history batch by batch, each by a call of its own.
func cursorEach(e *env) {
	conns := e.several(2)
	c := conns[0]
	cursor := c.present()
	want := busy(conns, 4, 20, 3)
	var all []driver.Change
	last := lastOf(nil)
	for calls := 0; !reached(last, want); calls++ {
		require.Less(e, calls, 10_000, "the batches come to an end")
		err := conns[calls%len(conns)].Changes(e.Context(), driver.ChangesRequest{Cursor: cursor}, func(b driver.ChangeBatch) error {
			require.NotEmpty(e, b.Cursor)
			require.LessOrEqual(e, len(b.Cursor), 1024, "a cursor has at most 1 KiB")
			if len(b.Changes) == 0 {
				return nil
			}
			require.NotEqual(e, cursor, b.Cursor, "the cursor moves on with the changes")
			all = append(all, b.Changes...)
			cursor = b.Cursor
			return errStop
		})
		require.ErrorIs(e, err, errStop)
		last = lastOf(all)
	}
	forward(e, all)
}

func reached(last map[string]driver.Change, want []driver.Record) bool {
	for _, r := range want {
		if last[r.ID].Revision != r.Revision {
			return false
		}
	}
	return true
}

// refusedCursor checks that the cursor is refused with one of the classes before
// anything is fed.
func (c *conn) refusedCursor(cursor string, classes ...driver.Class) {
	c.e.Helper()
	ctx, cancel := c.e.brief(c.e.h.timeout() / 4)
	defer cancel()
	err := c.Changes(ctx, driver.ChangesRequest{Cursor: cursor}, func(b driver.ChangeBatch) error {
		return fmt.Errorf("a batch of %d changes was fed for the cursor %.40q", len(b.Changes), cursor)
	})
	require.Contains(c.e, classes, driver.ClassOf(err), "%v", err)
}

func cursorInvalid(e *env) {
	c := e.open()
	c.start("a")
	good := c.present()
	for _, cursor := range []string{"x", " ", "\x00", "not a cursor", good + "x", "x" + good, good + good, strings.Repeat("9", 30), text(5000)} {
		c.refusedCursor(cursor, driver.Invalid)
	}
}

func cursorForeign(e *env) {
	c, other := e.open(), e.openChain(newChain())
	c.start("a")
	other.start("a")
	c.refusedCursor(other.present(), driver.Invalid, driver.CursorLost)
	other.refusedCursor(c.present(), driver.Invalid, driver.CursorLost)
}

func cursorLost(e *env) {
	conns := e.several(2)
	c := conns[0]
	first := c.present()
	busy(conns, 2, 5, 3)
	e.h.DropChanges(e.T, e.chain)
	c.start("after")
	for _, on := range conns {
		on.refusedCursor(first, driver.CursorLost)
		f := on.follow(driver.ChangesRequest{})
		f.awaitAll([]driver.Record{c.start("live-" + driver.NewToken().String())})
	}
	require.Len(e, c.list(driver.ListRequest{Limit: 100}), 13, "the records are still there")
}
