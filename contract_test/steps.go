// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func stepCases() []Case {
	const save, yield, wait = "Save", "Yield", "Wait"
	return []Case{
		{Area: save, Name: "KeepsStepAndState", run: saveKeeps,
			Sentence: "Save records a save point and moves the end of the lease."},
		{Area: save, Name: "IsWhereTheNextHolderGoesOn", run: saveTakenOver,
			Sentence: "Step: name of the last save point; State: its data, from which any other worker goes on."},
		{Area: yield, Name: "HandsOverAtOnce", run: yieldNow,
			Sentence: "Yield records a save point and hands the workflow to whoever claims it from due on."},
		{Area: yield, Name: "HandsOverFromDueOn", run: yieldLater,
			Sentence: "Yield records a save point and hands the workflow to whoever claims it from due on."},
		{Area: wait, Name: "ParksUntilRequeued", run: waitRequeued,
			Sentence: "Wait parks the workflow until it is requeued, or until due if that is not zero."},
		{Area: wait, Name: "ComesBackWhenDue", run: waitDue,
			Sentence: "Waiting: parked; claimable from Due on if that is set."},
	}
}

func saveKeeps(e *env) {
	c := e.open()
	r := c.leased("a")
	for i := range 5 {
		on := e.share(c)
		r = on.apply(c.must(driver.Save(c.stamp(r), r, fmt.Sprint("step ", i), []byte{byte(i), 0, 0xff}, c.now().Add(time.Hour))))
		c.holds(r)
		on.holds(r)
	}
	require.Equal(e, uint64(7), c.get("a").Revision)
}

func saveTakenOver(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Save(c.stamp(r), r, "archived", []byte("path"), c.now().Add(e.span))))
	c.nobodyGets(r.Due)
	e.passes(c, r.Due)
	next := e.share(c).claimOne(time.Hour)
	require.Equal(e, "archived", next.Step)
	require.Equal(e, []byte("path"), next.State)
	require.Equal(e, r.Input, next.Input)
	require.Equal(e, uint32(2), next.Attempt)
}

func yieldNow(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Yield(c.stamp(r), r, "queued", []byte("state"), c.now())))
	c.holds(r)
	next := e.share(c).claimOne(time.Hour)
	require.Equal(e, r.ID, next.ID)
	require.Equal(e, "queued", next.Step)
	require.Equal(e, []byte("state"), next.State)
	require.Equal(e, uint32(1), next.Attempt)
}

func yieldLater(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Yield(c.stamp(r), r, "queued", nil, c.now().Add(e.span))))
	c.nobodyGets(r.Due)
	e.passes(c, r.Due)
	require.Equal(e, "a", c.claimOne(time.Hour).ID)
}

func waitRequeued(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Wait(c.stamp(r), r, "callback", []byte("state"), time.Time{})))
	c.holds(r)
	e.passes(c, c.now().Add(e.span))
	require.Empty(e, c.claim(c.claimRequest(1, time.Hour)).Records, "nobody has requeued it")
	r = c.apply(c.must(driver.Requeue(c.stamp(), r, c.now())))
	c.holds(r)
	next := c.claimOne(time.Hour)
	require.Equal(e, "callback", next.Step)
	require.Equal(e, []byte("state"), next.State)
}

func waitDue(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Wait(c.stamp(r), r, "callback", nil, c.now().Add(e.span))))
	c.nobodyGets(r.Due)
	e.passes(c, r.Due)
	require.Equal(e, "a", c.claimOne(time.Hour).ID)
}
