// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func repeatCases() []Case {
	const area = "Repeat"
	const sentence = "A repeat of the transition that made the stored revision, recognised by revision and token, is a success that changes nothing."
	return []Case{
		{Area: area, Name: "OfAStart", Sentence: sentence, run: repeatStart},
		{Area: area, Name: "OfALaterTransition", Sentence: sentence, run: repeatLater},
		{Area: area, Name: "WithinABatch", Sentence: sentence, run: repeatInBatch},
		{Area: area, Name: "ManyAtOnce", Sentence: sentence, run: repeatAtOnce},
		{Area: area, Name: "IsAConflictOnceOvertaken", run: repeatOvertaken,
			Sentence: "Verdicts: Conflict with the stored record when the base is another: a repeat of a transition that another has followed is one."},
		{Area: area, Name: "GoesByTheTokenOfTheRevision", run: repeatOtherRevision,
			Sentence: "A repeat is recognised by revision and token: the token alone makes none."},
	}
}

// repeated checks that t is taken for a repeat and that the store holds stored.
func (c *conn) repeated(t driver.Transition, stored driver.Record) {
	c.e.Helper()
	v := c.verdict(t)
	require.NoError(c.e, v.Err, "a repeat is a success")
	require.False(c.e, v.Applied, "a repeat changes nothing and says so")
	c.holds(stored)
}

func repeatStart(e *env) {
	c := e.open()
	t := c.newStart("a")
	c.apply(t)
	for range 3 {
		c.repeated(t, t.Record)
	}
	e.share(c).repeated(t, t.Record)
}

func repeatLater(e *env) {
	c := e.open()
	other := e.share(c)
	r := c.leased("a")
	for _, t := range []func() driver.Transition{
		func() driver.Transition { return c.must(driver.Save(c.stamp(r), r, "one", []byte("1"), r.Due)) },
		func() driver.Transition { return c.must(driver.Extend(c.stamp(r), r, r.Due.Add(time.Hour))) },
		func() driver.Transition { return c.must(driver.Fail(c.stamp(r), r, driver.Failure{Reason: "no"})) },
		func() driver.Transition { return c.must(driver.Requeue(c.stamp(), r, r.Updated)) },
	} {
		made := t()
		r = c.apply(made)
		other.repeated(made, r)
		c.repeated(made, r)
	}
}

func repeatInBatch(e *env) {
	c := e.open()
	t := c.newStart("a")
	verdicts := c.send(t, t, t).Verdicts
	for i, v := range verdicts {
		require.NoError(e, v.Err)
		require.Equal(e, i == 0, v.Applied, "transition %d of three equal ones", i)
	}
	c.holds(t.Record)
}

func repeatAtOnce(e *env) {
	conns := e.several(3)
	t := conns[0].newStart("a")
	var applied atomic.Int64
	e.all(contenders, func(i int) error {
		c := conns[i%len(conns)]
		resp, err := c.Commit(e.Context(), driver.CommitRequest{Guard: c.guard(), Transitions: []driver.Transition{t}})
		if err != nil {
			return err
		}
		if resp.Verdicts[0].Applied {
			applied.Add(1)
		}
		return resp.Verdicts[0].Err
	})
	require.Equal(e, int64(1), applied.Load(), "one of the equal transitions is applied")
	conns[0].holds(t.Record)
}

func repeatOvertaken(e *env) {
	c := e.open()
	r := c.start("a")
	first := c.must(driver.Cancel(c.stamp(), r, "first", time.Time{}))
	r = c.apply(first)
	r = c.apply(c.must(driver.Requeue(c.stamp(), r, c.now())))
	c.conflict(first, r)
}

func repeatOtherRevision(e *env) {
	c := e.open()
	r := c.start("a")
	t := c.must(driver.Cancel(c.stamp(), r, "same token", time.Time{}))
	t.Base, t.Record.Token, t.Record.Revision = driver.NewToken(), r.Token, r.Revision+1
	v := c.verdict(t)
	if v.Err == nil {
		e.refused(errors.New("taken for a repeat"), driver.Conflict)
	}
	e.refused(v.Err, driver.Conflict)
	c.holds(r)
}
