// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func limitCases() []Case {
	const area = "Limits"
	const accepts = "Limits of the contract: what every store must accept."
	const refuses = "A value beyond a limit is refused with TooLarge or Invalid before anything is applied; the error names the field, the size of the value and the limit."
	return []Case{
		{Area: area, Name: "AcceptRecordsUpToThem", Sentence: accepts, run: limitsReached},
		{Area: area, Name: "RefuseRecordsBeyond", Sentence: refuses, run: limitsExceeded},
		{Area: area, Name: "RefuseRecordsThatBreakARule", run: limitsRules,
			Sentence: "Verdicts: Invalid or TooLarge for a transition that fails Transition.Validate."},
		{Area: area, Name: "OfAClaim", Sentence: refuses, run: limitsClaim},
		{Area: area, Name: "OfAGet", Sentence: refuses, run: limitsGet},
		{Area: area, Name: "OfAList", Sentence: refuses, run: limitsList},
	}
}

// edge is one limit: set gives the record a value of n units.
type edge struct {
	field string
	most  int
	set   func(r *driver.Record, n int)
}

var edges = []edge{
	{"id", driver.MaxIDBytes, func(r *driver.Record, n int) { r.ID = text(n) }},
	{"kind", driver.MaxKindBytes, func(r *driver.Record, n int) { r.Kind = text(n) }},
	{"step", driver.MaxStepBytes, func(r *driver.Record, n int) { r.Step = text(n) }},
	{"failure", driver.MaxFailureBytes, func(r *driver.Record, n int) { r.Failure = text(n) }},
	{"owner", driver.MaxOwnerBytes, func(r *driver.Record, n int) {
		r.Status, r.Lease = driver.Leased, driver.Lease{Owner: text(n), Token: driver.NewToken()}
	}},
	{"labels", driver.MaxLabels, func(r *driver.Record, n int) {
		r.Labels = map[string]string{}
		for i := range n {
			r.Labels[fmt.Sprint("label ", i)] = "value"
		}
	}},
	{"label key", driver.MaxLabelKey, func(r *driver.Record, n int) { r.Labels = map[string]string{text(n): "value"} }},
	{"label", driver.MaxLabelValue, func(r *driver.Record, n int) { r.Labels = map[string]string{"key": text(n)} }},
	{"record", driver.MaxRecordBytes, func(r *driver.Record, n int) { fill(r, n) }},
	{"record", driver.MaxRecordBytes, func(r *driver.Record, n int) {
		fill(r, n)
		r.State, r.Input = r.Input, nil
	}},
}

func limitsReached(e *env) {
	c := e.open()
	for i, limit := range edges {
		t := c.newStart(fmt.Sprint("r", i))
		limit.set(&t.Record, limit.most)
		c.apply(t)
		c.holds(t.Record)

		r := c.newStart(fmt.Sprint("m", i)).Record
		limit.set(&r, limit.most)
		r.Revision = 9
		c.merge(r)
		c.holds(r)
	}
	shortest := c.newStartOf(driver.Workflow{ID: "a", Kind: "b"})
	c.apply(shortest)
	c.holds(shortest.Record)
}

func limitsExceeded(e *env) {
	c := e.open()
	for i, limit := range edges {
		for _, over := range []int{1, 1000} {
			t := c.newStart(fmt.Sprintf("r%d-%d", i, over))
			limit.set(&t.Record, limit.most+over)
			c.refusesRecord(t, driver.TooLarge, limit.field, fmt.Sprint(limit.most+over), fmt.Sprint(limit.most))
		}
	}
}

// refusesRecord checks that neither a commit nor a merge takes the record.
func (c *conn) refusesRecord(t driver.Transition, class driver.Class, words ...string) {
	c.e.Helper()
	v := c.verdict(t)
	c.e.refused(v.Err, class, words...)
	require.False(c.e, v.Applied)
	resp, err := c.Merge(c.e.Context(), driver.MergeRequest{Guard: c.guard(), Records: []driver.Record{t.Record}})
	require.NoError(c.e, err, "the fault of one record is its verdict")
	c.e.refused(resp.Verdicts[0].Err, class, words...)
	require.False(c.e, resp.Verdicts[0].Applied)
	if driver.ValidateID(t.Record.ID) == nil {
		c.lacks(t.Record.ID)
	}
}

func limitsRules(e *env) {
	c := e.open()
	for i, rule := range []struct {
		word  string
		spoil func(*driver.Record)
	}{
		{"id", func(r *driver.Record) { r.ID = "" }},
		{"id", func(r *driver.Record) { r.ID = "\xff\xfe" }},
		{"id", func(r *driver.Record) { r.ID = "line\nbreak" }},
		{"kind", func(r *driver.Record) { r.Kind = "" }},
		{"kind", func(r *driver.Record) { r.Kind = "nul\x00" }},
		{"step", func(r *driver.Record) { r.Step = "\xc3\x28" }},
		{"failure", func(r *driver.Record) { r.Failure = "\xff" }},
		{"label", func(r *driver.Record) { r.Labels = map[string]string{"": "v"} }},
		{"label", func(r *driver.Record) { r.Labels = map[string]string{"k": "\xff"} }},
		{"token", func(r *driver.Record) { r.Token = driver.Token{} }},
		{"status", func(r *driver.Record) { r.Status = driver.Absent }},
		{"status", func(r *driver.Record) { r.Status = driver.Held + 1 }},
		{"created", func(r *driver.Record) { r.Created = time.Time{} }},
		{"updated", func(r *driver.Record) { r.Updated = time.Time{} }},
		{"due", func(r *driver.Record) { r.Due = time.Time{} }},
		{"lease", func(r *driver.Record) { r.Lease.Token = driver.NewToken() }},
		{"lease", func(r *driver.Record) { r.Status = driver.Leased }},
		{"due", func(r *driver.Record) { r.Status = driver.Succeeded }},
		{"expiry", func(r *driver.Record) { r.Expires = r.Updated.Add(time.Hour) }},
		{"due", func(r *driver.Record) { r.Due = r.Due.Add(time.Microsecond) }},
	} {
		t := c.newStart(fmt.Sprint("r", i))
		rule.spoil(&t.Record)
		c.refusesRecord(t, driver.Invalid, rule.word)
	}
	zero := c.newStart("zero")
	zero.Record.Revision = 0
	e.refused(c.verdict(zero).Err, driver.Invalid, "revision")
	based := c.newStart("based")
	based.Base = driver.NewToken()
	e.refused(c.verdict(based).Err, driver.Invalid, "base")
	later := c.must(driver.Cancel(c.stamp(), c.start("a"), "no", time.Time{}))
	later.Base = driver.Token{}
	e.refused(c.verdict(later).Err, driver.Invalid, "base")
}

func limitsClaim(e *env) {
	c := e.open()
	r := c.start("a")
	for _, bad := range []struct {
		class driver.Class
		words []string
		spoil func(*driver.ClaimRequest)
	}{
		{driver.Invalid, []string{"token"}, func(q *driver.ClaimRequest) { q.Token = driver.Token{} }},
		{driver.Invalid, []string{"owner"}, func(q *driver.ClaimRequest) { q.Owner = "" }},
		{driver.TooLarge, []string{"owner", "257", "256"}, func(q *driver.ClaimRequest) { q.Owner = text(257) }},
		{driver.Invalid, []string{"kinds"}, func(q *driver.ClaimRequest) { q.Kinds = nil }},
		{driver.TooLarge, []string{"kinds", "65", "64"}, func(q *driver.ClaimRequest) { q.Kinds = strings.Split(strings.Repeat("call,", 64)+"call", ",") }},
		{driver.TooLarge, []string{"kind", "65", "64"}, func(q *driver.ClaimRequest) { q.Kinds = []string{kind, text(65)} }},
		{driver.Invalid, []string{"kind"}, func(q *driver.ClaimRequest) { q.Kinds = []string{kind, ""} }},
		{driver.Invalid, []string{"limit", "0", "256"}, func(q *driver.ClaimRequest) { q.Limit = 0 }},
		{driver.Invalid, []string{"limit", "-1", "256"}, func(q *driver.ClaimRequest) { q.Limit = -1 }},
		{driver.Invalid, []string{"limit", "257", "256"}, func(q *driver.ClaimRequest) { q.Limit = 257 }},
		{driver.Invalid, []string{"lease", "0s"}, func(q *driver.ClaimRequest) { q.Lease = 0 }},
		{driver.Invalid, []string{"lease", "24h0m0.001s"}, func(q *driver.ClaimRequest) { q.Lease = driver.MaxLease + time.Millisecond }},
		{driver.Invalid, []string{"lease", "1.5ms"}, func(q *driver.ClaimRequest) { q.Lease = 1500 * time.Microsecond }},
	} {
		req := c.claimRequest(1, time.Hour)
		bad.spoil(&req)
		_, err := c.Claim(e.Context(), req)
		e.refused(err, bad.class, bad.words...)
		c.holds(r)
	}
	req := c.claimRequest(driver.MaxBatch, driver.MaxLease, numbered("kind", driver.MaxKinds-1)...)
	req.Kinds = append(req.Kinds, kind)
	req.Owner = text(driver.MaxOwnerBytes)
	require.Len(e, c.claim(req).Records, 1, "a claim with every value at its limit")
}

func limitsGet(e *env) {
	c := e.open()
	c.start("a")
	for _, bad := range []struct {
		class driver.Class
		words []string
		ids   []string
	}{
		{driver.Invalid, []string{"ids"}, nil},
		{driver.TooLarge, []string{"ids", "257", "256"}, numbered("r", 257)},
		{driver.Invalid, []string{"id"}, []string{"a", ""}},
		{driver.TooLarge, []string{"id", "257", "256"}, []string{"a", text(257)}},
		{driver.Invalid, []string{"id"}, []string{"a", "\n"}},
	} {
		_, err := c.Get(e.Context(), driver.GetRequest{IDs: bad.ids})
		e.refused(err, bad.class, bad.words...)
	}
	resp, err := c.Get(e.Context(), driver.GetRequest{IDs: append(numbered(text(250), 255), "a")})
	require.NoError(e, err)
	require.Equal(e, []string{"a"}, ids(resp.Records))
}

func limitsList(e *env) {
	c := e.open()
	c.start("a")
	for _, bad := range []struct {
		class driver.Class
		words []string
		req   driver.ListRequest
	}{
		{driver.Invalid, []string{"limit", "0", "256"}, driver.ListRequest{}},
		{driver.Invalid, []string{"limit", "-1", "256"}, driver.ListRequest{Limit: -1}},
		{driver.Invalid, []string{"limit", "257", "256"}, driver.ListRequest{Limit: 257}},
		{driver.Invalid, []string{"status"}, driver.ListRequest{Limit: 1, Statuses: []driver.Status{driver.Absent}}},
		{driver.Invalid, []string{"status"}, driver.ListRequest{Limit: 1, Statuses: []driver.Status{driver.Held + 1}}},
		{driver.Invalid, []string{"kind"}, driver.ListRequest{Limit: 1, Kinds: []string{""}}},
		{driver.TooLarge, []string{"kind", "65", "64"}, driver.ListRequest{Limit: 1, Kinds: []string{text(65)}}},
		{driver.TooLarge, []string{"kinds", "65", "64"}, driver.ListRequest{Limit: 1, Kinds: numbered("k", 65)}},
	} {
		_, err := c.List(e.Context(), bad.req)
		e.refused(err, bad.class, bad.words...)
	}
	full := driver.ListRequest{Limit: driver.MaxBatch, Kinds: append(numbered("k", driver.MaxKinds-1), kind)}
	require.Equal(e, []string{"a"}, ids(c.list(full)))
}
