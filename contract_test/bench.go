// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

const (
	benchHeld  = 4096 // records held while others are measured
	benchInput = 512  // bytes of input of each
	benchKind  = "call"
)

// Benchmark measures the driver of h: each verb as a sub-benchmark on data of its
// own, with random ids and inputs of 512 bytes. An iteration is one call; records/s
// is what went through all callers together. It declares and checks nothing: a
// store that answers wrongly is for [Run].
func Benchmark(b *testing.B, h Harness) {
	b.Helper()
	require.NoError(b, h.Validate())
	for _, callers := range []int{1, 8, 64} {
		for _, batch := range []int{1, 64, driver.MaxBatch} {
			b.Run(fmt.Sprintf("Commit/batch=%d/callers=%d", batch, callers), func(b *testing.B) { benchCommit(b, h, batch, callers) })
		}
	}
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprintf("Start/batch=64/callers=%d", callers), func(b *testing.B) { benchStart(b, h, callers) })
	}
	b.Run("Claim/limit=64", func(b *testing.B) { benchClaim(b, h) })
	b.Run("Get/ids=64", func(b *testing.B) { benchGet(b, h) })
	b.Run("List/limit=256", func(b *testing.B) { benchList(b, h) })
	b.Run("Merge/batch=64", func(b *testing.B) { benchMerge(b, h) })
	if h.Has(driver.CapChanges) {
		b.Run("Changes", func(b *testing.B) { benchChanges(b, h) })
	}
}

// bench is a store and what was put into it.
type bench struct {
	driver.Store
	b *testing.B
}

func openBench(b *testing.B, h Harness) bench {
	b.Helper()
	s, err := h.Open(b, newChain())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, closeStore(s, closeTime)) })
	return bench{s, b}
}

// measure makes b.N calls from several callers and reports how many records went
// through. call returns their number.
func (s bench) measure(callers int, newCall func() func(ctx context.Context) (int, error)) {
	s.b.Helper()
	calls := make([]func(ctx context.Context) (int, error), callers)
	for i := range calls {
		calls[i] = newCall()
	}
	var left, records atomic.Int64
	left.Store(int64(s.b.N))
	errs := make(chan error, callers)
	var wg sync.WaitGroup
	s.b.ReportAllocs()
	s.b.ResetTimer()
	for _, call := range calls {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				n, err := call(s.b.Context())
				if err != nil {
					errs <- err
					return
				}
				records.Add(int64(n))
			}
		})
	}
	wg.Wait()
	s.b.StopTimer()
	close(errs)
	require.NoError(s.b, <-errs)
	s.b.ReportMetric(float64(records.Load())/s.b.Elapsed().Seconds(), "records/s")
}

// starts returns n transitions of new workflows, due at once.
func starts(n int) []driver.Transition {
	input := make([]byte, benchInput)
	now := driver.Millis(time.Now().Add(-time.Hour))
	out := make([]driver.Transition, n)
	for i := range out {
		out[i].Record = driver.Record{ID: driver.NewToken().String(), Kind: benchKind, Revision: 1, Token: driver.NewToken(),
			Status: driver.Ready, Due: now, Created: now, Updated: now, Input: input}
	}
	return out
}

// move makes each transition that which follows it.
func move(ts []driver.Transition) {
	for i := range ts {
		t := &ts[i]
		t.Base = t.Record.Token
		t.Record.Revision++
		t.Record.Token = driver.NewToken()
	}
}

// commit stores a batch; all of it must be applied.
func (s bench) commit(ctx context.Context, ts []driver.Transition) (int, error) {
	resp, err := s.Commit(ctx, driver.CommitRequest{Transitions: ts})
	if err != nil {
		return 0, err
	}
	return applied(resp.Verdicts)
}

func applied(verdicts []driver.Verdict) (int, error) {
	for _, v := range verdicts {
		if v.Err != nil {
			return 0, v.Err
		}
		if !v.Applied {
			return 0, errors.New("a transition was not applied")
		}
	}
	return len(verdicts), nil
}

// fill stores benchHeld records and returns the transitions that made them.
func (s bench) fill() []driver.Transition {
	s.b.Helper()
	all := starts(benchHeld)
	for i := 0; i < len(all); i += driver.MaxBatch {
		_, err := s.commit(s.b.Context(), all[i:i+driver.MaxBatch])
		require.NoError(s.b, err)
	}
	return all
}

func benchCommit(b *testing.B, h Harness, batch, callers int) {
	s := openBench(b, h)
	s.measure(callers, func() func(context.Context) (int, error) {
		ts := starts(batch)
		_, err := s.commit(b.Context(), ts)
		require.NoError(b, err)
		return func(ctx context.Context) (int, error) {
			move(ts)
			return s.commit(ctx, ts)
		}
	})
}

func benchStart(b *testing.B, h Harness, callers int) {
	s := openBench(b, h)
	s.measure(callers, func() func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) { return s.commit(ctx, starts(64)) }
	})
}

// benchClaim claims what was claimed before, as soon as the short lease has ended.
func benchClaim(b *testing.B, h Harness) {
	s := openBench(b, h)
	s.fill()
	s.measure(1, func() func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			resp, err := s.Claim(ctx, driver.ClaimRequest{Owner: "bench", Token: driver.NewToken(), Kinds: []string{benchKind},
				Limit: 64, Lease: time.Millisecond})
			return len(resp.Records), err
		}
	})
}

func benchGet(b *testing.B, h Harness) {
	s := openBench(b, h)
	held := s.fill()
	s.measure(1, func() func(context.Context) (int, error) {
		at := 0
		return func(ctx context.Context) (int, error) {
			ids := make([]string, 64)
			for i := range ids {
				at = (at + 61) % len(held)
				ids[i] = held[at].Record.ID
			}
			resp, err := s.Get(ctx, driver.GetRequest{IDs: ids})
			return len(resp.Records), err
		}
	})
}

func benchList(b *testing.B, h Harness) {
	s := openBench(b, h)
	s.fill()
	s.measure(1, func() func(context.Context) (int, error) {
		cursor := ""
		return func(ctx context.Context) (int, error) {
			resp, err := s.List(ctx, driver.ListRequest{Kinds: []string{benchKind}, Cursor: cursor, Limit: driver.MaxBatch})
			cursor = resp.Next
			return len(resp.Records), err
		}
	})
}

func benchMerge(b *testing.B, h Harness) {
	s := openBench(b, h)
	s.measure(1, func() func(context.Context) (int, error) {
		ts := starts(64)
		return func(ctx context.Context) (int, error) {
			move(ts)
			records := make([]driver.Record, len(ts))
			for i := range ts {
				records[i] = ts[i].Record
			}
			resp, err := s.Merge(ctx, driver.MergeRequest{Records: records})
			if err != nil {
				return 0, err
			}
			return applied(resp.Verdicts)
		}
	})
}

// benchChanges reads the feed with its records from where the data began.
func benchChanges(b *testing.B, h Harness) {
	s := openBench(b, h)
	begin := ""
	err := s.Changes(b.Context(), driver.ChangesRequest{}, func(c driver.ChangeBatch) error {
		begin = c.Cursor
		return errFeedRead
	})
	require.ErrorIs(b, err, errFeedRead)
	s.fill()
	s.measure(1, func() func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			n := 0
			err := s.Changes(ctx, driver.ChangesRequest{Cursor: begin, Records: true}, func(c driver.ChangeBatch) error {
				if n += len(c.Changes); n >= benchHeld {
					return errFeedRead
				}
				return nil
			})
			if errors.Is(err, errFeedRead) {
				err = nil
			}
			return n, err
		}
	})
}
