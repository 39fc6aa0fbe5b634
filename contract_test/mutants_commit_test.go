// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"errors"
	"slices"

	"github.com/understudy-dev/understudy/driver"
)

var commitMutants = []mutant{
	{name: "ignores the revision", area: "Commit", wrap: onConflict(
		func(ctx context.Context, s driver.Store, t driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict {
			if stored.Token != t.Base {
				return v
			}
			return force(ctx, s, t.Record, stored)
		})},
	{name: "ignores the base token", area: "Commit", wrap: onConflict(
		func(ctx context.Context, s driver.Store, t driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict {
			if stored.Revision+1 != t.Record.Revision || stored.Epoch > t.Record.Epoch {
				return v
			}
			return force(ctx, s, t.Record, stored)
		})},
	{name: "accepts an old lease", area: "Lease", wrap: onConflict(
		func(ctx context.Context, s driver.Store, t driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict {
			if stored.Status != driver.Leased {
				return v
			}
			return force(ctx, s, t.Record, stored)
		})},
	{name: "goes back in epoch", area: "Commit", wrap: onConflict(
		func(_ context.Context, _ driver.Store, t driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict {
			if stored.Epoch <= t.Record.Epoch {
				return v
			}
			return driver.Verdict{Applied: true}
		})},
	{name: "lets a second start of an id pass", area: "Commit", wrap: onVerdict(
		func(_ context.Context, _ driver.Store, _ driver.Transition, v driver.Verdict) driver.Verdict {
			if errors.Is(v.Err, driver.Exists) {
				return driver.Verdict{Applied: true}
			}
			return v
		})},
	{name: "creates what is not there", area: "Commit", wrap: onVerdict(
		func(ctx context.Context, s driver.Store, t driver.Transition, v driver.Verdict) driver.Verdict {
			if !errors.Is(v.Err, driver.NotFound) {
				return v
			}
			resp, err := s.Merge(ctx, driver.MergeRequest{Guard: driver.Guard{Epoch: t.Record.Epoch}, Records: []driver.Record{t.Record}})
			if err != nil {
				return driver.Verdict{Err: err}
			}
			return resp.Verdicts[0]
		})},
	{name: "conflicts without the stored record", area: "Commit", wrap: onConflict(
		func(_ context.Context, _ driver.Store, _ driver.Transition, _ driver.Verdict, _ *driver.Record) driver.Verdict {
			return driver.Verdict{Err: &driver.Error{Class: driver.Conflict, Op: "commit"}}
		})},
	{name: "gives errors without a class", area: "Commit", wrap: onVerdict(
		func(_ context.Context, _ driver.Store, _ driver.Transition, v driver.Verdict) driver.Verdict {
			if v.Err != nil {
				v.Err = errors.New(v.Err.Error())
			}
			return v
		})},
	{name: "takes records of another epoch", area: "Commit", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			req.Transitions = slices.Clone(req.Transitions)
			for i := range req.Transitions {
				req.Transitions[i].Record.Epoch = req.Epoch
			}
			return s.Commit(ctx, req)
		}})},
	{name: "acknowledges and stores nothing", area: "Commit", wrap: with(broken{
		commit: func(_ context.Context, _ driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp := driver.CommitResponse{Verdicts: make([]driver.Verdict, len(req.Transitions))}
			for i := range resp.Verdicts {
				resp.Verdicts[i].Applied = true
			}
			return resp, nil
		}})},
	{name: "retries a conflict until the context ends", hangs: true, area: "Commit", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			for {
				resp, err := s.Commit(ctx, req)
				if err != nil || !slices.ContainsFunc(resp.Verdicts, func(v driver.Verdict) bool { return errors.Is(v.Err, driver.Conflict) }) {
					return resp, err
				}
			}
		}})},
	{name: "sends everything twice", area: "Commit", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			if _, err := s.Commit(ctx, req); err != nil {
				return driver.CommitResponse{}, err
			}
			return s.Commit(ctx, req)
		}})},

	{name: "forgets tokens", area: "Repeat", wrap: onVerdict(
		func(_ context.Context, _ driver.Store, t driver.Transition, v driver.Verdict) driver.Verdict {
			if v.Err == nil && !v.Applied {
				v.Err = &driver.Error{Class: driver.Conflict, Stored: &t.Record}
			}
			return v
		})},
	{name: "says that a repeat was applied", area: "Repeat", wrap: onVerdict(
		func(_ context.Context, _ driver.Store, _ driver.Transition, v driver.Verdict) driver.Verdict {
			v.Applied = v.Err == nil
			return v
		})},
	{name: "takes every conflict with a known token for a repeat", area: "Repeat", wrap: onConflict(
		func(_ context.Context, _ driver.Store, t driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict {
			if stored.Token == t.Record.Token {
				return driver.Verdict{}
			}
			return v
		})},
	{name: "takes what was overtaken for a repeat", area: "Repeat", wrap: onConflict(
		func(_ context.Context, _ driver.Store, t driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict {
			if stored.Revision > t.Record.Revision {
				return driver.Verdict{}
			}
			return v
		})},

	{name: "fails the batch for one refusal", area: "Batch", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			for _, v := range resp.Verdicts {
				if err == nil {
					err = v.Err
				}
			}
			return resp, err
		}})},
	{name: "gives up behind the first refusal", area: "Batch", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			var all driver.CommitResponse
			for i := range req.Transitions {
				one := req
				one.Transitions = req.Transitions[i : i+1]
				resp, err := s.Commit(ctx, one)
				if err != nil {
					return all, err
				}
				all.Receipt, all.Verdicts = resp.Receipt, append(all.Verdicts, resp.Verdicts...)
				if resp.Verdicts[0].Err != nil {
					for range req.Transitions[i+1:] {
						all.Verdicts = append(all.Verdicts, driver.Verdict{Err: driver.Unavailable})
					}
					break
				}
			}
			return all, nil
		}})},
	{name: "applies a batch backwards", area: "Batch", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			req.Transitions = slices.Clone(req.Transitions)
			slices.Reverse(req.Transitions)
			resp, err := s.Commit(ctx, req)
			slices.Reverse(resp.Verdicts)
			return resp, err
		}})},
	{name: "mixes up the verdicts", area: "Batch", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			slices.Reverse(resp.Verdicts)
			return resp, err
		}})},
	{name: "applies part of a batch that is too large", area: "Batch", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if errors.Is(err, driver.TooLarge) {
				req.Transitions = req.Transitions[:10]
				_, _ = s.Commit(ctx, req)
			}
			return resp, err
		}})},
	{name: "takes batches up to 255", area: "Batch", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			if len(req.Transitions) == driver.MaxBatch {
				return driver.CommitResponse{}, driver.TooLarge
			}
			return s.Commit(ctx, req)
		}})},
}
