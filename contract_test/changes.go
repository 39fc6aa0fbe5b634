// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func changesCases() []Case {
	const area = "Changes"
	cases := []Case{
		{Name: "BeginNow", run: changesBegin,
			Sentence: "With an empty cursor it begins now: the first batch is empty, comes at once and has the cursor of the present."},
		{Name: "CallEmitOneAtATime", run: changesOneAtATime,
			Sentence: "It calls emit from one goroutine at a time and waits for it."},
		{Name: "EndWithTheContext", run: changesContext,
			Sentence: "A method returns within 100 ms after ctx is done, with an error that wraps ctx's."},
		{Name: "TellOfEachMutation", run: changesTell,
			Sentence: "Commits, claims and merges that changed the store are changes. Change tells that a record has come to a revision."},
		{Name: "TellOfNothingElse", run: changesNone,
			Sentence: "Commits, claims and merges that changed the store are changes: repeats, refusals and older records are none."},
		{Name: "KeepTheOrderOfTheStore", run: changesOrder,
			Sentence: "Changes feeds every change after req.Cursor to emit, in the order of the store."},
		{Name: "ComeLive", run: changesLive,
			Sentence: "Changes feeds every change, and then each new one as it happens; the last change of a record always comes; the changes of one record come in the order of Compare."},
		{Name: "GoToEachFeed", run: changesFeeds,
			Sentence: "Concurrency: any number of calls may run at once: each feed has every change."},
		{Name: "WaitForEmit", run: changesSlow,
			Sentence: "It calls emit from one goroutine at a time and waits for it: a slow emit slows the feed and nothing else."},
		{Name: "ReturnTheErrorOfEmit", run: changesEmitError,
			Sentence: "Until ctx is done or emit returns an error; it returns that error as it is."},
		{Name: "HaveRecordsIfAsked", run: changesRecords,
			Sentence: "Records asks for the records themselves. Each is as it stands when it is read, so it may be of a later revision than the change."},
		{Name: "EndAtTheEnd", run: changesToEnd,
			Sentence: "With req.ToEnd it returns nil as soon as emit has had every change that was acknowledged before the call began. The cursor of the last batch is then the place to go on from, without a gap."},
		{Name: "EndWhileOthersWrite", run: changesToEndBusy,
			Sentence: "With req.ToEnd: what happens during the call may come too, and does not prolong it."},
		{Name: "CarryLargeRecords", run: changesLarge,
			Sentence: "Records asks for the records themselves: of any size up to MaxRecordBytes, however many."},
	}
	for i := range cases {
		cases[i].Area, cases[i].Needs = area, []driver.Capability{driver.CapChanges}
	}
	return cases
}

func changesBegin(e *env) {
	c := e.open()
	c.start("before")
	for _, on := range []*conn{c, e.share(c)} {
		f := on.follow(driver.ChangesRequest{})
		require.Empty(e, f.changes(), "the first batch is empty")
		id := "after-" + driver.NewToken().String()
		r := c.start(id)
		f.awaitAll([]driver.Record{r})
		require.Len(e, f.changes(), 1, "what happened before does not come")
	}
}

func changesOneAtATime(e *env) {
	c := e.open()
	f := c.followWith(driver.ChangesRequest{}, func() { // long enough to meet another one
		timer := time.NewTimer(10 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	})
	f.awaitAll([]driver.Record{c.start("a"), c.start("b")})
}

func changesTell(e *env) {
	c := e.open()
	c.advance(3, driver.Serving)
	f := e.share(c).follow(driver.ChangesRequest{})
	tells := func(r driver.Record) {
		e.Helper()
		f.awaitAll([]driver.Record{r})
		e.describes(lastOf(f.changes())[r.ID], r)
		require.Nil(e, lastOf(f.changes())[r.ID].Record, "records come only if asked for")
	}
	tells(c.startOf(driver.Workflow{ID: "a", Kind: "red", Due: c.now().Add(time.Hour)}))
	for _, t := range c.life("b") {
		tells(c.apply(t))
	}
	c.start("c")
	tells(c.claimOne(time.Hour))
	merged := c.complete("d")
	c.merge(merged)
	tells(merged)
	ended := c.finished("e")
	c.merge(ended)
	tells(ended)
}

func changesNone(e *env) {
	c := e.open()
	t := c.newStart("a")
	c.apply(t)
	req := c.claimRequest(1, time.Hour)
	r := c.claim(req).Records[0]
	f := c.follow(driver.ChangesRequest{})

	c.claim(req)                          // a repeat
	c.claim(c.claimRequest(5, time.Hour)) // nothing is claimable
	c.merge(r)                            // a repeat
	c.merge(t.Record)                     // an older one
	require.Error(e, c.verdict(t).Err)    // overtaken
	e.refused(c.verdict(c.newStart("a")).Err, driver.Exists)
	if !e.h.Chain {
		_, err := c.Probe(e.Context(), driver.ProbeRequest{})
		require.NoError(e, err)
	}
	c.advance(1, driver.Serving)

	marker := c.start("marker")
	f.awaitAll([]driver.Record{marker})
	require.Len(e, f.changes(), 1, "only the last call changed a record: %v", f.changes())
}

func changesOrder(e *env) {
	conns := e.several(3)
	cursor := conns[0].present()
	f := conns[0].follow(driver.ChangesRequest{Cursor: cursor})
	byPartition := map[uint32][]string{}
	var all []driver.Record
	for i, id := range numbered("r", 60) {
		c := conns[i%len(conns)]
		t := c.newStart(id)
		resp := c.send(t)
		require.NoError(e, resp.Verdicts[0].Err)
		p := c.partition(resp)
		byPartition[p] = append(byPartition[p], id)
		all = append(all, t.Record)
	}
	later := conns[len(conns)-1].follow(driver.ChangesRequest{Cursor: cursor})
	for _, f := range []*feed{f, later} {
		f.awaitAll(all)
		for p, want := range byPartition {
			var got []string
			for _, change := range f.changes() {
				if slices.Contains(want, change.ID) {
					got = append(got, change.ID)
				}
			}
			require.Equal(e, want, got, "the changes of partition %d", p)
		}
	}
}

func changesLive(e *env) {
	conns := e.several(3)
	f := conns[0].follow(driver.ChangesRequest{})
	f.awaitAll(busy(conns, 4, 10, 6))
}

func changesFeeds(e *env) {
	conns := e.several(3)
	var feeds []*feed
	for i := range 9 {
		feeds = append(feeds, conns[i%len(conns)].follow(driver.ChangesRequest{Records: i%2 == 0}))
	}
	want := busy(conns, 3, 5, 3)
	for _, f := range feeds {
		f.awaitAll(want)
	}
}

func changesSlow(e *env) {
	c := e.open()
	gate := make(chan struct{}, 1)
	gate <- struct{}{} // for the first batch
	opened := make(chan struct{})
	slow := c.followWith(driver.ChangesRequest{}, func() {
		select {
		case <-gate:
		case <-opened:
		case <-e.Context().Done():
		}
	})
	quick := c.follow(driver.ChangesRequest{})
	want := busy([]*conn{c, e.share(c)}, 4, 50, 4)
	quick.awaitAll(want)
	require.Less(e, len(slow.changes()), len(quick.changes()), "the slow emit was waited for")
	close(opened)
	slow.awaitAll(want)
}

func changesEmitError(e *env) {
	c := e.open()
	err := c.Changes(e.Context(), driver.ChangesRequest{}, func(driver.ChangeBatch) error { return errStop })
	require.True(e, err == errStop, "want the very error of emit: %v", err) //nolint:errorlint,testifylint // as it is, not wrapped

	cursor := c.present()
	c.start("a")
	own := fmt.Errorf("wraps: %w", driver.Conflict)
	calls := 0
	err = c.Changes(e.Context(), driver.ChangesRequest{Cursor: cursor}, func(b driver.ChangeBatch) error {
		if calls++; len(b.Changes) == 0 {
			return nil
		}
		return own
	})
	require.True(e, err == own, "want the very error of emit: %v", err) //nolint:errorlint,testifylint // as it is, not wrapped
	require.LessOrEqual(e, calls, 2, "emit is not called again")
}

func changesContext(e *env) {
	c := e.open()
	f := c.follow(driver.ChangesRequest{})
	began := time.Now()
	f.end()
	require.Less(e, time.Since(began), e.promptly(began), "Changes ends with its context")
	require.ErrorIs(e, f.err, context.Canceled)
	e.refused(f.err, driver.Unavailable)

	ctx, cancel := e.brief(50 * time.Millisecond)
	defer cancel()
	err := c.Changes(ctx, driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
	e.inTime(ctx)
	require.ErrorIs(e, err, context.DeadlineExceeded)
	e.refused(err, driver.Unavailable)
}

func changesRecords(e *env) {
	c := e.open()
	cursor := c.present()
	live := c.follow(driver.ChangesRequest{Records: true})
	want := busy([]*conn{c, e.share(c)}, 2, 5, 4)
	full := c.complete("complete")
	c.merge(full)
	want = append(want, full)
	for _, f := range []*feed{live, e.share(c).follow(driver.ChangesRequest{Cursor: cursor, Records: true})} {
		f.awaitAll(want)
		for _, change := range f.changes() {
			require.NotNil(e, change.Record, "the change of %q has the record", change.ID)
			require.Equal(e, change.ID, change.Record.ID)
			require.GreaterOrEqual(e, change.Record.Revision, change.Revision)
		}
		last := lastOf(f.changes())
		for _, r := range want {
			e.same(&r, last[r.ID].Record)
		}
	}
}

func changesLarge(e *env) {
	c := e.open()
	cursor := c.present()
	heavy := c.heaviest()
	c.apply(heavy...)
	more := c.heaviest()
	want := make([]driver.Record, 0, 2*len(heavy))
	for i := range heavy {
		more[i].Record.ID = "more-" + more[i].Record.ID
		fill(&more[i].Record, driver.MaxRecordBytes)
		want = append(want, heavy[i].Record, more[i].Record)
	}
	c.apply(more...)
	f := c.follow(driver.ChangesRequest{Cursor: cursor, Records: true})
	f.awaitAll(want)
	last := lastOf(f.changes())
	for _, r := range want {
		e.same(&r, last[r.ID].Record)
	}
}

// toEnd feeds what is there after the cursor, and returns it with the cursor that
// follows.
func (c *conn) toEnd(cursor string, records bool) ([]driver.Change, string) {
	c.e.Helper()
	ctx, cancel := c.e.brief(c.e.h.timeout())
	defer cancel()
	var all []driver.Change
	calls := 0
	err := c.Changes(ctx, driver.ChangesRequest{Cursor: cursor, Records: records, ToEnd: true}, func(b driver.ChangeBatch) error {
		all, cursor = append(all, b.Changes...), b.Cursor
		calls++
		return nil
	})
	require.NoError(c.e, err, "a feed to its end, after %d batches", calls)
	require.Positive(c.e, calls, "the first batch comes also if there is nothing to tell")
	require.NotEmpty(c.e, cursor)
	forward(c.e, all)
	return all, cursor
}

func changesToEnd(e *env) {
	conns := e.several(3)
	begin := conns[0].present()
	none, cursor := conns[1].toEnd("", false)
	require.Empty(e, none, "with an empty cursor it ends where it begins")
	for round := range 3 {
		for _, records := range []bool{false, true} {
			want := busyOn(conns, fmt.Sprint(round, records), 4, 10, 3+round) // acknowledged to other connections than the one that asks
			on := conns[round%len(conns)]
			var all []driver.Change
			all, cursor = on.toEnd(cursor, records)
			reachedAll(e, lastOf(all), want)
			none, cursor = conns[(round+1)%len(conns)].toEnd(cursor, records)
			require.Empty(e, none, "nothing comes twice")
		}
	}
	all, _ := conns[2].toEnd(begin, true)
	require.NotEmpty(e, all)
	live := conns[0].follow(driver.ChangesRequest{Cursor: cursor})
	live.awaitAll([]driver.Record{conns[1].start("after")})
	require.Len(e, live.changes(), 1, "a feed goes on right after the end")
}

func reachedAll(e *env, last map[string]driver.Change, want []driver.Record) {
	e.Helper()
	for _, r := range want {
		require.Equal(e, r.Revision, last[r.ID].Revision, "the feed ended before the last change of %q", r.ID)
	}
}

func changesToEndBusy(e *env) {
	conns := e.several(3)
	cursor := conns[0].present()
	told := map[string]driver.Change{}
	over := make(chan []driver.Record, 1)
	go func() {
		defer close(over)
		defer guard(e.T, "a writer")
		over <- busy(conns[1:], 4, 20, 8)
	}()
	var want []driver.Record
	for writing := true; writing; {
		select {
		case want = <-over:
			writing = false
		default:
		}
		var all []driver.Change
		all, cursor = conns[0].toEnd(cursor, false)
		maps.Copy(told, lastOf(all))
	}
	reachedAll(e, told, want)
}
