// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func claimOrderCases() []Case {
	const area = "ClaimOrder"
	const sentence = "Claim leases claimable records, those due first, first (within each partition)."
	return []Case{
		{Area: area, Name: "InOneAnswer", Sentence: sentence, run: orderInAnswer},
		{Area: area, Name: "OverManyClaims", Sentence: sentence, run: orderOverClaims},
		{Area: area, Name: "OverSeveralKinds", Sentence: sentence, run: orderOverKinds},
		{Area: area, Name: "OfMilliseconds", Sentence: sentence, run: orderMillis},
		{Area: area, Name: "CountsExpiredLeases", Sentence: sentence, run: orderExpired},
		{Area: area, Name: "TellsTheNextDueTime", run: orderNext,
			Sentence: "Next is the earliest due time among the other records of the kinds, a past one included. Zero: there are none."},
	}
}

// queue is a set of workflows that are due at different times, with the
// partition each is in.
type queue struct {
	due       map[string]time.Time
	partition map[string]uint32
}

// enqueue starts n workflows of the kinds in turn, due in steps up to now but
// started in another order.
func enqueue(c *conn, n int, step time.Duration, kinds ...string) queue {
	c.e.Helper()
	q := queue{map[string]time.Time{}, map[string]uint32{}}
	now := driver.Millis(c.now())
	for i := range n {
		at := i * 7 % n // n is no multiple of 7
		id := fmt.Sprintf("r%02d", i)
		q.due[id] = now.Add(-time.Duration(at+1) * step)
		t := c.newStartOf(driver.Workflow{ID: id, Kind: kinds[i%len(kinds)], Due: q.due[id]})
		resp := c.send(t)
		require.NoError(c.e, resp.Verdicts[0].Err)
		q.partition[id] = c.partition(resp)
	}
	return q
}

// inOrder checks that the due times never go back within a partition.
func (q queue) inOrder(e *env, got []string) {
	e.Helper()
	last := map[uint32]string{}
	for _, id := range got {
		p := q.partition[id]
		if before, ok := last[p]; ok {
			require.False(e, q.due[id].Before(q.due[before]), "%q, due %s, was given before %q, due %s", before, q.due[before], id, q.due[id])
		}
		last[p] = id
	}
	require.Len(e, got, len(q.due), "all are given")
}

func orderInAnswer(e *env) {
	c := e.open()
	q := enqueue(c, 20, time.Second, kind)
	q.inOrder(e, ids(c.claim(c.claimRequest(20, time.Hour)).Records))
}

func orderOverClaims(e *env) {
	c := e.open()
	q := enqueue(c, 12, time.Second, kind)
	var got []string
	for limit := 1; len(got) < len(q.due); limit++ {
		more := c.claim(c.claimRequest(limit, time.Hour)).Records
		require.NotEmpty(e, more, "%d of %d are given", len(got), len(q.due))
		got = append(got, ids(more)...)
	}
	q.inOrder(e, got)
}

func orderOverKinds(e *env) {
	c := e.open()
	q := enqueue(c, 12, time.Second, "red", "green", "blue")
	var got []string
	for len(got) < len(q.due) {
		more := c.claim(c.claimRequest(2, time.Hour, "blue", "green", "red")).Records
		require.NotEmpty(e, more, "%d of %d are given", len(got), len(q.due))
		got = append(got, ids(more)...)
	}
	q.inOrder(e, got)
}

func orderMillis(e *env) {
	c := e.open()
	q := enqueue(c, 15, time.Millisecond, kind)
	q.inOrder(e, ids(c.claim(c.claimRequest(20, time.Hour)).Records))
}

func orderExpired(e *env) {
	c := e.open()
	first := c.leasedFor("expired", e.span)
	e.passes(c, first.Due.Add(time.Millisecond))
	resp := c.send(c.newStart("fresh"))
	require.NoError(e, resp.Verdicts[0].Err)
	got := ids(c.claim(c.claimRequest(2, time.Hour)).Records)
	require.ElementsMatch(e, []string{"expired", "fresh"}, got)
	if len(resp.Marks) == 1 && len(c.allMarks()) == 1 {
		require.Equal(e, []string{"expired", "fresh"}, got, "the lease ended before the other was due")
	}
}

// allMarks returns the marks of the partitions that a whole listing touches: all.
func (c *conn) allMarks() driver.Marks {
	c.e.Helper()
	var marks driver.Marks
	req := driver.ListRequest{Limit: driver.MaxBatch}
	for {
		resp, err := c.List(c.e.Context(), req)
		require.NoError(c.e, err)
		marks = marks.With(resp.Marks)
		if req.Cursor = resp.Next; req.Cursor == "" {
			return marks
		}
	}
}

func orderNext(e *env) {
	c := e.open()
	next := func(want time.Time, limit int, kinds ...string) []driver.Record {
		e.Helper()
		resp := c.claim(c.claimRequest(limit, time.Hour, kinds...))
		require.True(e, want.Equal(resp.Next), "next is %s, want %s", resp.Next, want)
		return resp.Records
	}
	now := driver.Millis(c.now())
	c.startOf(driver.Workflow{ID: "soon", Kind: "red", Due: now.Add(10 * time.Minute)})
	c.startOf(driver.Workflow{ID: "later", Kind: "red", Due: now.Add(20 * time.Minute)})
	c.startOf(driver.Workflow{ID: "green", Kind: "green", Due: now.Add(5 * time.Minute)})
	next(now.Add(10*time.Minute), 5, "red")
	next(now.Add(5*time.Minute), 5, "red", "green")
	next(time.Time{}, 5, "blue")

	c.startOf(driver.Workflow{ID: "past1", Kind: "red", Due: now.Add(-2 * time.Minute)})
	past := now.Add(-time.Minute)
	c.startOf(driver.Workflow{ID: "past2", Kind: "red", Due: past})
	require.Len(e, next(past, 1, "red"), 1)
	require.Len(e, next(now.Add(10*time.Minute), 5, "red"), 1)

	r := c.leasedFor("short", 3*time.Minute)
	require.Empty(e, next(r.Due, 5, kind), "the end of a lease is a due time")
	c.apply(c.must(driver.Wait(c.stamp(r), r, "parked", nil, time.Time{})))
	require.Empty(e, next(time.Time{}, 5, kind), "a record that is never claimable has none")
}
