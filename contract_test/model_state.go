// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// state is what a store holds and every decision about it, without clock, lock
// or connection. Records in it are never changed in place, so that a fork shares
// them.
type state struct {
	records map[string]driver.Record
	claims  map[driver.Token]claimed
	epoch   driver.Epoch
	mark    driver.Mark
	former  []driver.Mark // how far incarnations before the present one had come: see Model.Restart
	changes []driver.Change
	trimmed int       // number of changes that stood before the first of changes
	expiry  time.Time // no record expires before; zero: none does
	probe   driver.Token
}

// claimed is what a claim gave, for its repeats.
type claimed struct {
	end   time.Time
	given []revisionOf // in the order of the answer
}

type revisionOf struct {
	id       string
	revision uint64
}

func newState() *state {
	return &state{
		records: map[string]driver.Record{}, claims: map[driver.Token]claimed{},
		mark: driver.Mark{Incarnation: rand.Uint64() | 1},
	}
}

// fork returns a copy that goes its own way.
func (s *state) fork() *state {
	f := *s
	f.records, f.claims, f.changes, f.former = maps.Clone(s.records), maps.Clone(s.claims), slices.Clone(s.changes), slices.Clone(s.former)
	return &f
}

// sweep forgets what has expired at now.
func (s *state) sweep(now time.Time) {
	if s.expiry.IsZero() || s.expiry.After(now) {
		return
	}
	s.expiry = time.Time{}
	for id, r := range s.records {
		switch {
		case expired(&r, now):
			delete(s.records, id)
		case !r.Expires.IsZero() && (s.expiry.IsZero() || r.Expires.Before(s.expiry)):
			s.expiry = r.Expires
		}
	}
}

func expired(r *driver.Record, now time.Time) bool {
	return !r.Expires.IsZero() && !r.Expires.After(now)
}

func (s *state) receipt(now time.Time) driver.Receipt {
	return driver.Receipt{Marks: driver.Marks{s.mark}, Time: now}
}

// seen refuses a caller that has seen more than s holds.
func (s *state) seen(marks driver.Marks) error {
	for _, m := range marks {
		if m.Partition != s.mark.Partition {
			continue
		}
		known := slices.ContainsFunc(append([]driver.Mark{s.mark}, s.former...), func(k driver.Mark) bool {
			return k.Incarnation == m.Incarnation && k.Sequence >= m.Sequence
		})
		if !known {
			return refused(driver.Lost, "the caller has seen %d of %x, the store is at %d of %x",
				m.Sequence, m.Incarnation, s.mark.Sequence, s.mark.Incarnation)
		}
	}
	return nil
}

// guard is what every mutation but Advance passes first.
func (s *state) guard(g driver.Guard, merge bool) error {
	if err := s.seen(g.Seen); err != nil {
		return err
	}
	held := s.epoch.Clone()
	if g.Epoch < held.Number || !merge && g.Epoch == held.Number && held.State == driver.Handover {
		return &driver.Error{Class: driver.Fenced, Epoch: &held, Detail: fmt.Sprintf("epoch %d against %s", g.Epoch, held)}
	}
	if g.Epoch > held.Number && !merge {
		return &driver.Error{Class: driver.Lost, Epoch: &held, Detail: fmt.Sprintf("epoch %d against %s", g.Epoch, held)}
	}
	return nil
}

func (s *state) commit(req driver.CommitRequest, now time.Time) (driver.CommitResponse, error) {
	if err := s.guard(req.Guard, false); err != nil {
		return driver.CommitResponse{}, err
	}
	if err := req.Validate(); err != nil {
		return driver.CommitResponse{}, err
	}
	verdicts := make([]driver.Verdict, len(req.Transitions))
	for i, t := range req.Transitions {
		if err := req.ValidateAt(i); err != nil {
			verdicts[i].Err = driver.In(err, "model", "commit", t.Record.ID)
			continue
		}
		verdicts[i] = s.commitOne(t)
	}
	return driver.CommitResponse{Receipt: s.receipt(now), Verdicts: verdicts}, nil
}

func (s *state) commitOne(t driver.Transition) driver.Verdict {
	next := t.Record
	stored, found := s.records[next.ID]
	if !found && next.Revision > 1 {
		return verdict(driver.NotFound, next.ID, nil)
	}
	if found {
		if stored.Revision == next.Revision && stored.Token == next.Token {
			return driver.Verdict{}
		}
		if next.Revision == 1 {
			return verdict(driver.Exists, next.ID, &stored)
		}
		if next.Revision != stored.Revision+1 || t.Base != stored.Token || next.Epoch < stored.Epoch {
			return verdict(driver.Conflict, next.ID, &stored)
		}
	}
	s.put(next)
	return driver.Verdict{Applied: true}
}

func verdict(class driver.Class, id string, stored *driver.Record) driver.Verdict {
	e := &driver.Error{Class: class, Store: "model", Op: "commit", IDs: []string{id}}
	if stored != nil {
		held := stored.Clone()
		e.Stored = &held
	}
	return driver.Verdict{Err: e}
}

func (s *state) merge(req driver.MergeRequest, now time.Time) (driver.MergeResponse, error) {
	if err := s.guard(req.Guard, true); err != nil {
		return driver.MergeResponse{}, err
	}
	if err := req.Validate(); err != nil {
		return driver.MergeResponse{}, err
	}
	verdicts := make([]driver.Verdict, len(req.Records))
	for i, r := range req.Records {
		if err := req.ValidateAt(i); err != nil {
			verdicts[i].Err = driver.In(err, "model", "merge", r.ID)
			continue
		}
		if stored, found := s.records[r.ID]; !found || newer(&r, &stored) {
			s.put(r)
			verdicts[i].Applied = true
		}
	}
	return driver.MergeResponse{Receipt: s.receipt(now), Verdicts: verdicts}, nil
}

// newer reports whether a was made after b, as merging sees it.
func newer(a, b *driver.Record) bool {
	if a.Epoch != b.Epoch {
		return a.Epoch > b.Epoch
	}
	if !a.Created.Equal(b.Created) {
		return a.Created.After(b.Created)
	}
	if a.Revision != b.Revision {
		return a.Revision > b.Revision
	}
	return bytes.Compare(a.Token[:], b.Token[:]) > 0
}

// put stores r, as a change.
func (s *state) put(r driver.Record) {
	r = normal(r)
	s.records[r.ID] = r
	s.mark.Sequence++
	s.changes = append(s.changes, driver.Change{
		ID: r.ID, Kind: r.Kind, Revision: r.Revision, Epoch: r.Epoch, Status: r.Status, Due: r.Due,
	})
	if !r.Expires.IsZero() && (s.expiry.IsZero() || r.Expires.Before(s.expiry)) {
		s.expiry = r.Expires
	}
}

// normal returns a copy of r as stores give it back: times in UTC, nil for what
// is empty.
func normal(r driver.Record) driver.Record {
	r = r.Clone()
	for _, b := range []*[]byte{&r.State, &r.Input, &r.Output} {
		if len(*b) == 0 {
			*b = nil
		}
	}
	if len(r.Labels) == 0 {
		r.Labels = nil
	}
	for _, t := range []*time.Time{&r.Due, &r.Created, &r.Updated, &r.Expires} {
		*t = driver.Millis(*t)
	}
	return r
}

func (s *state) get(req driver.GetRequest, now time.Time) (driver.GetResponse, error) {
	if err := s.seen(req.Seen); err != nil {
		return driver.GetResponse{}, err
	}
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	resp := driver.GetResponse{Receipt: s.receipt(now)}
	for _, id := range req.IDs {
		if r, found := s.records[id]; found {
			resp.Records = append(resp.Records, r.Clone())
		}
	}
	return resp, nil
}

const listCursor = "after "

func (s *state) list(req driver.ListRequest, now time.Time) (driver.ListResponse, error) {
	if err := s.seen(req.Seen); err != nil {
		return driver.ListResponse{}, err
	}
	if err := req.Validate(); err != nil {
		return driver.ListResponse{}, err
	}
	after, given := strings.CutPrefix(req.Cursor, listCursor)
	if req.Cursor != "" && (!given || driver.ValidateID(after) != nil) {
		return driver.ListResponse{}, refused(driver.Invalid, "list: the cursor is not of this store")
	}
	resp := driver.ListResponse{Receipt: s.receipt(now)}
	size := 0
	for _, id := range slices.Sorted(maps.Keys(s.records)) {
		r := s.records[id]
		if id <= after || !matches(&r, req.Kinds, req.Statuses) {
			continue
		}
		size += driver.EncodedSize(&r)
		if len(resp.Records) == req.Limit || len(resp.Records) > 0 && size > driver.MaxBatchBytes {
			resp.Next = listCursor + resp.Records[len(resp.Records)-1].ID
			break
		}
		resp.Records = append(resp.Records, r.Clone())
	}
	return resp, nil
}

func matches(r *driver.Record, kinds []string, statuses []driver.Status) bool {
	return (len(kinds) == 0 || slices.Contains(kinds, r.Kind)) &&
		(len(statuses) == 0 || slices.Contains(statuses, r.Status))
}

func refused(class driver.Class, format string, args ...any) error {
	return &driver.Error{Class: class, Detail: fmt.Sprintf(format, args...)}
}
