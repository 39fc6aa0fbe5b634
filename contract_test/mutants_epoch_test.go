// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

type advanceFunc = func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error)

func onAdvance(f advanceFunc) func(driver.Store) driver.Store { return with(broken{advance: f}) }

// onMerge changes the request of a merge.
func onMerge(f func(ctx context.Context, s driver.Store, req *driver.MergeRequest)) func(driver.Store) driver.Store {
	return with(broken{merge: func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error) {
		req.Records = slices.Clone(req.Records)
		f(ctx, s, &req)
		return s.Merge(ctx, req)
	}})
}

// overMerges keeps what a merge brings in place of what the store decides, where
// wins says so.
func overMerges(wins func(merged, stored *driver.Record) bool) func(driver.Store) driver.Store {
	var over table[string, driver.Record] // of all connections of the case, which use ids of their own
	return with(broken{
		merge: func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error) {
			for _, r := range req.Records {
				got, err := s.Get(ctx, driver.GetRequest{IDs: []string{r.ID}})
				if err == nil && len(got.Records) == 1 && wins(&r, &got.Records[0]) {
					over.store(r.ID, r.Clone())
				}
			}
			return s.Merge(ctx, req)
		},
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			for i, r := range resp.Records {
				if merged, ok := over.load(r.ID); ok {
					resp.Records[i] = merged.Clone()
				}
			}
			return resp, err
		},
	})
}

// unfencedCommit makes a commit again in the epoch that stands.
func unfencedCommit(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
	resp, err := s.Commit(ctx, req)
	if held := atEpoch(err, driver.Fenced); held != nil && held.State == driver.Serving {
		req.Epoch = held.Number
		req.Transitions = slices.Clone(req.Transitions)
		for i := range req.Transitions {
			req.Transitions[i].Record.Epoch = held.Number
		}
		return s.Commit(ctx, req)
	}
	return resp, err
}

var epochMutants = []mutant{
	{name: "ignores the fence on commit", area: "Fence", wrap: with(broken{commit: unfencedCommit})},
	{name: "ignores the fence on claim", area: "Fence", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			resp, err := s.Claim(ctx, req)
			if held := atEpoch(err, driver.Fenced); held != nil {
				req.Epoch = held.Number
				return s.Claim(ctx, req)
			}
			return resp, err
		})},
	{name: "ignores the fence on merge", area: "Fence", wrap: with(broken{
		merge: func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error) {
			resp, err := s.Merge(ctx, req)
			if held := atEpoch(err, driver.Fenced); held != nil {
				req.Epoch = held.Number
				return s.Merge(ctx, req)
			}
			return resp, err
		}})},
	{name: "fences one connection only", area: "Fence", wrap: func(s driver.Store) driver.Store {
		var advanced table[string, bool]
		return with(broken{
			advance: func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
				advanced.store("", true)
				return s.Advance(ctx, req)
			},
			commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
				if knows, _ := advanced.load(""); knows {
					return s.Commit(ctx, req)
				}
				return unfencedCommit(ctx, s, req)
			},
		})(s)
	}},
	{name: "fences without the epoch", area: "Fence", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if errors.Is(err, driver.Fenced) {
				err = driver.Fenced
			}
			return resp, err
		}})},
	{name: "commits during a handover", area: "Fence", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			held := atEpoch(err, driver.Fenced)
			if held == nil || held.State != driver.Handover || held.Number != req.Epoch {
				return resp, err
			}
			merge := driver.MergeRequest{Guard: req.Guard}
			for _, t := range req.Transitions {
				merge.Records = append(merge.Records, t.Record)
			}
			merged, err := s.Merge(ctx, merge)
			return driver.CommitResponse(merged), err
		}})},
	{name: "merges nothing during a handover", area: "Fence", wrap: with(broken{
		merge: func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error) {
			held, err := s.Epoch(ctx, driver.EpochRequest{})
			if err == nil && held.Epoch.State == driver.Handover {
				return driver.MergeResponse{}, &driver.Error{Class: driver.Fenced, Epoch: &held.Epoch}
			}
			return s.Merge(ctx, req)
		}})},
	{name: "takes commits of an epoch it has missed", area: "Fence", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if held := atEpoch(err, driver.Lost); held != nil {
				merge := driver.MergeRequest{Guard: req.Guard, Records: []driver.Record{req.Transitions[0].Record}}
				merged, err := s.Merge(ctx, merge)
				return driver.CommitResponse(merged), err
			}
			return resp, err
		}})},
	{name: "fences late", area: "Fence", wrap: lateFence()},
	{name: "fences by version", area: "Fence", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			held, err := s.Epoch(ctx, driver.EpochRequest{})
			if err == nil && held.Epoch.Version > 0 {
				return driver.CommitResponse{}, &driver.Error{Class: driver.Fenced, Epoch: &held.Epoch}
			}
			return s.Commit(ctx, req)
		}})},

	{name: "advances without compare", area: "Epoch", wrap: onAdvance(
		func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
			resp, err := s.Advance(ctx, req)
			if held := atEpoch(err, driver.Conflict); held != nil {
				req.Expect = held.At()
				if req.Next.Number == held.Number {
					req.Next.Version = held.Version + 1
				}
				return s.Advance(ctx, req)
			}
			return resp, err
		})},
	{name: "refuses the repeat of an advance", area: "Epoch", wrap: onAdvance(
		func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
			held, err := s.Epoch(ctx, driver.EpochRequest{})
			if err == nil && held.Epoch.Equal(req.Next) {
				return driver.AdvanceResponse{}, &driver.Error{Class: driver.Conflict, Epoch: &held.Epoch}
			}
			return s.Advance(ctx, req)
		})},
	{name: "answers an advance without storing it", area: "Epoch", wrap: onAdvance(
		func(_ context.Context, _ driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
			return driver.AdvanceResponse{Epoch: req.Next.Clone()}, nil
		})},
	{name: "takes an epoch that does not follow", area: "Epoch", wrap: onAdvance(
		func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
			resp, err := s.Advance(ctx, req)
			if errors.Is(err, driver.Invalid) {
				return driver.AdvanceResponse{Epoch: req.Next}, nil
			}
			return resp, err
		})},
	{name: "loses the in-sync set", area: "Epoch", wrap: with(broken{
		epoch: func(ctx context.Context, s driver.Store) (driver.EpochResponse, error) {
			resp, err := s.Epoch(ctx, driver.EpochRequest{})
			resp.Epoch.InSync = nil
			return resp, err
		}})},
	{name: "loses the incarnations", area: "Epoch", wrap: with(broken{
		epoch: func(ctx context.Context, s driver.Store) (driver.EpochResponse, error) {
			resp, err := s.Epoch(ctx, driver.EpochRequest{})
			resp.Epoch.Incarnations = nil
			return resp, err
		}})},
	{name: "keeps incarnations as doubles", area: "Epoch", wrap: with(broken{
		epoch: func(ctx context.Context, s driver.Store) (driver.EpochResponse, error) {
			resp, err := s.Epoch(ctx, driver.EpochRequest{})
			for i, known := range resp.Epoch.Incarnations {
				resp.Epoch.Incarnations[i].Incarnation = known.Incarnation &^ 0x7ff
			}
			return resp, err
		}})},
	{name: "conflicts without the epoch", area: "Epoch", wrap: onAdvance(
		func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
			resp, err := s.Advance(ctx, req)
			if errors.Is(err, driver.Conflict) {
				err = driver.Conflict
			}
			return resp, err
		})},

	{name: "merges an older record", area: "Merge", wrap: overMerges(func(*driver.Record, *driver.Record) bool { return true })},
	{name: "merges by revision before epoch", area: "Merge", wrap: overMerges(func(merged, stored *driver.Record) bool {
		return merged.Revision > stored.Revision
	})},
	{name: "merges by revision before creation", area: "Merge", wrap: overMerges(func(merged, stored *driver.Record) bool {
		return merged.Epoch == stored.Epoch && merged.Revision > stored.Revision
	})},
	{name: "breaks ties of merges by arrival", area: "Merge", wrap: overMerges(func(merged, stored *driver.Record) bool {
		return merged.Epoch == stored.Epoch && merged.Revision == stored.Revision
	})},
	{name: "breaks ties of merges by the lower token", area: "Merge", wrap: overMerges(func(merged, stored *driver.Record) bool {
		return merged.Epoch == stored.Epoch && merged.Revision == stored.Revision && bytes.Compare(merged.Token[:], stored.Token[:]) < 0
	})},
	{name: "says that every merge was applied", area: "Merge", wrap: with(broken{
		merge: func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error) {
			resp, err := s.Merge(ctx, req)
			for i := range resp.Verdicts {
				resp.Verdicts[i].Applied = resp.Verdicts[i].Err == nil
			}
			return resp, err
		}})},
	{name: "calls an older record a conflict", area: "Merge", wrap: with(broken{
		merge: func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error) {
			resp, err := s.Merge(ctx, req)
			for i, v := range resp.Verdicts {
				if v.Err == nil && !v.Applied {
					resp.Verdicts[i].Err = driver.Conflict
				}
			}
			return resp, err
		}})},
	{name: "merges bases only", area: "Merge", wrap: onMerge(
		func(_ context.Context, _ driver.Store, req *driver.MergeRequest) {
			req.Records = slices.DeleteFunc(req.Records, func(r driver.Record) bool { return r.Revision > 1 })
		})},
	{name: "merges records of the present epoch only", area: "Merge", wrap: onMerge(
		func(_ context.Context, _ driver.Store, req *driver.MergeRequest) {
			for i := range req.Records {
				if req.Records[i].Epoch < req.Epoch {
					req.Records[i].Status = driver.Absent
				}
			}
		})},
	{name: "merges records above the epoch of the request", area: "Merge", wrap: onMerge(
		func(_ context.Context, _ driver.Store, req *driver.MergeRequest) {
			for _, r := range req.Records {
				req.Epoch = max(req.Epoch, r.Epoch)
			}
		})},

	{name: "ignores what was seen on commit", area: "Rollback", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			req.Seen = nil
			return s.Commit(ctx, req)
		}})},
	{name: "ignores what was seen on claim", area: "Rollback", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Seen = nil
			return s.Claim(ctx, req)
		})},
	{name: "ignores what was seen on merge", area: "Rollback", wrap: onMerge(
		func(_ context.Context, _ driver.Store, req *driver.MergeRequest) { req.Seen = nil })},
	{name: "ignores what was seen on advance", area: "Rollback", wrap: onAdvance(
		func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
			req.Seen = nil
			return s.Advance(ctx, req)
		})},
	{name: "ignores what was seen on reads", area: "Rollback", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			req.Seen = nil
			return s.Get(ctx, req)
		},
		list: func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			req.Seen = nil
			return s.List(ctx, req)
		}})},
	{name: "ignores what was seen on changes", area: "Rollback", wrap: with(broken{
		changes: func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			req.Seen = nil
			return s.Changes(ctx, req, emit)
		}})},
	{name: "probes an emptied store as healthy", area: "Rollback", wrap: with(broken{
		probe: func(ctx context.Context, s driver.Store, req driver.ProbeRequest) (driver.ProbeResponse, error) {
			req.Seen = nil
			return s.Probe(ctx, req)
		}})},
	{name: "looks at sequences and not at incarnations", area: "Rollback", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			if held, err := s.Epoch(ctx, driver.EpochRequest{}); err == nil {
				req.Seen = slices.Clone(req.Seen)
				for i := range req.Seen {
					req.Seen[i].Incarnation = held.Marks[0].Incarnation
				}
			}
			return s.Commit(ctx, req)
		}})},
	{name: "checks the fence before what was seen", area: "Rollback", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if held, heldErr := s.Epoch(ctx, driver.EpochRequest{}); heldErr == nil && errors.Is(err, driver.Lost) {
				if fenced := held.Epoch.Admit(req.Epoch); fenced != nil {
					err = fenced
				}
			}
			return resp, err
		}})},
	{name: "checks the request before the fence", area: "Rollback", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			if err := req.Validate(); err != nil {
				return driver.CommitResponse{}, err
			}
			return s.Commit(ctx, req)
		}})},
	{name: "gives marks that go back", area: "Marks", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			for i := range resp.Marks {
				resp.Marks[i].Sequence--
			}
			return resp, err
		}})},
	{name: "gives marks that stand still", area: "Marks", wrap: func(s driver.Store) driver.Store {
		var first table[string, driver.Marks]
		return with(broken{commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if marks, ok := first.load(""); ok {
				resp.Marks = slices.Clone(marks)
			} else {
				first.store("", slices.Clone(resp.Marks))
			}
			return resp, err
		}})(s)
	}},
	{name: "gives no marks", area: "Marks", wrap: with(broken{
		list: func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			resp, err := s.List(ctx, req)
			resp.Marks = nil
			return resp, err
		}})},
	{name: "gives no time", area: "Marks", wrap: onClaimed(
		func(resp *driver.ClaimResponse, _ driver.ClaimRequest) {
			resp.Receipt = driver.Receipt{Marks: resp.Marks}
		})},
	{name: "shares records between chains", area: "Chain", spoil: func(h *contracttest.Harness, m *models) {
		h.Open = func(contracttest.T, string) (driver.Store, error) { return m.of("one for all").model.Connect(), nil }
	}},
	{name: "shares the epoch between chains", area: "Chain", spoil: func(h *contracttest.Harness, m *models) {
		open := h.Open
		h.Open = func(t contracttest.T, name string) (driver.Store, error) {
			s, err := open(t, name)
			shared := m.of("one for all").model.Connect()
			return &broken{
				Store: s,
				epoch: func(ctx context.Context, _ driver.Store) (driver.EpochResponse, error) {
					return shared.Epoch(ctx, driver.EpochRequest{})
				},
				advance: func(ctx context.Context, _ driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
					return shared.Advance(ctx, req)
				},
			}, err
		}
	}},
}

// lateFence lets commits of the epoch before pass for a few calls more.
func lateFence() func(driver.Store) driver.Store {
	return func(s driver.Store) driver.Store {
		var after table[uint64, int]
		return with(broken{commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if held := atEpoch(err, driver.Fenced); held != nil && held.Number == req.Epoch+1 {
				n, _ := after.load(req.Epoch)
				after.store(req.Epoch, n+1)
				if n < 3 {
					return unfencedCommit(ctx, s, req)
				}
			}
			return resp, err
		}})(s)
	}
}
