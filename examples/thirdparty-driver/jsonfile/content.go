// SPDX-License-Identifier: Apache-2.0

package jsonfile

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// content is all that the file holds.
type content struct {
	Incarnation uint64                   `json:"incarnation"`
	Sequence    uint64                   `json:"sequence"`
	Epoch       driver.Epoch             `json:"epoch"`
	Records     map[string]driver.Record `json:"records"`
	Claims      map[driver.Token]claim   `json:"claims"`
}

// claim is what a claim gave, to be recognised in its repeats until it ends.
type claim struct {
	End       time.Time         `json:"end"`
	Revisions map[string]uint64 `json:"revisions"` // by id
}

func newContent() *content {
	return &content{Incarnation: rand.Uint64(), Records: map[string]driver.Record{}, Claims: map[driver.Token]claim{}}
}

// copy returns a copy without what has expired.
func (c *content) copy(now time.Time) *content {
	next := *c
	next.Records, next.Claims = maps.Clone(c.Records), maps.Clone(c.Claims)
	maps.DeleteFunc(next.Records, func(_ string, r driver.Record) bool { return expired(r, now) })
	maps.DeleteFunc(next.Claims, func(_ driver.Token, given claim) bool { return !now.Before(given.End) })
	return &next
}

func expired(r driver.Record, now time.Time) bool {
	return !r.Expires.IsZero() && !r.Expires.After(now)
}

func (c *content) count(now time.Time) int {
	n := 0
	for _, r := range c.Records {
		if !expired(r, now) {
			n++
		}
	}
	return n
}

func (c *content) marks() driver.Marks {
	return driver.Marks{{Incarnation: c.Incarnation, Sequence: c.Sequence}}
}

func (c *content) receipt(now time.Time) driver.Receipt {
	return driver.Receipt{Marks: c.marks(), Time: now}
}

// guard checks, in this order, what the caller has seen, and its epoch.
func (c *content) guard(g driver.Guard, admit func(number uint64) error) error {
	if err := c.marks().Check(g.Seen); err != nil {
		return err
	}
	return admit(g.Epoch)
}

// put stores r, as a change. Encoding brings it into the form in which stores
// give records back, and shares nothing with the caller.
func (c *content) put(r *driver.Record) error {
	kept, err := driver.DecodeRecord(driver.AppendRecord(nil, r))
	if err != nil {
		return err
	}
	c.Records[kept.ID] = kept
	c.Sequence++
	return nil
}

// stored returns the record of an id, or nil.
func (c *content) stored(id string) *driver.Record {
	if r, held := c.Records[id]; held {
		return &r
	}
	return nil
}

func (c *content) commit(req *driver.CommitRequest, i int) driver.Verdict {
	t := &req.Transitions[i]
	apply, err := false, req.ValidateAt(i)
	if err == nil {
		apply, err = t.Admit(c.stored(t.Record.ID))
	}
	if err == nil && apply {
		err = c.put(&t.Record)
	}
	return driver.Verdict{Err: driver.In(err, name, "commit", t.Record.ID), Applied: apply && err == nil}
}

func (c *content) merge(req *driver.MergeRequest, i int) driver.Verdict {
	r := &req.Records[i]
	if err := req.ValidateAt(i); err != nil {
		return driver.Verdict{Err: driver.In(err, name, "merge", r.ID)}
	}
	if held := c.stored(r.ID); held != nil && driver.Compare(r, held) <= 0 {
		return driver.Verdict{} // this or a newer one is there
	}
	err := c.put(r)
	return driver.Verdict{Err: driver.In(err, name, "merge", r.ID), Applied: err == nil}
}

func (c *content) claim(req *driver.ClaimRequest, now time.Time) ([]driver.Record, error) {
	var given []driver.Record
	if before, repeat := c.Claims[req.Token]; repeat {
		for _, id := range slices.Sorted(maps.Keys(before.Revisions)) {
			if r := c.stored(id); r != nil && r.Revision == before.Revisions[id] && r.Token == req.Token {
				given = append(given, r.Clone())
			}
		}
		return given, nil
	}
	stamp := driver.Stamp{Epoch: req.Epoch, Token: req.Token, Now: now}
	revisions := map[string]uint64{}
	size := 0
	for _, r := range c.claimable(req, now) {
		t, err := driver.Claim(stamp, r, req.Owner, now.Add(req.Lease))
		if err != nil {
			return nil, err
		}
		size += driver.EncodedSize(&t.Record)
		if len(given) == req.Limit || size > driver.MaxBatchBytes {
			break
		}
		if err := c.put(&t.Record); err != nil {
			return nil, err
		}
		given = append(given, c.Records[r.ID].Clone())
		revisions[r.ID] = t.Record.Revision
	}
	if len(given) > 0 {
		c.Claims[req.Token] = claim{End: given[0].Due, Revisions: revisions}
	}
	return given, nil
}

// claimable returns the records that a claim may give, those due first, first.
func (c *content) claimable(req *driver.ClaimRequest, now time.Time) []driver.Record {
	var due []driver.Record
	for _, r := range c.Records {
		if r.Claimable(now) && r.Epoch <= req.Epoch && slices.Contains(req.Kinds, r.Kind) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b driver.Record) int {
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.ID, b.ID))
	})
	return due
}

// next is the earliest due time of the kinds without the records given.
func (c *content) next(req *driver.ClaimRequest, given []driver.Record) time.Time {
	var next time.Time
	for id, r := range c.Records {
		wanted := !r.Due.IsZero() && slices.Contains(req.Kinds, r.Kind) &&
			!slices.ContainsFunc(given, func(g driver.Record) bool { return g.ID == id })
		if wanted && (next.IsZero() || r.Due.Before(next)) {
			next = r.Due
		}
	}
	return next
}

const cursorPrefix = "after "

// page returns one page in the order of the ids; the cursor is the last id of
// the page before.
func (c *content) page(req *driver.ListRequest, now time.Time) (driver.ListResponse, error) {
	after, ours := strings.CutPrefix(req.Cursor, cursorPrefix)
	if req.Cursor != "" && (!ours || driver.ValidateID(after) != nil) {
		return driver.ListResponse{}, &driver.Error{Class: driver.Invalid, Detail: "the cursor is not one of this store"}
	}
	resp := driver.ListResponse{Receipt: c.receipt(now)}
	size := 0
	for _, id := range slices.Sorted(maps.Keys(c.Records)) {
		r := c.Records[id]
		if id <= after || expired(r, now) ||
			len(req.Kinds) > 0 && !slices.Contains(req.Kinds, r.Kind) ||
			len(req.Statuses) > 0 && !slices.Contains(req.Statuses, r.Status) {
			continue
		}
		size += driver.EncodedSize(&r)
		if n := len(resp.Records); n == req.Limit || n > 0 && size > driver.MaxBatchBytes {
			resp.Next = cursorPrefix + resp.Records[n-1].ID
			break
		}
		resp.Records = append(resp.Records, r.Clone())
	}
	return resp, nil
}
