// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/understudy-dev/understudy/driver"
)

// Applied holds the transitions of a chain, over all its hosts, that have
// succeeded. A chain repeats calls itself, and so cannot tell its callers whether
// one has been a repeat: the caller has to remember.
type Applied struct{ tokens sync.Map }

// AsStore returns c as a store, for the suite of the contract: what goes through
// it takes the ways of the calls of applications and workers. Records come and go
// without an epoch, which is the chain's own business.
func (c *Chain) AsStore(applied *Applied) driver.Store { return &asStore{c, applied} }

// Follows reports whether c acts on the epoch with the number or a later one, or
// is closed.
func (c *Chain) Follows(number uint64) bool {
	return c.ctx.Err() != nil || c.view.Load().epoch.Number >= number
}

type asStore struct {
	c       *Chain
	applied *Applied
}

func (s *asStore) receipt() driver.Receipt {
	return driver.Receipt{Time: driver.Millis(s.c.view.Load().active.clock.now())}
}

// ofNoEpoch returns the records without their epochs.
func ofNoEpoch(records []driver.Record) []driver.Record {
	for i := range records {
		records[i].Epoch = 0
	}
	return records
}

// Describe implements [driver.Store].
func (s *asStore) Describe(ctx context.Context, _ driver.DescribeRequest) (driver.DescribeResponse, error) {
	if ctx.Err() != nil || s.c.ctx.Err() != nil {
		return driver.DescribeResponse{}, s.c.ended(ctx, "describe", false)
	}
	return driver.DescribeResponse{Driver: "chain", Version: "1", Contract: driver.Contract,
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared}}, nil
}

// Commit implements [driver.Store]. Transitions of different records go at once,
// as from callers of their own.
func (s *asStore) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.CommitResponse{}, err
	}
	if ctx.Err() != nil || s.c.ctx.Err() != nil {
		return driver.CommitResponse{}, s.c.ended(ctx, "commit", false)
	}
	verdicts := make([]driver.Verdict, len(req.Transitions))
	failures := make([]error, len(req.Transitions))
	byID := map[string][]int{}
	for i := range req.Transitions {
		id := req.Transitions[i].Record.ID
		byID[id] = append(byID[id], i)
	}
	var calls sync.WaitGroup
	for _, places := range byID {
		calls.Go(func() {
			for _, i := range places {
				if verdicts[i], failures[i] = s.commit(ctx, req, i); failures[i] != nil {
					return
				}
			}
		})
	}
	calls.Wait()
	for _, err := range failures {
		if err != nil {
			return driver.CommitResponse{}, err
		}
	}
	return driver.CommitResponse{Receipt: s.receipt(), Verdicts: verdicts}, nil
}

// commit returns the verdict of transition i, or the error that there is none.
func (s *asStore) commit(ctx context.Context, req driver.CommitRequest, i int) (driver.Verdict, error) {
	if err := req.ValidateAt(i); err != nil {
		return driver.Verdict{Err: err}, nil
	}
	t := req.Transitions[i]
	t.Record = t.Record.Clone()
	_, err := s.c.commit(ctx, verbOf(&t), t)
	for driver.ClassOf(err) == driver.Unknown && ctx.Err() == nil && s.c.ctx.Err() == nil {
		_, err = s.c.commit(ctx, verbOf(&t), t) // as whoever gets that would do
	}
	switch driver.ClassOf(err) {
	case 0:
		_, repeated := s.applied.tokens.LoadOrStore(t.Record.Token, true)
		return driver.Verdict{Applied: !repeated}, nil
	case driver.Exists, driver.Conflict:
		stored := storedIn(err).Clone()
		stored.Epoch = 0
		return driver.Verdict{Err: &driver.Error{Class: driver.ClassOf(err), Stored: &stored, Cause: err}}, nil
	case driver.NotFound, driver.Invalid, driver.TooLarge:
		return driver.Verdict{Err: err}, nil
	default:
		return driver.Verdict{}, err
	}
}

// verbOf returns what is only said of a transition in logs and figures.
func verbOf(t *driver.Transition) driver.Verb {
	if t.Record.Revision == 1 {
		return driver.VerbStart
	}
	return driver.VerbSave
}

// Claim implements [driver.Store].
func (s *asStore) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.ClaimResponse{}, err
	}
	got, err := s.c.claim(ctx, req)
	if err != nil {
		return driver.ClaimResponse{}, err
	}
	return driver.ClaimResponse{Receipt: s.receipt(), Records: ofNoEpoch(got.records), Next: got.next.at}, nil
}

// Get implements [driver.Store].
func (s *asStore) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	records, _, err := onActive(ctx, s.c, opRead, "get", req.IDs, func(ctx context.Context, v *view) ([]driver.Record, error) {
		return v.active.get(ctx, req.IDs...)
	})
	return driver.GetResponse{Receipt: s.receipt(), Records: ofNoEpoch(records)}, err
}

// List implements [driver.Store].
func (s *asStore) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.ListResponse{}, err
	}
	page, err := s.c.List(ctx, Filter{Kinds: req.Kinds, Statuses: req.Statuses, Cursor: req.Cursor, Limit: req.Limit})
	return driver.ListResponse{Receipt: s.receipt(), Records: ofNoEpoch(page.Records), Next: page.Next}, err
}

// Changes implements [driver.Store]. What comes again after a failover is left
// out, as a consumer would leave it out.
func (s *asStore) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	told := newToldChanges()
	return s.c.Watch(ctx, WatchFilter{Cursor: req.Cursor, Records: req.Records}, func(b Changes) error {
		batch := driver.ChangeBatch{Receipt: s.receipt(), Cursor: b.Cursor}
		for _, ch := range b.Changes {
			if !told.isNew(ch) {
				continue
			}
			ch.Epoch = 0
			if ch.Record != nil {
				ch.Record.Epoch = 0
			}
			batch.Changes = append(batch.Changes, ch)
		}
		return emit(batch)
	})
}

// toldChanges is what a consumer of a feed has been told.
type toldChanges struct {
	last map[string]Change
	all  map[string]bool
}

func newToldChanges() *toldChanges {
	return &toldChanges{last: map[string]Change{}, all: map[string]bool{}}
}

// isNew notes a change, and reports whether it is newer than the last one of its
// workflow, or the first one of a workflow that has been forgotten and was
// started anew.
func (t *toldChanges) isNew(ch Change) bool {
	last := t.last[ch.ID]
	key := fmt.Sprint(ch.ID, " ", ch.Revision, ch.Status, ch.Due.UnixMilli())
	older := ch.Epoch < last.Epoch || ch.Epoch == last.Epoch && ch.Revision <= last.Revision
	if t.all[key] || older && ch.Revision > 1 {
		return false
	}
	t.last[ch.ID], t.all[key] = ch, true
	return true
}

// Epoch implements [driver.Store]: only the time of the answer means anything.
func (s *asStore) Epoch(ctx context.Context, _ driver.EpochRequest) (driver.EpochResponse, error) {
	resp, _, err := onActive(ctx, s.c, opRead, "time", nil, func(ctx context.Context, v *view) (driver.EpochResponse, error) {
		return v.active.store.Epoch(ctx, driver.EpochRequest{})
	})
	return driver.EpochResponse{Receipt: driver.Receipt{Time: resp.Time}}, err
}

func unsupported(op string) error {
	return &driver.Error{Class: driver.Unsupported, Op: op, Detail: "a chain does not offer it"}
}

// Merge implements [driver.Store], to bring records in: they are taken for those
// of the present epoch.
func (s *asStore) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.MergeResponse{}, err
	}
	resp := driver.MergeResponse{Verdicts: make([]driver.Verdict, len(req.Records))}
	var records []driver.Record
	for i := range req.Records {
		if resp.Verdicts[i].Err = req.ValidateAt(i); resp.Verdicts[i].Err == nil {
			records = append(records, req.Records[i].Clone())
		}
	}
	for {
		v := s.c.view.Load()
		for i := range records {
			records[i].Epoch = v.epoch.Number
		}
		_, err := s.c.carry(ctx, records, math.MaxUint64, func(*driver.Record) bool { return true })
		if err != errMoved { //nolint:errorlint // it is never wrapped
			resp.Receipt = s.receipt()
			return resp, err
		}
	}
}

// Advance implements [driver.Store].
func (s *asStore) Advance(context.Context, driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return driver.AdvanceResponse{}, unsupported("advance")
}

// Probe implements [driver.Store].
func (s *asStore) Probe(context.Context, driver.ProbeRequest) (driver.ProbeResponse, error) {
	return driver.ProbeResponse{}, unsupported("probe")
}

// Close implements [driver.Store].
func (s *asStore) Close(ctx context.Context) error { return s.c.Close(ctx) }
