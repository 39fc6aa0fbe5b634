// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

type claimFunc = func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error)

func onClaim(f claimFunc) func(driver.Store) driver.Store { return with(broken{claim: f}) }

// onClaimed changes the answer of a claim.
func onClaimed(f func(resp *driver.ClaimResponse, req driver.ClaimRequest)) func(driver.Store) driver.Store {
	return onClaim(func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
		resp, err := s.Claim(ctx, req)
		if err == nil {
			f(&resp, req)
		}
		return resp, err
	})
}

var claimMutants = []mutant{
	{name: "hands one record to two claimers", area: "Claim", wrap: func(s driver.Store) driver.Store {
		var last table[string, []driver.Record]
		return onClaim(func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			resp, err := s.Claim(ctx, req)
			if former, ok := last.load(""); ok && len(resp.Records) < req.Limit && len(resp.Records) > 0 {
				resp.Records = append(resp.Records, former[0])
			}
			if len(resp.Records) > 1 {
				last.store("", resp.Records)
			}
			return resp, err
		})(s)
	}},
	{name: "claims without storing the lease", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			listed, err := s.List(ctx, driver.ListRequest{Kinds: req.Kinds, Statuses: []driver.Status{driver.Ready}, Limit: req.Limit})
			resp := driver.ClaimResponse{Receipt: listed.Receipt}
			for _, r := range listed.Records {
				stamp := driver.Stamp{Epoch: req.Epoch, Token: req.Token, Now: listed.Time}
				if t, err := driver.Claim(stamp, r, req.Owner, listed.Time.Add(req.Lease)); err == nil {
					resp.Records = append(resp.Records, t.Record)
				}
			}
			return resp, err
		})},
	{name: "ignores kinds", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Kinds = append(slices.Clone(req.Kinds), "red", "green", "blue")
			return s.Claim(ctx, req)
		})},
	{name: "looks at the first kind only", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Kinds = req.Kinds[:min(1, len(req.Kinds))]
			return s.Claim(ctx, req)
		})},
	{name: "ignores the limit", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Limit++
			return s.Claim(ctx, req)
		})},
	{name: "gives one record a call", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Limit = min(req.Limit, 1)
			return s.Claim(ctx, req)
		})},
	{name: "claims before the due time", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			resp, err := s.Claim(ctx, req)
			if err != nil || len(resp.Records) > 0 {
				return resp, err
			}
			listed, err := s.List(ctx, driver.ListRequest{Kinds: req.Kinds, Statuses: []driver.Status{driver.Ready}, Limit: 1})
			for _, r := range listed.Records {
				stamp := driver.Stamp{Epoch: req.Epoch, Token: req.Token, Now: r.Due}
				t, _ := driver.Claim(stamp, r, req.Owner, r.Due.Add(req.Lease))
				_, err = s.Commit(ctx, driver.CommitRequest{Guard: req.Guard, Transitions: []driver.Transition{t}})
				resp.Records = append(resp.Records, t.Record)
			}
			return resp, err
		})},
	{name: "waits for work", hangs: true, area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			resp, err := s.Claim(ctx, req)
			if err == nil && len(resp.Records) == 0 {
				<-ctx.Done()
				err = driver.ContextError(ctx, false)
			}
			return resp, err
		})},
	{name: "claims records of newer epochs", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			resp, err := s.Claim(ctx, req)
			if err != nil {
				return resp, err
			}
			listed, err := s.List(ctx, driver.ListRequest{Kinds: req.Kinds, Statuses: []driver.Status{driver.Ready}, Limit: 1})
			for _, r := range listed.Records {
				if r.Epoch > req.Epoch {
					resp.Records = append(resp.Records, r)
				}
			}
			return resp, err
		})},
	{name: "claims more on a repeat", area: "Claim", wrap: func(s driver.Store) driver.Store {
		var known table[driver.Token, bool]
		return onClaim(func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			if again, _ := known.load(req.Token); again {
				req.Token = driver.NewToken()
			}
			known.store(req.Token, true)
			return s.Claim(ctx, req)
		})(s)
	}},
	{name: "knows a repeat only after the first call", area: "Claim", wrap: func(s driver.Store) driver.Store {
		var running table[driver.Token, bool]
		return onClaim(func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			if again, _ := running.load(req.Token); again {
				req.Token = driver.NewToken()
			}
			running.store(req.Token, true)
			defer running.store(req.Token, false)
			resp, err := s.Claim(ctx, req)
			timer := time.NewTimer(5 * time.Millisecond)
			defer timer.Stop()
			<-timer.C
			return resp, err
		})(s)
	}},
	{name: "gives a repeat nothing", area: "Claim", wrap: func(s driver.Store) driver.Store {
		var known table[driver.Token, bool]
		return onClaim(func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			resp, err := s.Claim(ctx, req)
			if again, _ := known.load(req.Token); again {
				resp.Records = nil
			}
			known.store(req.Token, true)
			return resp, err
		})(s)
	}},
	{name: "gives a repeat what has changed since", area: "Claim", wrap: func(s driver.Store) driver.Store {
		var first table[driver.Token, driver.ClaimResponse]
		return onClaim(func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			if resp, again := first.load(req.Token); again {
				return resp, nil
			}
			resp, err := s.Claim(ctx, req)
			first.store(req.Token, resp)
			return resp, err
		})(s)
	}},
	{name: "does not count attempts", area: "Claim", wrap: onClaimed(
		func(resp *driver.ClaimResponse, _ driver.ClaimRequest) {
			for i := range resp.Records {
				resp.Records[i].Attempt = 0
			}
		})},
	{name: "makes leases too long", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Lease += time.Millisecond
			return s.Claim(ctx, req)
		})},
	{name: "ignores due order", area: "ClaimOrder", wrap: onClaimed(
		func(resp *driver.ClaimResponse, _ driver.ClaimRequest) { slices.Reverse(resp.Records) })},
	{name: "orders by kind before due time", area: "ClaimOrder", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			var all driver.ClaimResponse
			for _, k := range req.Kinds {
				one := req
				one.Kinds, one.Limit, one.Token = []string{k}, req.Limit-len(all.Records), driver.NewToken()
				if one.Limit == 0 {
					break
				}
				resp, err := s.Claim(ctx, one)
				if err != nil {
					return all, err
				}
				all.Receipt, all.Next, all.Records = resp.Receipt, resp.Next, append(all.Records, resp.Records...)
			}
			return all, nil
		})},
	{name: "tells no next due time", area: "ClaimOrder", wrap: onClaimed(
		func(resp *driver.ClaimResponse, _ driver.ClaimRequest) { resp.Next = time.Time{} })},
	{name: "tells a late next due time", area: "ClaimOrder", wrap: onClaimed(
		func(resp *driver.ClaimResponse, _ driver.ClaimRequest) {
			if !resp.Next.IsZero() {
				resp.Next = resp.Next.Add(time.Second)
			}
		})},
	{name: "leaves past times out of the next due time", area: "ClaimOrder", wrap: onClaimed(
		func(resp *driver.ClaimResponse, _ driver.ClaimRequest) {
			if resp.Next.Before(resp.Time) {
				resp.Next = time.Time{}
			}
		})},
	{name: "never ends a lease", area: "Claim", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Lease = driver.MaxLease
			return s.Claim(ctx, req)
		})},
	{name: "goes on with the lease that an extension shortened", area: "Extend", wrap: with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			req.Transitions = slices.Clone(req.Transitions)
			for i := range req.Transitions {
				if r := &req.Transitions[i].Record; r.Status == driver.Leased {
					r.Due = r.Due.Add(time.Hour)
				}
			}
			return s.Commit(ctx, req)
		}})},
}
