// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func leaseCases() []Case {
	const lease, extend = "Lease", "Extend"
	return []Case{
		{Area: lease, Name: "EndsAtItsTime", run: leaseEnds,
			Sentence: "Leased: Due is the end of the lease, from when on anybody may claim it."},
		{Area: lease, Name: "IsHeldUntilThen", run: leaseHeld,
			Sentence: "Lease is the right of one worker to advance a workflow until its record's Due."},
		{Area: lease, Name: "OfTheFormerHolderIsWorthless", run: leaseFormer,
			Sentence: "One holder per lease: a transition from the revision before the new claim is a Conflict with the stored record."},
		{Area: lease, Name: "CountsItsClaims", run: leaseAttempts,
			Sentence: "Attempt: claims since the last save point or yield."},
		{Area: lease, Name: "MayBeReclaimedByItsOwner", run: leaseSameOwner,
			Sentence: "Token names the claim that gave the lease; the holder proves itself by it, not by its name."},
		{Area: lease, Name: "GoesBackUncounted", run: leaseRelease,
			Sentence: "Release gives the lease back without counting the attempt; the workflow is claimable from due on."},
		{Area: extend, Name: "MovesTheEnd", run: extendMoves,
			Sentence: "Extend moves the end of the lease: the heartbeat."},
		{Area: extend, Name: "MayShorten", run: extendShortens,
			Sentence: "Leased: Due is the end of the lease, from when on anybody may claim it: also where an extension has brought it nearer."},
	}
}

// leasedFor starts a workflow and claims it for the given time.
func (c *conn) leasedFor(id string, lease time.Duration) driver.Record {
	c.e.Helper()
	c.start(id)
	return c.claimOne(lease)
}

// nobodyGets checks that nothing is claimable before the time until.
func (c *conn) nobodyGets(until time.Time) {
	c.e.Helper()
	resp := c.claim(c.claimRequest(10, time.Hour))
	for _, r := range resp.Records {
		require.False(c.e, r.Updated.Before(until), "%q was claimed at %s, before %s", r.ID, r.Updated, until)
		c.e.tooLate()
	}
}

func leaseEnds(e *env) {
	c := e.open()
	other := e.share(c)
	r := c.leasedFor("a", e.span)
	other.nobodyGets(r.Due)
	e.passes(c, r.Due)
	again := other.claimOne(time.Hour)
	require.Equal(e, r.Revision+1, again.Revision)
	require.NotEqual(e, r.Lease.Token, again.Lease.Token)
	require.False(e, again.Updated.Before(r.Due), "claimed at %s, the lease ended at %s", again.Updated, r.Due)
	c.holds(again)
}

func leaseHeld(e *env) {
	c := e.open()
	r := c.leasedFor("a", time.Hour)
	e.passes(c, c.now().Add(e.span))
	for _, on := range []*conn{c, e.share(c)} {
		on.nobodyGets(r.Due)
		on.holds(r)
	}
}

func leaseFormer(e *env) {
	c := e.open()
	r := c.leasedFor("a", e.span)
	s := driver.Stamp{Epoch: c.epoch, Token: driver.NewToken(), Now: r.Updated, Lease: r.Lease.Token}
	late := []driver.Transition{
		c.must(driver.Save(s, r, "late", []byte("late"), r.Due.Add(time.Hour))),
		c.must(driver.Extend(s, r, r.Due.Add(time.Hour))),
		c.must(driver.Succeed(s, r, []byte("late"), time.Time{})),
		c.must(driver.Fail(s, r, driver.Failure{Reason: "late"})),
		c.must(driver.Yield(s, r, "late", nil, r.Due)),
		c.must(driver.Release(s, r, r.Due)),
	}
	e.passes(c, r.Due)
	again := e.share(c).claimOne(time.Hour)
	for _, t := range late {
		t.Record.Token = driver.NewToken()
		c.conflict(t, again)
	}
}

func leaseAttempts(e *env) {
	c := e.open()
	r := c.leasedFor("a", e.span/5)
	for attempt := uint32(1); attempt <= 3; attempt++ {
		require.Equal(e, attempt, r.Attempt)
		e.passes(c, r.Due)
		r = c.claimOne(e.span / 5)
	}
	e.passes(c, r.Due)
	r = c.claimOne(time.Hour)
	r = c.apply(c.must(driver.Save(c.stamp(r), r, "step", nil, r.Due)))
	require.Equal(e, uint32(1), c.get("a").Attempt)
	c.holds(r)
}

func leaseSameOwner(e *env) {
	c := e.open()
	c.start("a")
	first := c.claimRequest(1, e.span)
	r := c.claim(first).Records[0]
	c.nobodyGets(r.Due)
	e.passes(c, r.Due)
	second := c.claimRequest(1, time.Hour)
	got := c.claim(second).Records
	require.Len(e, got, 1)
	require.Equal(e, first.Owner, second.Owner)
	require.Equal(e, second.Token, got[0].Lease.Token)
	require.Equal(e, second.Token, got[0].Token)
}

func leaseRelease(e *env) {
	c := e.open()
	r := c.leased("a")
	released := c.apply(c.must(driver.Release(c.stamp(r), r, c.now())))
	c.holds(released)
	again := e.share(c).claimOne(time.Hour)
	require.Equal(e, uint32(1), again.Attempt)
	require.Equal(e, released.Revision+1, again.Revision)
}

func extendMoves(e *env) {
	c := e.open()
	r := c.leasedFor("a", e.span)
	end := r.Due
	// By the stamp of the claim, so that a slow machine cannot come too late.
	s := driver.Stamp{Epoch: c.epoch, Token: driver.NewToken(), Now: r.Updated, Lease: r.Lease.Token}
	r = c.apply(c.must(driver.Extend(s, r, end.Add(24*time.Hour))))
	c.holds(r)
	e.passes(c, end.Add(time.Millisecond))
	e.share(c).nobodyGets(r.Due)
	c.holds(r)
}

func extendShortens(e *env) {
	c := e.open()
	r := c.leased("a")
	r = c.apply(c.must(driver.Extend(c.stamp(r), r, c.now().Add(e.span))))
	c.nobodyGets(r.Due)
	e.passes(c, r.Due)
	require.Equal(e, "a", e.share(c).claimOne(time.Hour).ID)
}
