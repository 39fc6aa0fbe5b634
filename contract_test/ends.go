// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func endCases() []Case {
	const succeed, fail, cancel = "Succeed", "Fail", "Cancel"
	return []Case{
		{Area: succeed, Name: "EndsTheWorkflow", run: succeedEnds,
			Sentence: "Succeed ends the workflow well: nothing claims such a record any more."},
		{Area: fail, Name: "RetriesFromItsTime", run: failRetries,
			Sentence: "Fail ends an attempt: back to Ready from Retry on. The save point stays."},
		{Area: fail, Name: "EndsInTheDeadLetter", run: failDead,
			Sentence: "Fail: or to Failed, the dead letter, if the failure is permanent."},
		{Area: fail, Name: "GivesUpWhenExhausted", run: failExhausted,
			Sentence: "Fail: or to Failed, the dead letter, if the attempts are exhausted."},
		{Area: fail, Name: "RequeueBringsItBack", run: failRequeued,
			Sentence: "Requeue brings a failed, cancelled or waiting workflow back, from its last save point, with a fresh count of attempts; it is claimable from due on."},
		{Area: cancel, Name: "EndsWhatIsOpen", run: cancelEnds,
			Sentence: "Cancel ends the workflow by request: a ready, leased or waiting one."},
		{Area: cancel, Name: "TakesTheLeaseAway", run: cancelHolder,
			Sentence: "Cancel: its holder, if any, has then lost the lease."},
		{Area: cancel, Name: "RequeueBringsItBack", run: cancelRequeued,
			Sentence: "Requeue brings a failed, cancelled or waiting workflow back."},
	}
}

// ended checks that r is stored and that nobody can claim it, now or later.
func (c *conn) ended(r driver.Record) {
	c.e.Helper()
	c.holds(r)
	c.e.passes(c, c.now().Add(c.e.span))
	require.Empty(c.e, c.claim(c.claimRequest(10, time.Hour)).Records, "%q is %s", r.ID, r.Status)
	c.e.share(c).holds(r)
}

func succeedEnds(e *env) {
	c := e.open()
	r := c.leasedFor("a", 24*time.Hour)
	c.ended(c.apply(c.must(driver.Succeed(c.stamp(r), r, []byte("output"), time.Time{}))))
}

func failRetries(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Save(c.stamp(r), r, "step", []byte("state"), r.Due)))
	r = c.apply(c.must(driver.Fail(c.stamp(r), r, driver.Failure{Reason: "disk full", Retry: c.now().Add(e.span)})))
	require.Equal(e, driver.Ready, r.Status)
	c.holds(r)
	c.nobodyGets(r.Due)
	e.passes(c, r.Due)
	next := c.claimOne(time.Hour)
	require.Equal(e, "step", next.Step)
	require.Equal(e, []byte("state"), next.State)
	require.Equal(e, "disk full", next.Failure)
	require.Equal(e, uint32(2), next.Attempt)
}

func failDead(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Save(c.stamp(r), r, "step", []byte("state"), r.Due)))
	r = c.apply(c.must(driver.Fail(c.stamp(r), r, driver.Failure{Reason: "damaged"})))
	require.Equal(e, driver.Failed, r.Status)
	c.ended(r)
	require.Equal(e, []string{"a"}, ids(c.list(driver.ListRequest{Statuses: []driver.Status{driver.Failed}, Limit: 10})))
}

func failExhausted(e *env) {
	c := e.open()
	c.start("a")
	for attempt := uint32(1); attempt <= 3; attempt++ {
		r := c.claimOne(time.Hour)
		require.Equal(e, attempt, r.Attempt)
		r = c.apply(c.must(driver.Fail(c.stamp(r), r, driver.Failure{Reason: "again", Retry: c.now(), MaxAttempts: 3})))
		if attempt == 3 {
			require.Equal(e, driver.Failed, r.Status)
			c.ended(r)
		}
	}
}

func failRequeued(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Save(c.stamp(r), r, "step", []byte("state"), r.Due)))
	r = c.apply(c.must(driver.Fail(c.stamp(r), r, driver.Failure{Reason: "damaged", Expires: c.now().Add(time.Hour)})))
	r = c.apply(c.must(driver.Requeue(c.stamp(), r, c.now().Add(e.span))))
	c.holds(r)
	c.nobodyGets(r.Due)
	e.passes(c, r.Due)
	next := e.share(c).claimOne(time.Hour)
	require.Equal(e, "step", next.Step)
	require.Equal(e, []byte("state"), next.State)
	require.Equal(e, uint32(1), next.Attempt)
	require.True(e, next.Expires.IsZero(), "an open workflow does not expire")
}

func cancelEnds(e *env) {
	c := e.open()
	ready, leased := c.newStart("ready"), c.leased("leased")
	c.apply(ready)
	waiting := c.claimOne(time.Hour)
	require.Equal(e, "ready", waiting.ID)
	waiting = c.apply(c.must(driver.Wait(c.stamp(waiting), waiting, "parked", nil, c.now().Add(time.Hour))))
	ahead := c.startOf(driver.Workflow{ID: "ahead", Kind: kind, Due: c.now().Add(e.span)})
	for _, r := range []driver.Record{leased, waiting, ahead} {
		r = c.apply(c.must(driver.Cancel(c.stamp(), r, "not needed", time.Time{})))
		require.Equal(e, driver.Cancelled, r.Status)
		c.holds(r)
	}
	c.ended(*c.get("ahead"))
}

func cancelHolder(e *env) {
	c := e.open()
	r := c.leased("a")
	late := c.must(driver.Save(c.stamp(r), r, "late", nil, r.Due))
	cancelled := e.share(c).apply(c.must(driver.Cancel(c.stamp(), r, "not needed", time.Time{})))
	c.conflict(late, cancelled)
}

func cancelRequeued(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Save(c.stamp(r), r, "step", []byte("state"), r.Due)))
	r = c.apply(c.must(driver.Cancel(c.stamp(), r, "not needed", time.Time{})))
	r = c.apply(c.must(driver.Requeue(c.stamp(), r, c.now())))
	c.holds(r)
	require.Equal(e, "step", c.claimOne(time.Hour).Step)
}
