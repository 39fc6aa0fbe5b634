// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"errors"
	"sync"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// mutant is a driver that breaks one sentence of the contract.
type mutant struct {
	name  string
	hangs bool                                 // until the time of the case is up
	area  string                               // that has to catch it
	wrap  func(driver.Store) driver.Store      // breaks a store
	spoil func(*contracttest.Harness, *models) // breaks something else instead
}

// broken is a store some of whose methods are replaced. The replacement gets the
// store below.
type broken struct {
	driver.Store
	commit   func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error)
	claim    func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error)
	get      func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error)
	list     func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error)
	merge    func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error)
	changes  func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error
	epoch    func(ctx context.Context, s driver.Store) (driver.EpochResponse, error)
	advance  func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error)
	probe    func(ctx context.Context, s driver.Store, req driver.ProbeRequest) (driver.ProbeResponse, error)
	describe func(ctx context.Context, s driver.Store) (driver.DescribeResponse, error)
	close    func(ctx context.Context, s driver.Store) error
}

func (b *broken) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	if b.commit != nil {
		return b.commit(ctx, b.Store, req)
	}
	return b.Store.Commit(ctx, req)
}

func (b *broken) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	if b.claim != nil {
		return b.claim(ctx, b.Store, req)
	}
	return b.Store.Claim(ctx, req)
}

func (b *broken) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if b.get != nil {
		return b.get(ctx, b.Store, req)
	}
	return b.Store.Get(ctx, req)
}

func (b *broken) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	if b.list != nil {
		return b.list(ctx, b.Store, req)
	}
	return b.Store.List(ctx, req)
}

func (b *broken) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	if b.merge != nil {
		return b.merge(ctx, b.Store, req)
	}
	return b.Store.Merge(ctx, req)
}

func (b *broken) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	if b.changes != nil {
		return b.changes(ctx, b.Store, req, emit)
	}
	return b.Store.Changes(ctx, req, emit)
}

func (b *broken) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	if b.epoch != nil {
		return b.epoch(ctx, b.Store)
	}
	return b.Store.Epoch(ctx, req)
}

func (b *broken) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	if b.advance != nil {
		return b.advance(ctx, b.Store, req)
	}
	return b.Store.Advance(ctx, req)
}

func (b *broken) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	if b.probe != nil {
		return b.probe(ctx, b.Store, req)
	}
	return b.Store.Probe(ctx, req)
}

func (b *broken) Describe(ctx context.Context, req driver.DescribeRequest) (driver.DescribeResponse, error) {
	if b.describe != nil {
		return b.describe(ctx, b.Store)
	}
	return b.Store.Describe(ctx, req)
}

func (b *broken) Close(ctx context.Context) error {
	if b.close != nil {
		return b.close(ctx, b.Store)
	}
	return b.Store.Close(ctx)
}

// with returns a wrap function that makes a broken store of its own for each
// connection.
func with(b broken) func(driver.Store) driver.Store {
	return func(s driver.Store) driver.Store {
		own := b
		own.Store = s
		return &own
	}
}

// onVerdict replaces the verdicts of a commit, one by one.
func onVerdict(f func(ctx context.Context, s driver.Store, t driver.Transition, v driver.Verdict) driver.Verdict) func(driver.Store) driver.Store {
	return with(broken{commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
		resp, err := s.Commit(ctx, req)
		for i, v := range resp.Verdicts {
			resp.Verdicts[i] = f(ctx, s, req.Transitions[i], v)
		}
		return resp, err
	}})
}

// onConflict replaces the verdicts that are conflicts.
func onConflict(f func(ctx context.Context, s driver.Store, t driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict) func(driver.Store) driver.Store {
	return onVerdict(func(ctx context.Context, s driver.Store, t driver.Transition, v driver.Verdict) driver.Verdict {
		if detailed, ok := errors.AsType[*driver.Error](v.Err); ok && detailed.Class == driver.Conflict {
			return f(ctx, s, t, v, detailed.Stored)
		}
		return v
	})
}

// onGot changes the records that Get returns.
func onGot(f func(r *driver.Record)) func(driver.Store) driver.Store {
	return with(broken{get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
		resp, err := s.Get(ctx, req)
		for i := range resp.Records {
			f(&resp.Records[i])
		}
		return resp, err
	}})
}

// force stores r as the successor of stored, whatever it says itself.
func force(ctx context.Context, s driver.Store, r driver.Record, stored *driver.Record) driver.Verdict {
	r.Revision = stored.Revision + 1
	resp, err := s.Commit(ctx, driver.CommitRequest{
		Guard: driver.Guard{Epoch: r.Epoch}, Transitions: []driver.Transition{{Base: stored.Token, Record: r}},
	})
	if err != nil {
		return driver.Verdict{Err: err}
	}
	return resp.Verdicts[0]
}

// atEpoch returns what an error tells of the store's epoch.
func atEpoch(err error, class driver.Class) *driver.Epoch {
	if detailed, ok := errors.AsType[*driver.Error](err); ok && detailed.Class == class {
		return detailed.Epoch
	}
	return nil
}

// table is a map for wrappers, safe for concurrent use.
type table[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]V
}

func (t *table[K, V]) load(k K) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.m[k]
	return v, ok
}

func (t *table[K, V]) store(k K, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[K]V{}
	}
	t.m[k] = v
}
