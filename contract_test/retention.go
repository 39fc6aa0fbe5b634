// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func retentionCases() []Case {
	const area = "Retention"
	return []Case{
		{Area: area, Name: "KeepsUntilTheExpiry", run: retentionKeeps,
			Sentence: "Expires is when the store may forget a finished record: not before."},
		{Area: area, Name: "KeepsForEverWithoutOne", run: retentionForEver,
			Sentence: "Expires is when the store may forget a finished record. Zero: never."},
		{Area: area, Name: "ForgetsWholly", run: retentionForgets,
			Sentence: "A store may forget a finished record from Expires on; ID: unique in its chain until the record has expired."},
		{Area: area, Name: "IsNoChange", run: retentionNoChange, Needs: []driver.Capability{driver.CapChanges},
			Sentence: "Commits, claims and merges that changed the store are changes; expiry is none."},
		{Area: area, Name: "TakesTheRecordOutOfTheFeed", run: retentionFeed, Needs: []driver.Capability{driver.CapChanges},
			Sentence: "Each record is as it stands when it is read, and is left out (with its change) once it has expired."},
		{Area: area, Name: "EndsWithARequeue", run: retentionRequeued,
			Sentence: "Requeue brings a workflow back: Expires is set on finished records only."},
	}
}

// failedUntil starts a workflow and fails it for good.
func (c *conn) failedUntil(id string, expires time.Time) driver.Record {
	c.e.Helper()
	r := c.leased(id)
	return c.apply(c.must(driver.Fail(c.stamp(r), r, driver.Failure{Reason: "no", Expires: expires})))
}

func retentionKeeps(e *env) {
	c := e.open()
	var all []driver.Record
	for i := range 3 {
		all = append(all, c.failedUntil(fmt.Sprint("r", i), c.now().Add(24*time.Hour)))
	}
	e.passes(c, c.now().Add(e.span))
	for _, r := range all {
		c.everywhere(r)
		e.share(c).holds(r)
	}
	require.Len(e, c.list(driver.ListRequest{Limit: 10}), len(all))
}

func retentionForEver(e *env) {
	c := e.open()
	r := c.failedUntil("ended", time.Time{})
	open := c.leasedFor("open", e.span/2)
	waiting := c.startOf(driver.Workflow{ID: "ready", Kind: kind, Due: c.now().Add(e.span / 2)})
	if e.h.Advance != nil {
		e.h.Advance(e.T, c.chain, 20*365*24*time.Hour)
	} else {
		e.passes(c, c.now().Add(e.span))
	}
	for _, stored := range []driver.Record{r, open, waiting} {
		c.holds(stored)
	}
	require.Len(e, c.list(driver.ListRequest{Limit: 10}), 3)
}

func retentionForgets(e *env) {
	c := e.open()
	kept := c.failedUntil("kept", c.now().Add(24*365*time.Hour))
	var going []driver.Record
	for i := range 5 {
		going = append(going, c.failedUntil(fmt.Sprint("r", i), c.now().Add(e.span)))
	}
	e.passes(c, going[len(going)-1].Expires.Add(time.Millisecond))
	stays := []string{"kept"}
	for _, r := range going {
		if stored := c.get(r.ID); stored != nil {
			e.same(&r, stored)
		}
		again := c.newStart(r.ID)
		v := c.verdict(again)
		if v.Err == nil {
			require.True(e, v.Applied, "the id is free again")
			c.everywhere(again.Record)
			stays = append(stays, r.ID)
			continue
		}
		e.refused(v.Err, driver.Exists)
		e.same(&r, e.carried(v.Err).Stored)
	}
	c.everywhere(kept)
	listed := ids(c.list(driver.ListRequest{Limit: 10}))
	require.Subset(e, listed, stays)
	slices.Sort(listed)
	require.Equal(e, slices.Compact(slices.Clone(listed)), listed, "one of each id")
}

func retentionNoChange(e *env) {
	c := e.open()
	r := c.failedUntil("a", c.now().Add(e.span))
	f := c.follow(driver.ChangesRequest{})
	e.passes(c, r.Expires.Add(time.Millisecond))
	c.get("a")
	c.list(driver.ListRequest{Limit: 10})
	marker := c.start("marker")
	f.awaitAll([]driver.Record{marker})
	require.Len(e, f.changes(), 1, "expiry is no change: %v", f.changes())
}

func retentionFeed(e *env) {
	c := e.open()
	cursor := c.present()
	r := c.failedUntil("a", c.now().Add(e.span))
	e.passes(c, r.Expires.Add(time.Millisecond))
	marker := c.start("marker")
	f := c.follow(driver.ChangesRequest{Cursor: cursor, Records: true})
	f.awaitAll([]driver.Record{marker})
	for _, change := range f.changes() {
		require.NotNil(e, change.Record, "a change of %q came without its record", change.ID)
		require.Equal(e, change.ID, change.Record.ID)
	}
}

func retentionRequeued(e *env) {
	c := e.open()
	r := c.failedUntil("a", c.now().Add(e.span))
	s := driver.Stamp{Epoch: c.epoch, Token: driver.NewToken(), Now: r.Updated}
	v := c.verdict(c.must(driver.Requeue(s, r, r.Updated)))
	if driver.ClassOf(v.Err) == driver.NotFound && !c.now().Before(r.Expires) {
		e.tooLate()
	}
	require.NoError(e, v.Err)
	e.passes(c, r.Expires.Add(time.Millisecond))
	got := e.share(c).claimOne(time.Hour)
	require.Equal(e, "a", got.ID)
	require.True(e, got.Expires.IsZero())
}
