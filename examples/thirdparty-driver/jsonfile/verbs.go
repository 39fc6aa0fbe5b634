// SPDX-License-Identifier: Apache-2.0

package jsonfile

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Commit implements driver.Store.
func (s *Store) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	req.Transitions = slices.Clone(req.Transitions)
	for i := range req.Transitions {
		req.Transitions[i].Record = req.Transitions[i].Record.Clone()
	}
	return mutate(ctx, s, "commit", func(c *content, now time.Time) (driver.CommitResponse, error) {
		if err := c.guard(req.Guard, c.Epoch.Admit); err != nil {
			return driver.CommitResponse{}, err
		}
		if err := req.Validate(); err != nil {
			return driver.CommitResponse{}, err
		}
		verdicts := make([]driver.Verdict, len(req.Transitions))
		for i := range req.Transitions {
			verdicts[i] = c.commit(&req, i)
		}
		return driver.CommitResponse{Receipt: c.receipt(now), Verdicts: verdicts}, nil
	})
}

// Merge implements driver.Store.
func (s *Store) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	req.Records = slices.Clone(req.Records)
	for i := range req.Records {
		req.Records[i] = req.Records[i].Clone()
	}
	return mutate(ctx, s, "merge", func(c *content, now time.Time) (driver.MergeResponse, error) {
		if err := c.guard(req.Guard, c.Epoch.AdmitMerge); err != nil {
			return driver.MergeResponse{}, err
		}
		if err := req.Validate(); err != nil {
			return driver.MergeResponse{}, err
		}
		verdicts := make([]driver.Verdict, len(req.Records))
		for i := range req.Records {
			verdicts[i] = c.merge(&req, i)
		}
		return driver.MergeResponse{Receipt: c.receipt(now), Verdicts: verdicts}, nil
	})
}

// Claim implements driver.Store.
func (s *Store) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	req.Kinds = slices.Clone(req.Kinds)
	return mutate(ctx, s, "claim", func(c *content, now time.Time) (driver.ClaimResponse, error) {
		if err := c.guard(req.Guard, c.Epoch.Admit); err != nil {
			return driver.ClaimResponse{}, err
		}
		if err := req.Validate(); err != nil {
			return driver.ClaimResponse{}, err
		}
		given, err := c.claim(&req, now)
		if err != nil {
			return driver.ClaimResponse{}, err
		}
		return driver.ClaimResponse{Receipt: c.receipt(now), Records: given, Next: c.next(&req, given)}, nil
	})
}

// Epoch implements driver.Store.
func (s *Store) Epoch(ctx context.Context, _ driver.EpochRequest) (driver.EpochResponse, error) {
	if err := s.refuses(ctx); err != nil {
		return driver.EpochResponse{}, driver.In(err, name, "epoch")
	}
	c := s.content.Load()
	return driver.EpochResponse{Receipt: c.receipt(time.Now()), Epoch: c.Epoch.Clone()}, nil
}

// Advance implements driver.Store.
func (s *Store) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	req.Next = req.Next.Clone()
	return mutate(ctx, s, "advance", func(c *content, now time.Time) (driver.AdvanceResponse, error) {
		if err := c.marks().Check(req.Seen); err != nil {
			return driver.AdvanceResponse{}, err
		}
		apply, err := c.Epoch.AdmitAdvance(req.Expect, req.Next)
		if err != nil {
			return driver.AdvanceResponse{}, err
		}
		if apply {
			c.Epoch = req.Next
			c.Sequence++
		}
		return driver.AdvanceResponse{Receipt: c.receipt(now), Epoch: c.Epoch.Clone()}, nil
	})
}

// Get implements driver.Store.
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := s.refuses(ctx); err != nil {
		return driver.GetResponse{}, driver.In(err, name, "get")
	}
	c, now := s.content.Load(), time.Now()
	if err := c.marks().Check(req.Seen); err != nil {
		return driver.GetResponse{}, driver.In(err, name, "get")
	}
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, driver.In(err, name, "get")
	}
	resp := driver.GetResponse{Receipt: c.receipt(now)}
	for _, id := range req.IDs {
		if r, held := c.Records[id]; held && !expired(r, now) {
			resp.Records = append(resp.Records, r.Clone())
		}
	}
	return resp, nil
}

// List implements driver.Store.
func (s *Store) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	if err := s.refuses(ctx); err != nil {
		return driver.ListResponse{}, driver.In(err, name, "list")
	}
	c, now := s.content.Load(), time.Now()
	if err := c.marks().Check(req.Seen); err != nil {
		return driver.ListResponse{}, driver.In(err, name, "list")
	}
	if err := req.Validate(); err != nil {
		return driver.ListResponse{}, driver.In(err, name, "list")
	}
	resp, err := c.page(&req, now)
	return resp, driver.In(err, name, "list")
}
