// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func recordCases() []Case {
	const record, clock = "Record", "Time"
	const whole = "A record is the whole state of one workflow; each transition is applied as a whole."
	return []Case{
		{Area: record, Name: "KeepsEveryFieldOfACommit", Sentence: whole, run: recordCommitted},
		{Area: record, Name: "KeepsEveryFieldOfAMerge", Sentence: whole, run: recordMerged},
		{Area: record, Name: "KeepsEveryStatus", Sentence: whole, run: recordStatuses},
		{Area: record, Name: "KeepsLargeNumbers", Sentence: whole, run: recordNumbers},
		{Area: record, Name: "KeepsAnyBytes", run: recordBytes,
			Sentence: "State, Input and Output are bytes of any value, up to the size of a record."},
		{Area: record, Name: "KeepsAnyText", run: recordText,
			Sentence: "Labels: keys of 1–64 bytes of printable UTF-8, values of 0–256 bytes of valid UTF-8; Failure: valid UTF-8."},
		{Area: record, Name: "GivesNilForEmpty", run: recordNil,
			Sentence: "A nil and an empty slice or map mean the same, and stores return nil for both."},
		{Area: clock, Name: "IsKeptToTheMillisecond", run: timeMillis,
			Sentence: "All times are instants with millisecond precision."},
		{Area: clock, Name: "IsGivenInUTC", run: timeUTC,
			Sentence: "All times are instants; stores return them in UTC."},
		{Area: clock, Name: "ZeroStaysZero", run: timeZero,
			Sentence: "The zero time means \"not set\"."},
		{Area: clock, Name: "MayBeFarAway", run: timeFar,
			Sentence: "A record holds times after 1970 and before the year 10000."},
		{Area: clock, Name: "OfTheStoreDoesNotGoBack", run: timeForward,
			Sentence: "Receipt: Time is the store's own time when it answered: the one that decides what is due."},
	}
}

// complete returns a record in which every field is set that a record can have at
// once with a lease; finished returns one with the others.
func (c *conn) complete(id string) driver.Record {
	c.e.Helper()
	now := driver.Millis(c.now())
	r := driver.Record{
		ID: id, Kind: kind, Revision: 7, Epoch: c.epoch, Token: driver.NewToken(), Status: driver.Leased,
		Due: now.Add(time.Hour + 789*time.Millisecond), Lease: driver.Lease{Owner: "host-1", Token: driver.NewToken()},
		Attempt: 3, Step: "archive", State: []byte("state\x00\xff"), Input: []byte("input\x00\xfe"), Output: []byte("output\x00\xfd"),
		Failure: "why the last attempt failed", Created: now.Add(-time.Hour + time.Millisecond), Updated: now,
		Labels: map[string]string{"tenant": "acme", "empty": "", "ü": "ö\n"},
	}
	if c.e.h.Chain {
		r.Output = nil // it keeps a log of its own there until the workflow has succeeded
	}
	return r
}

func (c *conn) finished(id string) driver.Record {
	c.e.Helper()
	r := c.complete(id)
	r.Status, r.Due, r.Lease = driver.Failed, time.Time{}, driver.Lease{}
	r.Expires = r.Updated.Add(24*time.Hour + 123*time.Millisecond)
	return r
}

func recordMerged(e *env) {
	c := e.open()
	c.advance(5, driver.Serving)
	for _, r := range []driver.Record{c.complete("open"), c.finished("ended")} {
		c.merge(r)
		c.everywhere(r)
		e.share(c).everywhere(r)
	}
}

// everywhere checks that r comes back whole by every way of reading.
func (c *conn) everywhere(r driver.Record) {
	c.e.Helper()
	c.holds(r)
	for _, listed := range c.list(driver.ListRequest{Limit: 10}) {
		if listed.ID == r.ID {
			c.e.same(&r, &listed)
		}
	}
	stale := c.newStart(r.ID)
	c.e.same(&r, c.e.carried(c.verdict(stale).Err).Stored)
}

func recordCommitted(e *env) {
	c := e.open()
	c.advance(5, driver.Serving)
	for _, r := range []driver.Record{c.complete("open"), c.finished("ended")} {
		first := c.startOf(driver.Workflow{ID: r.ID, Kind: r.Kind, Input: r.Input, Labels: r.Labels})
		r.Revision, r.Created = 2, first.Created
		c.apply(driver.Transition{Base: first.Token, Record: r})
		c.everywhere(r)
		e.share(c).everywhere(r)
	}
}

func recordStatuses(e *env) {
	c := e.open()
	for s := driver.Ready; s <= driver.Held; s++ {
		r := c.complete(s.String())
		r.Status = s
		if s != driver.Leased {
			r.Lease = driver.Lease{}
		}
		if s.Finished() || s == driver.Held {
			r.Due = time.Time{}
		}
		c.merge(r)
		c.everywhere(r)
		require.Equal(e, []string{r.ID}, ids(c.list(driver.ListRequest{Statuses: []driver.Status{s}, Limit: 10})))
	}
}

func recordNumbers(e *env) {
	c := e.open()
	for i, n := range []uint64{1<<53 + 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64 - 1} {
		r := c.complete(fmt.Sprint("r", i))
		r.Revision, r.Attempt = n, math.MaxUint32
		c.merge(r)
		c.holds(r)
		r.Revision, r.Token = n+1, driver.NewToken()
		c.merge(r)
		c.holds(r)
	}
	c.advance(1<<53+1, driver.Serving)
	r := c.complete("epoch")
	c.merge(r)
	c.holds(r)
}

func recordBytes(e *env) {
	c := e.open()
	var every []byte
	for i := range 512 {
		every = append(every, byte(i))
	}
	invalid := []byte{0xff, 0xfe, 0x00, 0xc3, 0x28, 0xed, 0xa0, 0x80, '"', '\\', '\r', '\n', 0x1b}
	for i, b := range [][]byte{{0}, invalid, every, bytes.Repeat([]byte{0xff}, 80_000), make([]byte, 80_000)} {
		r := c.complete(fmt.Sprint("r", i))
		r.Input, r.State = b, bytes.Clone(b)
		if !e.h.Chain {
			r.Output = append([]byte{1}, b...)
		}
		c.merge(r)
		c.everywhere(r)
	}
	whole := c.newStart("whole")
	fill(&whole.Record, driver.MaxRecordBytes)
	c.apply(whole)
	c.everywhere(whole.Record)
}

func recordText(e *env) {
	c := e.open()
	r := c.complete("späte Übergabe / 通話 🎙")
	r.Kind, r.Step, r.Lease.Owner = "анализ", "étape n° 1", "hôte:1@[::1]"
	r.Failure = "line one\nline two\t\x00\x01 \"quoted\" \\ <&>"
	r.Labels = map[string]string{"k ey": "v\x00alue", "a=b": "c=d", "{x}": "[1]", "ключ": "значение\n", "e": ""}
	c.merge(r)
	c.everywhere(r)
	require.Equal(e, []string{r.ID}, ids(c.list(driver.ListRequest{Kinds: []string{r.Kind}, Limit: 10})))
}

func recordNil(e *env) {
	c := e.open()
	t := c.newStart("a")
	t.Record.Input, t.Record.State, t.Record.Output, t.Record.Labels = []byte{}, []byte{}, []byte{}, map[string]string{}
	c.apply(t)
	none := func(what string, r driver.Record) {
		e.Helper()
		require.Equal(e, "a", r.ID)
		require.True(e, r.Input == nil && r.State == nil && r.Output == nil && r.Labels == nil, "%s: empty fields are nil: %s", what, fmt.Sprintf("%#v", r))
	}
	none("get", *c.get("a"))
	none("list", c.list(driver.ListRequest{Limit: 1})[0])
	none("stored", *e.carried(c.verdict(c.newStart("a")).Err).Stored)
	none("claim", c.claimOne(time.Hour))
}

func timeMillis(e *env) {
	c := e.open()
	for ms := range 3 {
		r := c.finished(fmt.Sprint("r", ms))
		at := r.Updated.Truncate(time.Second).Add(time.Duration(997+ms) * time.Millisecond)
		r.Created, r.Updated, r.Expires = at, at.Add(time.Millisecond), at.Add(time.Hour+time.Millisecond)
		c.merge(r)
		c.holds(r)
		due := c.complete(fmt.Sprint("due", ms))
		due.Due = at.Add(time.Hour)
		c.merge(due)
		c.holds(due)
	}
	for _, by := range []time.Duration{time.Nanosecond, time.Microsecond, 1500 * time.Microsecond} {
		t := c.newStart("fine")
		t.Record.Due = t.Record.Due.Add(by)
		e.refused(c.verdict(t).Err, driver.Invalid, "due", "milliseconds")
	}
	c.lacks("fine")
}

func timeUTC(e *env) {
	c := e.open()
	zone := time.FixedZone("away", -9*3600)
	t := c.newStart("a")
	for _, at := range []*time.Time{&t.Record.Due, &t.Record.Created, &t.Record.Updated} {
		*at = at.In(zone)
	}
	c.apply(t)
	ended := c.finished("b")
	ended.Expires = ended.Expires.In(zone)
	c.merge(ended)
	for _, r := range append(c.list(driver.ListRequest{Limit: 10}), *c.get("a"), *c.get("b"), c.claimOne(time.Hour)) {
		for name, at := range map[string]time.Time{"due": r.Due, "created": r.Created, "updated": r.Updated, "expires": r.Expires} {
			require.Same(e, time.UTC, at.Location(), "%s of %q is %s", name, r.ID, at)
		}
	}
	got := c.get("b")
	require.True(e, got.Expires.Equal(ended.Expires), "the same instant")
}

func timeZero(e *env) {
	c := e.open()
	r := c.leased("a")
	require.True(e, c.get("a").Expires.IsZero(), "expires")
	c.apply(c.must(driver.Succeed(c.stamp(r), r, nil, time.Time{})))
	got := c.get("a")
	require.True(e, got.Due.IsZero(), "due is %s", got.Due)
	require.True(e, got.Expires.IsZero(), "expires is %s", got.Expires)
	require.Equal(e, driver.Lease{}, got.Lease)
}

func timeFar(e *env) {
	c := e.open()
	for i, at := range []time.Time{
		time.UnixMilli(1).UTC(), time.Date(1999, 12, 31, 23, 59, 59, 999e6, time.UTC), time.UnixMilli(1<<32 + 1).UTC(),
		time.Date(2262, 5, 1, 0, 0, 0, 1e6, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		t := c.newStart(fmt.Sprint("r", i))
		t.Record.Due, t.Record.Created, t.Record.Updated = at, at, at
		c.apply(t)
		c.holds(t.Record)
	}
	t := c.newStart("beyond")
	t.Record.Due = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	e.refused(c.verdict(t).Err, driver.Invalid, "due")
	c.lacks("beyond")
	require.Len(e, c.claim(c.claimRequest(10, time.Hour)).Records, 3, "those of the past are due")
}

func timeForward(e *env) {
	c := e.open()
	last := c.now()
	for i := range 50 {
		r := c.start(fmt.Sprint("r", i))
		now := c.now()
		require.False(e, now.Before(last), "the store's time went from %s back to %s", last, now)
		require.False(e, now.Before(r.Created), "a record of %s stands in a store at %s", r.Created, now)
		last = now
	}
	if c.e.h.Chain {
		return // most of what receipts calls it does not offer
	}
	for _, step := range c.receipts() {
		require.False(e, step.receipt.Time.Before(last), "%s answers with the time %s after %s", step.name, step.receipt.Time, last)
		last = step.receipt.Time
	}
}
