// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func aliasCases() []Case {
	const area = "Ownership"
	const kept = "A store keeps no slice or map of a request: the caller may change what it passed in as soon as the method returns."
	const given = "A store gives none of its own slices or maps away: the caller may change what it got back, at any time."
	return []Case{
		{Area: area, Name: "OfCommittedRecords", Sentence: kept, run: aliasCommit},
		{Area: area, Name: "OfMergedRecords", Sentence: kept, run: aliasMerge},
		{Area: area, Name: "OfAnAdvance", Sentence: kept, run: aliasAdvance},
		{Area: area, Name: "OfRecordsRead", Sentence: given, run: aliasRead},
		{Area: area, Name: "OfRecordsInErrors", Sentence: given, run: aliasErrors},
		{Area: area, Name: "OfRecordsInAFeed", Sentence: given, run: aliasFeed, Needs: []driver.Capability{driver.CapChanges}},
		{Area: area, Name: "OfMarksAndFacts", Sentence: given, run: aliasFacts},
	}
}

// scribble overwrites all that r refers to.
func scribble(r *driver.Record) {
	for _, b := range [][]byte{r.State, r.Input, r.Output} {
		for i := range b {
			b[i] = '#'
		}
		_ = append(b, "##"...) // also behind its end
	}
	for k := range r.Labels {
		r.Labels[k] = "#"
	}
	if r.Labels != nil {
		r.Labels["#"] = "#"
	}
}

func aliasCommit(e *env) {
	c := e.open()
	r := c.complete("a")
	first := c.startOf(driver.Workflow{ID: "a", Kind: kind, Input: r.Input, Labels: r.Labels})
	r.Revision, r.Created = 2, first.Created
	t := driver.Transition{Base: first.Token, Record: r.Clone()}
	ts := []driver.Transition{t}
	_, err := c.Commit(e.Context(), driver.CommitRequest{Guard: c.guard(), Transitions: ts})
	require.NoError(e, err)
	scribble(&t.Record)
	ts[0] = driver.Transition{}
	c.everywhere(r)
}

func aliasMerge(e *env) {
	c := e.open()
	r := c.complete("a")
	passed := []driver.Record{r.Clone()}
	c.merge(passed...)
	scribble(&passed[0])
	passed[0].ID = "b"
	c.everywhere(r)
	c.lacks("b")
}

func aliasAdvance(e *env) {
	c := e.open()
	next := driver.Epoch{Number: 1, Token: driver.NewToken(), Active: "a", InSync: []string{"b", "c"},
		Incarnations: []driver.LinkIncarnation{{Link: "a", Incarnation: 1}}}
	passed := next.Clone()
	resp, err := c.Advance(e.Context(), driver.AdvanceRequest{Next: passed})
	require.NoError(e, err)
	passed.InSync[0], passed.Incarnations[0].Link = "x", "x"
	c.stands(next)
	resp.Epoch.InSync[0], resp.Epoch.Incarnations[0].Link = "y", "y"
	c.stands(next)
	now := c.epochNow()
	now.InSync[0], now.Incarnations[0].Link = "z", "z"
	c.stands(next)

	err = c.tryAdvance(driver.EpochVersion{}, driver.Epoch{Number: 2, Token: driver.NewToken(), Active: "a"})
	e.refused(err, driver.Conflict)
	carried := e.carried(err).Epoch
	carried.InSync[0], carried.Incarnations[0].Link = "w", "w"
	c.stands(next)
}

func aliasRead(e *env) {
	c := e.open()
	r := c.complete("a")
	c.merge(r)
	scribble(c.get("a"))
	c.everywhere(r)
	scribble(&c.list(driver.ListRequest{Limit: 1})[0])
	c.everywhere(r)

	due := c.complete("b")
	due.Due = due.Updated.Add(-time.Second)
	c.merge(due)
	req := c.claimRequest(1, time.Hour)
	got := c.claim(req).Records
	require.Len(e, got, 1)
	want := got[0].Clone()
	scribble(&got[0])
	c.everywhere(want)
	again := c.claim(req).Records
	require.Len(e, again, 1)
	e.same(&want, &again[0])
}

func aliasErrors(e *env) {
	c := e.open()
	r := c.complete("a")
	c.merge(r)
	scribble(e.carried(c.verdict(c.newStart("a")).Err).Stored)
	c.everywhere(r)
	t := c.must(driver.Cancel(c.stamp(), r, "no", time.Time{}))
	t.Base = driver.NewToken()
	scribble(e.carried(c.verdict(t).Err).Stored)
	c.everywhere(r)
}

func aliasFeed(e *env) {
	c := e.open()
	cursor := c.present()
	r := c.complete("a")
	c.merge(r)
	f := c.follow(driver.ChangesRequest{Cursor: cursor, Records: true})
	f.awaitAll([]driver.Record{r})
	scribble(f.changes()[0].Record)
	c.everywhere(r)
	again := c.follow(driver.ChangesRequest{Cursor: cursor, Records: true})
	again.awaitAll([]driver.Record{r})
	e.same(&r, again.changes()[0].Record)
}

func aliasFacts(e *env) {
	c := e.open()
	c.start("a")
	marks := c.allMarks()
	want := append(driver.Marks(nil), marks...)
	for i := range marks {
		marks[i] = driver.Mark{}
	}
	require.Equal(e, want, c.allMarks())

	first, err := c.Describe(e.Context(), driver.DescribeRequest{})
	require.NoError(e, err)
	declared := append([]driver.Capability(nil), first.Capabilities...)
	for i := range first.Capabilities {
		first.Capabilities[i] = "#"
	}
	for k := range first.Details {
		first.Details[k] = "#"
	}
	second, err := c.Describe(e.Context(), driver.DescribeRequest{})
	require.NoError(e, err)
	require.Equal(e, declared, append([]driver.Capability(nil), second.Capabilities...))
	for k, v := range second.Details {
		require.NotEqual(e, "#", v, "detail %q", k)
	}
}
