// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"

	"github.com/understudy-dev/understudy/driver"
)

// observedStore is a store whose calls are measured and traced. Describe, Changes
// and Close pass through: they do nothing at the store, or last as long as
// somebody listens.
type observedStore struct {
	driver.Store
	t    *telemetry
	link string
}

// observe returns s, observed if anything is.
func (t *telemetry) observe(s driver.Store, link string) driver.Store {
	if t.off() {
		return s
	}
	return observedStore{s, t, link}
}

func observed[Q, R any](ctx context.Context, s observedStore, operation string, records int, call func(context.Context, Q) (R, error), req Q) (R, error) {
	ctx, sight := s.t.store(ctx, s.link, operation, records)
	resp, err := call(ctx, req)
	sight.end(err)
	return resp, err
}

func (s observedStore) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return observed(ctx, s, "commit", len(req.Transitions), s.Store.Commit, req)
}

func (s observedStore) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	return observed(ctx, s, "claim", 0, s.Store.Claim, req)
}

func (s observedStore) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return observed(ctx, s, "get", len(req.IDs), s.Store.Get, req)
}

func (s observedStore) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	return observed(ctx, s, "list", 0, s.Store.List, req)
}

func (s observedStore) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	return observed(ctx, s, "merge", len(req.Records), s.Store.Merge, req)
}

func (s observedStore) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	return observed(ctx, s, "epoch", 0, s.Store.Epoch, req)
}

func (s observedStore) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return observed(ctx, s, "advance", 0, s.Store.Advance, req)
}

func (s observedStore) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	return observed(ctx, s, "probe", 0, s.Store.Probe, req)
}
