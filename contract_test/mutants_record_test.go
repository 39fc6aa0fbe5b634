// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// onStored changes records on their way into the store.
func onStored(f func(r *driver.Record)) func(driver.Store) driver.Store {
	return with(broken{
		commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			req.Transitions = slices.Clone(req.Transitions)
			for i := range req.Transitions {
				f(&req.Transitions[i].Record)
			}
			return s.Commit(ctx, req)
		},
		merge: func(ctx context.Context, s driver.Store, req driver.MergeRequest) (driver.MergeResponse, error) {
			req.Records = slices.Clone(req.Records)
			for i := range req.Records {
				f(&req.Records[i])
			}
			return s.Merge(ctx, req)
		},
	})
}

// losesFields returns a mutant for each field of a record, which comes back zero.
func losesFields() []mutant {
	var out []mutant
	fields := reflect.TypeFor[driver.Record]()
	for i := range fields.NumField() {
		if name := fields.Field(i).Name; name != "ID" {
			out = append(out, mutant{name: "loses " + name, area: "Record", wrap: onGot(func(r *driver.Record) {
				reflect.ValueOf(r).Elem().Field(i).SetZero()
			})})
		}
	}
	return out
}

var recordMutants = append(losesFields(), []mutant{
	{name: "loses the labels in listings", area: "Record", wrap: onListed(func(resp *driver.ListResponse, _ driver.ListRequest) {
		for i := range resp.Records {
			resp.Records[i].Labels = nil
		}
	})},
	{name: "loses the lease owner", area: "Record", wrap: onGot(func(r *driver.Record) { r.Lease.Owner = "" })},
	{name: "takes bytes for text", area: "Record", wrap: onGot(func(r *driver.Record) { r.Input = []byte(string([]rune(string(r.Input)))) })},
	{name: "cuts bytes at the first zero", area: "Record", wrap: onGot(func(r *driver.Record) {
		if i := slices.Index(r.State, 0); i >= 0 {
			r.State = r.State[:i]
		}
	})},
	{name: "keeps numbers as floats", area: "Record", wrap: onGot(func(r *driver.Record) { r.Revision = uint64(float64(r.Revision)) })},
	{name: "gives empty slices for nil", area: "Record", wrap: onGot(func(r *driver.Record) {
		if r.Output == nil {
			r.Output = []byte{}
		}
	})},
	{name: "gives an empty map for nil", area: "Record", wrap: onGot(func(r *driver.Record) {
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
	})},
	{name: "trims ids", area: "Get", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			for i, id := range req.IDs {
				if id == "a " {
					req.IDs[i] = "a"
				}
			}
			return s.Get(ctx, req)
		}})},

	{name: "loses sub-second time", area: "Time", wrap: onStored(func(r *driver.Record) {
		for _, t := range []*time.Time{&r.Due, &r.Created, &r.Updated, &r.Expires} {
			if !t.IsZero() {
				*t = t.Truncate(time.Second)
			}
		}
	})},
	{name: "gives local time", area: "Time", wrap: onGot(func(r *driver.Record) { r.Created = r.Created.In(time.FixedZone("here", 3600)) })},
	{name: "gives 1970 for no time", area: "Time", wrap: onGot(func(r *driver.Record) {
		if r.Expires.IsZero() {
			r.Expires = time.UnixMilli(0).UTC()
		}
	})},
	{name: "rounds finer times instead of refusing them", area: "Time", wrap: onStored(func(r *driver.Record) { r.Due = driver.Millis(r.Due) })},
	{name: "keeps times in 32 bits", area: "Time", wrap: onGot(func(r *driver.Record) {
		if !r.Due.IsZero() {
			r.Due = time.UnixMilli(int64(int32(r.Due.Unix()))*1000 + r.Due.UnixMilli()%1000).UTC()
		}
	})},
	{name: "has a clock that goes back", area: "Time", wrap: func(s driver.Store) driver.Store {
		var calls table[string, int]
		return with(broken{epoch: func(ctx context.Context, s driver.Store) (driver.EpochResponse, error) {
			resp, err := s.Epoch(ctx, driver.EpochRequest{})
			n, _ := calls.load("")
			calls.store("", n+1)
			resp.Time = resp.Time.Add(-time.Duration(n%2) * time.Minute)
			return resp, err
		}})(s)
	}},

	{name: "cuts long texts instead of refusing them", area: "Limits", wrap: onStored(func(r *driver.Record) {
		r.Failure = r.Failure[:min(len(r.Failure), driver.MaxFailureBytes)]
	})},
	{name: "takes less than the limit", area: "Limits", wrap: onVerdict(
		func(_ context.Context, _ driver.Store, t driver.Transition, v driver.Verdict) driver.Verdict {
			if len(t.Record.Step) == driver.MaxStepBytes {
				v = driver.Verdict{Err: driver.TooLarge}
			}
			return v
		})},
	{name: "calls too large invalid", area: "Limits", wrap: onVerdict(
		func(_ context.Context, _ driver.Store, _ driver.Transition, v driver.Verdict) driver.Verdict {
			if errors.Is(v.Err, driver.TooLarge) {
				v.Err = driver.Invalid
			}
			return v
		})},
	{name: "refuses without saying why", area: "Limits", wrap: onVerdict(
		func(_ context.Context, _ driver.Store, _ driver.Transition, v driver.Verdict) driver.Verdict {
			if v.Err != nil {
				v.Err = driver.ClassOf(v.Err)
			}
			return v
		})},
	{name: "repairs what breaks a rule", area: "Limits", wrap: onStored(func(r *driver.Record) {
		if r.Token.IsZero() {
			r.Token = driver.NewToken()
		}
	})},
	{name: "takes any limit of a claim", area: "Limits", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			req.Limit = min(max(req.Limit, 1), driver.MaxBatch)
			return s.Claim(ctx, req)
		})},

	{name: "forgets finished records early", area: "Retention", wrap: onRead(func(r driver.Record) bool { return !r.Expires.IsZero() })},
	{name: "forgets finished records without an expiry", area: "Retention", wrap: onRead(func(r driver.Record) bool {
		return r.Status.Finished() && r.Expires.IsZero()
	})},
	{name: "forgets a requeued record when it would have expired", area: "Retention", wrap: onClaim(
		func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
			resp, err := s.Claim(ctx, req)
			resp.Records = slices.DeleteFunc(resp.Records, func(r driver.Record) bool { return r.Failure != "" })
			return resp, err
		})},
	{name: "feeds changes of forgotten records", area: "Retention", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			wanted := req.Records
			req.Records = false
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				for i, change := range b.Changes {
					resp, err := s.Get(ctx, driver.GetRequest{IDs: []string{change.ID}})
					if err == nil && wanted && len(resp.Records) == 1 {
						b.Changes[i].Record = &resp.Records[0]
					}
				}
				return emit(b)
			})
		})},
	{name: "forgets records by half", area: "Retention", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			for _, id := range req.IDs {
				if err == nil && len(resp.Records) == 0 && id != "never" {
					resp.Records = append(resp.Records, driver.Record{ID: id})
				}
			}
			return resp, err
		}})},

	{name: "keeps the caller's slices", area: "Ownership", wrap: keepsSlices()},
	{name: "gives its own slices away", area: "Ownership", wrap: givesSlices()},
	{name: "gives its own labels away in errors", area: "Ownership", wrap: func(s driver.Store) driver.Store {
		var kept table[string, map[string]string]
		return onConflict(func(_ context.Context, _ driver.Store, _ driver.Transition, v driver.Verdict, stored *driver.Record) driver.Verdict {
			kept.store(stored.ID, stored.Labels)
			return v
		})(onGot(func(r *driver.Record) {
			if labels, ok := kept.load(r.ID); ok {
				r.Labels = labels
			}
		})(s))
	}},
	{name: "keeps the in-sync set of an advance", area: "Ownership", wrap: func(s driver.Store) driver.Store {
		var kept table[string, []string]
		return with(broken{
			advance: func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
				kept.store("", req.Next.InSync)
				return s.Advance(ctx, req)
			},
			epoch: func(ctx context.Context, s driver.Store) (driver.EpochResponse, error) {
				resp, err := s.Epoch(ctx, driver.EpochRequest{})
				if set, ok := kept.load(""); ok {
					resp.Epoch.InSync = set
				}
				return resp, err
			},
		})(s)
	}},
	{name: "keeps the incarnations of an advance", area: "Ownership", wrap: func(s driver.Store) driver.Store {
		var kept table[string, []driver.LinkIncarnation]
		return with(broken{
			advance: func(ctx context.Context, s driver.Store, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
				kept.store("", req.Next.Incarnations)
				return s.Advance(ctx, req)
			},
			epoch: func(ctx context.Context, s driver.Store) (driver.EpochResponse, error) {
				resp, err := s.Epoch(ctx, driver.EpochRequest{})
				if known, ok := kept.load(""); ok {
					resp.Epoch.Incarnations = known
				}
				return resp, err
			},
		})(s)
	}},
}...)

// onRead hides records from Get and List.
func onRead(hidden func(driver.Record) bool) func(driver.Store) driver.Store {
	return with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			resp.Records = slices.DeleteFunc(resp.Records, hidden)
			return resp, err
		},
		list: func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			resp, err := s.List(ctx, req)
			resp.Records = slices.DeleteFunc(resp.Records, hidden)
			return resp, err
		},
	})
}

func keepsSlices() func(driver.Store) driver.Store {
	return func(s driver.Store) driver.Store {
		var kept table[driver.Token, driver.Record]
		return with(broken{
			commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
				for _, t := range req.Transitions {
					kept.store(t.Record.Token, t.Record)
				}
				return s.Commit(ctx, req)
			},
			get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
				resp, err := s.Get(ctx, req)
				for i, r := range resp.Records {
					if passed, ok := kept.load(r.Token); ok {
						resp.Records[i] = passed
					}
				}
				return resp, err
			},
		})(s)
	}
}

func givesSlices() func(driver.Store) driver.Store {
	return func(s driver.Store) driver.Store {
		var kept table[driver.Token, driver.Record]
		return with(broken{get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			for i, r := range resp.Records {
				if given, ok := kept.load(r.Token); ok {
					resp.Records[i] = given
				}
				kept.store(r.Token, resp.Records[i])
			}
			return resp, err
		}})(s)
	}
}
