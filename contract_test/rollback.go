// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func rollbackCases() []Case {
	const lost, marks = "Rollback", "Marks"
	return []Case{
		{Area: lost, Name: "BehindWhatWasSeenIsLost", run: lostBehind,
			Sentence: "Guard: Seen is the highest that the caller has seen of the store: a store that is behind answers Lost before it applies anything."},
		{Area: lost, Name: "AnotherIncarnationIsLost", run: lostIncarnation,
			Sentence: "Incarnation tells a store that lost everything and grew again from one that went on: Lost."},
		{Area: lost, Name: "ComesBeforeTheFence", run: lostFirst,
			Sentence: "The store checks it before it applies anything, in this order: Seen (Lost), the epoch (Fenced, Lost), then the request itself."},
		{Area: lost, Name: "IsNotSeenWhereThereIsNone", run: lostNot,
			Sentence: "Marks.Check: nil, if the store is as far as was seen. Partitions that stand only on one side do not count. Empty: the caller trusts the store as it is."},
		{Area: marks, Name: "GrowWithEachMutation", run: marksGrow,
			Sentence: "Sequence grows with each mutation."},
		{Area: marks, Name: "NeverGoBack", run: marksBack,
			Sentence: "A store whose own marks are lower than what was seen has lost data: one that has lost nothing never goes back."},
		{Area: marks, Name: "ComeWithEveryAnswer", run: marksEverywhere,
			Sentence: "Receipt comes with every answer: Marks tells how far the partitions that the call touched have come; Time is the store's own time."},
	}
}

type receipt struct {
	name    string
	receipt driver.Receipt
	err     error
}

// guarded calls every method that takes Seen, with seen, in epoch, and returns
// the answers. Each could have an effect on the record "due" or on "new".
func (c *conn) guarded(seen driver.Marks, epoch uint64, bad bool) []receipt {
	c.e.Helper()
	ctx := c.e.Context()
	guard := driver.Guard{Epoch: epoch, Seen: seen}
	t := c.newStart("new")
	t.Record.Epoch = epoch
	other := t.Record.Clone()
	other.Token = driver.NewToken()
	held := c.epochNow()
	claim := c.claimRequest(1, time.Hour)
	claim.Guard = guard
	list, get, next := driver.ListRequest{Seen: seen, Limit: 1}, driver.GetRequest{Seen: seen, IDs: []string{"due"}},
		driver.Epoch{Number: held.Number + 1, Token: driver.NewToken(), Active: "a"}
	transitions, records := []driver.Transition{t}, []driver.Record{other}
	if bad {
		claim.Limit, list.Limit, get.IDs, next.Active = -1, -1, nil, ""
		transitions, records = make([]driver.Transition, driver.MaxBatch+1), make([]driver.Record, driver.MaxBatch+1)
	}

	commit, commitErr := c.Commit(ctx, driver.CommitRequest{Guard: guard, Transitions: transitions})
	claimed, claimErr := c.Claim(ctx, claim)
	merge, mergeErr := c.Merge(ctx, driver.MergeRequest{Guard: guard, Records: records})
	got, getErr := c.Get(ctx, get)
	listed, listErr := c.List(ctx, list)
	probe, probeErr := c.Probe(ctx, driver.ProbeRequest{Seen: seen})
	advance, advanceErr := c.Advance(ctx, driver.AdvanceRequest{Seen: seen, Expect: held.At(), Next: next})
	return []receipt{
		{"commit", commit.Receipt, commitErr}, {"claim", claimed.Receipt, claimErr}, {"merge", merge.Receipt, mergeErr},
		{"get", got.Receipt, getErr}, {"list", listed.Receipt, listErr}, {"probe", probe.Receipt, probeErr},
		{"advance", advance.Receipt, advanceErr},
	}
}

// receipts returns the receipt of every method; none may fail.
func (c *conn) receipts() []receipt {
	c.e.Helper()
	answers := c.guarded(nil, c.epoch, false)
	resp, err := c.Epoch(c.e.Context(), driver.EpochRequest{})
	answers = append(answers, receipt{"epoch", resp.Receipt, err})
	for _, a := range answers {
		require.NoError(c.e, a.err, a.name)
	}
	return answers
}

// grown opens a store that has a record called due, and returns the marks it has
// come to.
func (e *env) grown() (*conn, driver.Marks) {
	e.Helper()
	c := e.open()
	c.advance(2, driver.Serving)
	t := c.newStart("due")
	resp := c.send(t)
	require.NoError(e, resp.Verdicts[0].Err)
	require.NotEmpty(e, resp.Marks, "the receipt of a commit has the marks of what it touched")
	return c, c.allMarks().With(resp.Marks)
}

// isLost checks that every method refuses seen, and that none has an effect.
func (c *conn) isLost(seen driver.Marks, epoch uint64, bad bool) {
	c.e.Helper()
	stored, epochs := c.get("due"), c.epochNow()
	for _, a := range c.guarded(seen, epoch, bad) {
		require.Equal(c.e, driver.Lost, driver.ClassOf(a.err), "%s with marks above the store's: %v", a.name, a.err)
	}
	c.lacks("new")
	c.holds(*stored)
	c.stands(epochs)
	if c.e.h.Has(driver.CapChanges) {
		err := c.Changes(c.e.Context(), driver.ChangesRequest{Seen: seen}, func(driver.ChangeBatch) error { return errStop })
		c.e.refused(err, driver.Lost)
	}
}

func lostBehind(e *env) {
	c, at := e.grown()
	for _, on := range []*conn{c, e.share(c)} {
		for _, ahead := range []uint64{1_000, 1 << 40} {
			on.isLost(moved(at, func(m *driver.Mark) { m.Sequence += ahead }), 2, false)
		}
	}
}

func moved(marks driver.Marks, move func(*driver.Mark)) driver.Marks {
	out := append(driver.Marks(nil), marks...)
	for i := range out {
		move(&out[i])
	}
	return out
}

func lostIncarnation(e *env) {
	c, at := e.grown()
	for _, on := range []*conn{c, e.share(c)} {
		on.isLost(moved(at, func(m *driver.Mark) { m.Incarnation++ }), 2, false)
		on.isLost(moved(at, func(m *driver.Mark) { m.Incarnation, m.Sequence = m.Incarnation^1<<63, 0 }), 2, false)
	}
}

func lostFirst(e *env) {
	c, at := e.grown()
	ahead := moved(at, func(m *driver.Mark) { m.Sequence += 1000 })
	c.isLost(ahead, 1, false) // an epoch that is fenced
	c.isLost(ahead, 2, true)  // a request that is invalid
	for _, a := range c.guarded(at, 1, true)[:3] {
		require.Equal(e, driver.Fenced, driver.ClassOf(a.err), "%s of an older epoch that is invalid as well: %v", a.name, a.err)
	}
	for _, a := range c.guarded(at, 2, true) {
		if a.name != "probe" {
			require.Contains(e, []driver.Class{driver.Invalid, driver.TooLarge}, driver.ClassOf(a.err), "%s that is invalid: %v", a.name, a.err)
		}
	}
}

func lostNot(e *env) {
	c, at := e.grown()
	partition := at[len(at)-1].Partition + 100
	at = at.With(driver.Marks{{Partition: partition, Incarnation: 5, Sequence: 1 << 50}})
	for _, a := range c.guarded(at, 2, false) {
		require.NoError(e, a.err, a.name)
	}
	require.NotNil(e, c.get("new"))
	c.epoch = 3
	for _, a := range c.guarded(moved(at, func(m *driver.Mark) { m.Sequence = 0 }), 3, false) {
		require.NoError(e, a.err, "%s of a caller that has seen less", a.name)
	}
}

func marksGrow(e *env) {
	c := e.open()
	grows := func(what string, before, after driver.Marks) {
		e.Helper()
		more := 0
		for _, m := range after {
			for _, b := range before {
				if b.Partition == m.Partition {
					require.Equal(e, b.Incarnation, m.Incarnation, "the incarnation stays")
					if m.Sequence > b.Sequence {
						more++
					}
				}
			}
		}
		require.Positive(e, more, "%s: the marks were %v and are %v", what, before, after)
	}
	c.start("first")
	at := c.allMarks()
	t := c.newStart("a")
	resp := c.send(t)
	require.NoError(e, resp.Verdicts[0].Err)
	grows("commit", at, resp.Marks)
	at = c.allMarks()
	claimed := c.claim(c.claimRequest(1, time.Hour))
	require.Len(e, claimed.Records, 1)
	grows("claim", at, claimed.Marks)
	at = c.allMarks()
	merged, err := c.Merge(e.Context(), driver.MergeRequest{Guard: c.guard(), Records: []driver.Record{c.complete("b")}})
	require.NoError(e, err)
	grows("merge", at, merged.Marks)
}

func marksBack(e *env) {
	conns := e.several(3)
	var seen driver.Marks
	for i := range 30 {
		for _, c := range conns {
			t := c.newStart("r-" + driver.NewToken().String())
			resp, err := c.Commit(e.Context(), driver.CommitRequest{Guard: driver.Guard{Seen: seen}, Transitions: []driver.Transition{t}})
			require.NoError(e, err, "commit %d with what was seen so far", i)
			require.NoError(e, resp.Marks.Check(seen), "the marks of the answer against those seen before")
			seen = seen.With(resp.Marks)
		}
		for _, c := range conns {
			for _, a := range c.guarded(seen, 0, true) { // invalid: without effect, but checked
				require.NotEqual(e, driver.Lost, driver.ClassOf(a.err), "%s with what was seen so far: %v", a.name, a.err)
			}
			got, err := c.Get(e.Context(), driver.GetRequest{Seen: seen, IDs: []string{"r"}})
			require.NoError(e, err)
			require.NoError(e, got.Marks.Check(seen), "the marks of the answer against those seen before")
		}
	}
}

func marksEverywhere(e *env) {
	c := e.open()
	began := c.now()
	c.start("due")
	for _, a := range c.receipts() {
		require.False(e, a.receipt.Time.IsZero(), "%s: the receipt has the store's time", a.name)
		require.Less(e, a.receipt.Time.Sub(began).Abs(), time.Hour, "%s: the receipt has the store's time", a.name)
		if a.name != "epoch" {
			require.NotEmpty(e, a.receipt.Marks, "%s: the receipt has the marks of what the call touched", a.name)
		}
		for i, m := range a.receipt.Marks {
			require.NotZero(e, m.Incarnation, "%s: the incarnation is a random number", a.name)
			require.True(e, i == 0 || a.receipt.Marks[i-1].Partition < m.Partition, "%s: marks are sorted by partition: %v", a.name, a.receipt.Marks)
		}
	}
}
