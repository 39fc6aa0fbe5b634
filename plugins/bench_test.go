// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
	"github.com/understudy-dev/understudy/plugins"
)

// null is a driver that acknowledges everything: what remains is the hop.
func null() driver.Driver {
	return driver.Driver{
		Name: "null", Version: "1", Validate: func(json.RawMessage) error { return nil },
		Open: func(context.Context, driver.OpenRequest) (driver.Store, error) { return nullStore{}, nil },
	}
}

type nullStore struct{ driver.Store }

func (nullStore) Describe(context.Context, driver.DescribeRequest) (driver.DescribeResponse, error) {
	return driver.DescribeResponse{Driver: "null", Contract: driver.Contract}, nil
}

func (nullStore) Commit(_ context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return driver.CommitResponse{
		Receipt:  driver.Receipt{Marks: driver.Marks{{Incarnation: 1, Sequence: 2}}},
		Verdicts: make([]driver.Verdict, len(req.Transitions)),
	}, nil
}

func (nullStore) Close(context.Context) error { return nil }

func linked(tb testing.TB, d driver.Driver) driver.Store {
	tb.Helper()
	store, err := d.Open(tb.Context(), driver.OpenRequest{Chain: "calls", Link: "first"})
	require.NoError(tb, err)
	return store
}

func launched(tb testing.TB, mode, name string) driver.Store {
	tb.Helper()
	s := spec(mode)
	s.Driver = name
	store, err := plugins.Launch(tb.Context(), s)
	require.NoError(tb, err)
	return store
}

// BenchmarkHop commits records of 512 bytes of input through the process boundary
// and, to compare, to the same driver in this process.
func BenchmarkHop(b *testing.B) {
	for _, way := range []struct {
		name string
		open func(testing.TB) driver.Store
	}{
		{"null/linked", func(tb testing.TB) driver.Store { tb.Helper(); return linked(tb, null()) }},
		{"null/process", func(tb testing.TB) driver.Store { tb.Helper(); return launched(tb, "serve-null", "null") }},
		{"memory/linked", func(tb testing.TB) driver.Store { tb.Helper(); return linked(tb, memory.Driver()) }},
		{"memory/process", func(tb testing.TB) driver.Store { tb.Helper(); return launched(tb, "serve-memory", "memory") }},
	} {
		for _, callers := range []int{1, 8, 64, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d/batch=1", way.name, callers), func(b *testing.B) { benchmarkCommit(b, way.open(b), callers, 1) })
		}
		for _, batch := range []int{64, 256} {
			for _, callers := range []int{1, 2, 4} {
				b.Run(fmt.Sprintf("%s/callers=%d/batch=%d", way.name, callers, batch), func(b *testing.B) { benchmarkCommit(b, way.open(b), callers, batch) })
			}
		}
	}
}

func benchmarkCommit(b *testing.B, store driver.Store, callers, batch int) {
	defer func() { require.NoError(b, store.Close(context.WithoutCancel(b.Context()))) }()
	_, err := commitBatch(b.Context(), store, makeBatch(batch))
	require.NoError(b, err)
	var calls atomic.Int64
	var failure atomic.Pointer[error]
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			transitions := makeBatch(batch)
			for calls.Add(1) <= int64(b.N) {
				for i := range transitions {
					transitions[i].Record.ID = newID()
				}
				if _, err := commitBatch(b.Context(), store, transitions); err != nil {
					failure.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := failure.Load(); err != nil {
		require.NoError(b, *err)
	}
	records := float64(b.N * batch)
	b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/records, "ns/record")
}

var ids atomic.Uint64

// newID returns an id of the length of a usual one, without order.
func newID() string {
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], ids.Add(1)*0x9e3779b97f4a7c15)
	return fmt.Sprintf("%x-%x", id[:4], id)
}

func makeBatch(n int) []driver.Transition {
	transitions := make([]driver.Transition, n)
	for i := range transitions {
		transitions[i].Record = record(newID())
		transitions[i].Record.Epoch = 0
		transitions[i].Record.Input = make([]byte, 512)
	}
	return transitions
}

func commitBatch(ctx context.Context, store driver.Store, transitions []driver.Transition) (driver.CommitResponse, error) {
	resp, err := store.Commit(ctx, driver.CommitRequest{Transitions: transitions})
	for _, v := range resp.Verdicts {
		if v.Err != nil {
			return resp, v.Err
		}
	}
	return resp, err
}
