// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"errors"
	"slices"
	"time"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

type commitFunc = func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error)

func onCommit(f commitFunc) func(driver.Store) driver.Store { return with(broken{commit: f}) }

// afterwards waits a while that is much too long.
func afterwards() {
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	<-timer.C
}

var lifeMutants = []mutant{
	{name: "returns after ctx", area: "Context", wrap: onCommit(
		func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < 100*time.Millisecond {
				afterwards()
			}
			return s.Commit(ctx, req)
		})},
	{name: "ends a feed long after ctx", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			err := s.Changes(ctx, req, emit)
			afterwards()
			return err
		})},
	{name: "begins what was cancelled before", area: "Context", wrap: onCommit(
		func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(context.WithoutCancel(ctx), req)
			if ctx.Err() != nil {
				return driver.CommitResponse{}, driver.ContextError(ctx, false)
			}
			return resp, err
		})},
	{name: "is unavailable after the effect", area: "Context", wrap: onCommit(
		func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if deadline, ok := ctx.Deadline(); ok && err == nil && time.Until(deadline) < 100*time.Millisecond {
				<-ctx.Done()
				return driver.CommitResponse{}, driver.ContextError(ctx, false)
			}
			return resp, err
		})},
	{name: "hides the error of the context", area: "Context", wrap: onCommit(
		func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if ctx.Err() != nil {
				err = driver.Unavailable
			}
			return resp, err
		})},
	{name: "calls an end by the context internal", area: "Context", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			if ctx.Err() != nil {
				err = &driver.Error{Class: driver.Internal, Cause: ctx.Err()}
			}
			return resp, err
		}})},
	{name: "answers reads from memory when ctx is done", area: "Context", wrap: with(broken{
		list: func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			return s.List(context.WithoutCancel(ctx), req)
		}})},
	{name: "needs a deadline", area: "Context", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			if _, ok := ctx.Deadline(); !ok {
				return driver.GetResponse{}, driver.Invalid
			}
			return s.Get(ctx, req)
		}})},
	{name: "cannot repeat what was interrupted", area: "Context", wrap: func(s driver.Store) driver.Store {
		var sent table[driver.Token, bool]
		return onCommit(func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			if again, _ := sent.load(req.Transitions[0].Record.Token); again {
				return driver.CommitResponse{}, driver.Internal
			}
			sent.store(req.Transitions[0].Record.Token, true)
			return s.Commit(ctx, req)
		})(s)
	}},

	{name: "has a Close that leaves calls working", area: "Close", wrap: with(broken{
		close: func(context.Context, driver.Store) error { return nil }})},
	{name: "reads on after Close", area: "Close", wrap: func(s driver.Store) driver.Store {
		return with(broken{get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			if errors.Is(err, driver.Unavailable) && ctx.Err() == nil {
				return driver.GetResponse{}, nil // from a cache
			}
			return resp, err
		}})(s)
	}},
	{name: "fails when it is closed again", area: "Close", wrap: func(s driver.Store) driver.Store {
		var closed table[string, bool]
		return with(broken{close: func(ctx context.Context, s driver.Store) error {
			if again, _ := closed.load(""); again {
				return driver.Unavailable
			}
			closed.store("", true)
			return s.Close(ctx)
		}})(s)
	}},
	{name: "calls a closed store an unknown outcome", area: "Close", wrap: onCommit(
		func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if errors.Is(err, driver.Unavailable) {
				err = driver.Unknown
			}
			return resp, err
		})},
	{name: "leaves feeds open at Close", area: "Close", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			err := s.Changes(ctx, req, emit)
			if errors.Is(err, driver.Unavailable) {
				<-ctx.Done()
				err = driver.ContextError(ctx, false)
			}
			return err
		})},
	{name: "empties the store at Close", area: "Close", spoil: func(h *contracttest.Harness, m *models) {
		open := h.Open
		h.Open = func(t contracttest.T, name string) (driver.Store, error) {
			s, err := open(t, name)
			return &broken{Store: s, close: func(ctx context.Context, s driver.Store) error {
				m.of(name).model.Erase()
				return s.Close(ctx)
			}}, err
		}
	}},

	{name: "writes a record to probe", area: "Probe", wrap: with(broken{
		probe: func(ctx context.Context, s driver.Store, req driver.ProbeRequest) (driver.ProbeResponse, error) {
			resp, err := s.Probe(ctx, req)
			if err != nil {
				return resp, err
			}
			now := driver.Millis(resp.Time)
			_, err = s.Merge(ctx, driver.MergeRequest{Guard: driver.Guard{Epoch: 1 << 60}, Records: []driver.Record{{
				ID: "probe", Kind: "probe", Revision: 1, Token: driver.NewToken(), Status: driver.Ready, Due: now, Created: now, Updated: now,
			}}})
			return resp, err
		}})},
	{name: "probes in the present epoch only", area: "Probe", wrap: with(broken{
		probe: func(ctx context.Context, s driver.Store, req driver.ProbeRequest) (driver.ProbeResponse, error) {
			if held, err := s.Epoch(ctx, driver.EpochRequest{}); err == nil && held.Epoch.State == driver.Handover {
				return driver.ProbeResponse{}, driver.Fenced
			}
			return s.Probe(ctx, req)
		}})},
	{name: "miscounts its records", area: "Probe", wrap: with(broken{
		probe: func(ctx context.Context, s driver.Store, req driver.ProbeRequest) (driver.ProbeResponse, error) {
			resp, err := s.Probe(ctx, req)
			resp.Records *= 2
			return resp, err
		}})},
	{name: "finds problems without a word", area: "Probe", wrap: with(broken{
		probe: func(ctx context.Context, s driver.Store, req driver.ProbeRequest) (driver.ProbeResponse, error) {
			resp, err := s.Probe(ctx, req)
			resp.Warnings = []driver.Problem{{Code: "hm"}}
			return resp, err
		}})},
	{name: "declares more than it has", area: "Describe", wrap: onDescribed(func(d *driver.DescribeResponse) {
		d.Capabilities = append(slices.Clone(d.Capabilities), driver.CapDurable)
	})},
	{name: "declares less than it has", area: "Describe", wrap: onDescribed(func(d *driver.DescribeResponse) { d.Capabilities = nil })},
	{name: "was built with another contract", area: "Describe", wrap: onDescribed(func(d *driver.DescribeResponse) { d.Contract++ })},
	{name: "describes itself anew each time", area: "Describe", wrap: onDescribed(func(d *driver.DescribeResponse) {
		d.Details = map[string]string{"token": driver.NewToken().String()}
	})},
	{name: "feeds changes that it does not declare", area: "Describe", wrap: onDescribed(func(d *driver.DescribeResponse) {
		d.Capabilities = []driver.Capability{driver.CapShared}
	}), spoil: func(h *contracttest.Harness, _ *models) { h.Capabilities = []driver.Capability{driver.CapShared} }},
	{name: "shares data without declaring it", area: "Describe", wrap: onDescribed(func(d *driver.DescribeResponse) {
		d.Capabilities = []driver.Capability{driver.CapChanges}
	}), spoil: func(h *contracttest.Harness, _ *models) { h.Capabilities = []driver.Capability{driver.CapChanges} }},
	{name: "declares that it is durable and is not", area: "Durable", wrap: onDescribed(func(d *driver.DescribeResponse) {
		d.Capabilities = append(slices.Clone(d.Capabilities), driver.CapDurable)
	}), spoil: func(h *contracttest.Harness, m *models) {
		h.Capabilities = append(slices.Clone(h.Capabilities), driver.CapDurable)
		h.Kill = func(contracttest.T, driver.Store) { m.eraseAll() }
	}},

	{name: "loses one of many calls at once", area: "Concurrent", wrap: func(s driver.Store) driver.Store {
		busy := make(chan struct{}, 4)
		return onCommit(func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			select {
			case busy <- struct{}{}:
				defer func() { <-busy }()
				return s.Commit(ctx, req)
			default:
				return driver.CommitResponse{}, driver.Unavailable
			}
		})(s)
	}},
	{name: "panics on what it does not know", area: "Get", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			_ = resp.Records[len(req.IDs)-1]
			return resp, err
		}})},
	{name: "hangs", hangs: true, area: "Merge", wrap: with(broken{
		merge: func(ctx context.Context, s driver.Store, _ driver.MergeRequest) (driver.MergeResponse, error) {
			err := s.Changes(context.WithoutCancel(ctx), driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
			return driver.MergeResponse{}, err
		}})},
}

func onDescribed(f func(*driver.DescribeResponse)) func(driver.Store) driver.Store {
	return with(broken{describe: func(ctx context.Context, s driver.Store) (driver.DescribeResponse, error) {
		resp, err := s.Describe(ctx, driver.DescribeRequest{})
		f(&resp)
		return resp, err
	}})
}
