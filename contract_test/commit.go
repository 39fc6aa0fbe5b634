// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func commitCases() []Case {
	const area = "Commit"
	return []Case{
		{Area: area, Name: "MovesARecordOn", run: commitMovesOn,
			Sentence: "Commit applies each transition whose base the store holds; each is applied before Commit returns."},
		{Area: area, Name: "RefusesAnotherBase", run: commitOtherBase,
			Sentence: "Verdicts: Conflict with the stored record when the base is another."},
		{Area: area, Name: "RefusesAnotherRevision", run: commitOtherRevision,
			Sentence: "A store applies a transition if it holds the record's id at exactly one revision less."},
		{Area: area, Name: "RefusesATakenID", run: commitTaken,
			Sentence: "Verdicts: Exists with the stored record for a first revision when the id is taken."},
		{Area: area, Name: "RefusesAnUnknownID", run: commitUnknown,
			Sentence: "Verdicts: NotFound for a later revision when the id is unknown."},
		{Area: area, Name: "RefusesToGoBackInEpoch", run: commitOlderEpoch,
			Sentence: "A record of a newer epoch, which a merge may have brought, is a Conflict too: revisions of one record never go back in epoch."},
		{Area: area, Name: "RefusesRecordsOfAnotherEpoch", run: commitForeignEpoch,
			Sentence: "Verdicts: Invalid for a transition whose record is not of the request's epoch."},
		{Area: area, Name: "HasOneWinnerPerBase", run: commitOneWinner,
			Sentence: "Of all transitions that name the same base at most one ever succeeds, on however many connections they are sent."},
		{Area: area, Name: "HasOneWinnerPerID", run: commitOneStart,
			Sentence: "Of all transitions that name the same base at most one ever succeeds: also of those that create a record."},
		{Area: area, Name: "AnswersAConflictAtOnce", run: commitConflictAtOnce,
			Sentence: "Report, never decide: no retry, no back-off, no time limit of its own."},
	}
}

func commitMovesOn(e *env) {
	c := e.open()
	other := e.share(c)
	r := c.leased("a")
	other.holds(r)
	r = c.apply(c.must(driver.Save(c.stamp(r), r, "archived", []byte("state"), r.Due)))
	other.holds(r)
	r = other.apply(c.must(driver.Succeed(c.stamp(r), r, []byte("output"), time.Time{})))
	c.holds(r)
	require.Equal(e, driver.Succeeded, r.Status)
}

func commitOtherBase(e *env) {
	c := e.open()
	r := c.start("a")
	t := c.must(driver.Cancel(c.stamp(), r, "not needed", time.Time{}))
	t.Base = driver.NewToken()
	c.conflict(t, r)
}

// conflict checks that the store refuses t since it holds stored, and that it
// still does.
func (c *conn) conflict(t driver.Transition, stored driver.Record) {
	c.e.Helper()
	v := c.verdict(t)
	c.e.refused(v.Err, driver.Conflict)
	require.False(c.e, v.Applied, "a conflict changes nothing")
	c.e.same(&stored, c.e.carried(v.Err).Stored)
	c.holds(stored)
}

func commitOtherRevision(e *env) {
	c := e.open()
	r := c.leased("a")
	for _, revision := range []uint64{r.Revision - 1, r.Revision, r.Revision + 2, r.Revision + 100} {
		t := c.must(driver.Cancel(c.stamp(), r, "not needed", time.Time{}))
		if t.Record.Revision = revision; revision == 1 {
			continue // that is a start, and refused as one
		}
		c.conflict(t, r)
	}
}

func commitTaken(e *env) {
	c := e.open()
	r := c.start("a")
	v := c.verdict(c.newStart("a"))
	e.refused(v.Err, driver.Exists)
	require.False(e, v.Applied)
	e.same(&r, e.carried(v.Err).Stored)
	c.holds(r)

	moved := c.apply(c.must(driver.Cancel(c.stamp(), r, "not needed", time.Time{})))
	v = c.verdict(c.newStart("a"))
	e.refused(v.Err, driver.Exists)
	e.same(&moved, e.carried(v.Err).Stored)
}

func commitUnknown(e *env) {
	c := e.open()
	started := c.newStart("a")
	v := c.verdict(c.must(driver.Cancel(c.stamp(), started.Record, "not needed", time.Time{})))
	e.refused(v.Err, driver.NotFound)
	require.False(e, v.Applied)
	c.lacks("a")
}

func commitOlderEpoch(e *env) {
	c := e.open()
	c.advance(3, driver.Serving)
	r := c.start("a")
	newer := r.Clone()
	newer.Epoch, newer.Token = 9, driver.NewToken()
	resp, err := c.Merge(e.Context(), driver.MergeRequest{Guard: driver.Guard{Epoch: 9}, Records: []driver.Record{newer}})
	require.NoError(e, err)
	require.NoError(e, resp.Verdicts[0].Err)
	c.conflict(c.must(driver.Cancel(c.stamp(), newer, "not needed", time.Time{})), newer)
}

func commitForeignEpoch(e *env) {
	c := e.open()
	c.advance(3, driver.Serving)
	for _, epoch := range []uint64{0, 2, 4} {
		t := c.newStart(fmt.Sprintf("of-%d", epoch))
		t.Record.Epoch = epoch
		v := c.verdict(t)
		e.refused(v.Err, driver.Invalid, "epoch")
		require.False(e, v.Applied)
		c.lacks(t.Record.ID)
	}
}

const contenders = 12

func commitOneWinner(e *env) {
	conns := e.several(3)
	c := conns[0]
	r := c.start("a")
	for range 8 {
		attempts := make([]driver.Transition, contenders)
		for i := range attempts {
			if r.Status == driver.Cancelled {
				attempts[i] = c.must(driver.Requeue(c.stamp(), r, c.now()))
			} else {
				attempts[i] = c.must(driver.Cancel(c.stamp(), r, fmt.Sprint("attempt ", i), time.Time{}))
			}
		}
		r = oneWins(e, conns, attempts, driver.Conflict)
	}
}

func commitOneStart(e *env) {
	conns := e.several(3)
	for round := range 8 {
		attempts := make([]driver.Transition, contenders)
		for i := range attempts {
			attempts[i] = conns[0].newStart(fmt.Sprint("round-", round))
		}
		oneWins(e, conns, attempts, driver.Exists)
	}
}

// oneWins commits all attempts at once and checks that one is applied, that the
// others are refused, and that all connections see the winner, which it returns.
func oneWins(e *env, conns []*conn, attempts []driver.Transition, refusal driver.Class) driver.Record {
	e.Helper()
	var winner atomic.Int64
	winner.Store(-1)
	e.all(len(attempts), func(i int) error {
		c := conns[i%len(conns)]
		resp, err := c.Commit(e.Context(), driver.CommitRequest{Guard: c.guard(), Transitions: attempts[i : i+1]})
		if err != nil {
			return err
		}
		switch v := resp.Verdicts[0]; {
		case v.Err == nil && !v.Applied:
			return fmt.Errorf("a transition that was sent once is taken for a repeat")
		case v.Err != nil && driver.ClassOf(v.Err) != refusal:
			return fmt.Errorf("verdict, want %q: %w", refusal.String(), v.Err)
		case v.Err == nil && !winner.CompareAndSwap(-1, int64(i)):
			return fmt.Errorf("both attempt %d and attempt %d succeeded", winner.Load(), i)
		}
		return nil
	})
	require.NotEqual(e, int64(-1), winner.Load(), "one attempt succeeds")
	won := attempts[winner.Load()].Record
	for _, c := range conns {
		c.holds(won)
	}
	return won
}

func commitConflictAtOnce(e *env) {
	c := e.open()
	r := c.start("a")
	lost := c.must(driver.Cancel(c.stamp(), r, "too late", time.Time{}))
	c.apply(c.must(driver.Cancel(c.stamp(), r, "first", time.Time{})))
	ctx, cancel := e.brief(e.h.timeout() / 4)
	defer cancel()
	resp, err := c.Commit(ctx, driver.CommitRequest{Guard: c.guard(), Transitions: []driver.Transition{lost}})
	require.NoError(e, ctx.Err(), "a conflict is reported, not waited for")
	require.NoError(e, err)
	e.refused(resp.Verdicts[0].Err, driver.Conflict)
}
