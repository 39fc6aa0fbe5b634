// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// Benchmark measures each verb, see contracttest.Benchmark.
func Benchmark(b *testing.B) {
	contracttest.Benchmark(b, linked(b, plain(b)))
}

const (
	batchSize = 64
	inFlight  = 4
)

// input is 512 bytes of JSON.
var input = append(append([]byte(`{"audio":"`), bytes.Repeat([]byte("x"), 500)...), `"}`...)

func starts(b *testing.B, name string, n int) []driver.Transition {
	ts := make([]driver.Transition, n)
	for i := range ts {
		ts[i] = newStart(b, fmt.Sprintf("%s-%d", name, i), input)
	}
	return ts
}

// parallel calls n times, from callers at once, and reports events per second.
func parallel(b *testing.B, callers, events int, call func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkCommit is to be compared with BenchmarkBareAppend.
func BenchmarkCommit(b *testing.B) {
	s := open(b, calm(launch(b).address)).ready()
	batches := make([][]driver.Transition, b.N)
	for i := range batches {
		batches[i] = starts(b, fmt.Sprint("w-", i), batchSize)
	}
	parallel(b, inFlight, batchSize, func(i int) error {
		resp, err := s.Commit(b.Context(), driver.CommitRequest{Transitions: batches[i-1]})
		if err != nil {
			return err
		}
		return resp.Verdicts[batchSize-1].Err
	})
}

// BenchmarkBareAppend appends the very events of BenchmarkCommit with the official
// client, and nothing else.
func BenchmarkBareAppend(b *testing.B) {
	server := launch(b)
	s := open(b, calm(server.address)).ready()
	_, err := s.Commit(b.Context(), driver.CommitRequest{Transitions: starts(b, "w", batchSize)})
	require.NoError(b, err)
	o := newOperator(b, "esdb://"+server.address+"?tls=false")
	var events []esdb.EventData
	for _, e := range o.events(journalStream)[1:] {
		events = append(events, esdb.EventData{EventType: e.EventType, ContentType: esdb.ContentTypeJson, Data: e.Data, Metadata: e.UserMetadata})
	}
	require.Len(b, events, batchSize)
	parallel(b, inFlight, batchSize, func(int) error {
		_, err := o.client.AppendToStream(b.Context(), "bare", esdb.AppendToStreamOptions{}, events...)
		return err
	})
}

// BenchmarkSingle shows what combining gains.
func BenchmarkSingle(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b, calm(start(b, devserver.Options{}).Addresses()...)).ready()
			all := starts(b, "w", b.N)
			parallel(b, callers, 1, func(i int) error { return s.commit(b.Context(), all[i-1]) })
		})
	}
}

// BenchmarkReplay opens a store on a journal of 100,000 records.
func BenchmarkReplay(b *testing.B) {
	const records = 100_000
	server := start(b, devserver.Options{})
	s := open(b, calm(server.Addresses()...)).ready()
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range records / 8 / 250 {
				if _, err := s.Commit(b.Context(), driver.CommitRequest{Transitions: starts(b, fmt.Sprint("w-", caller, "-", i), 250)}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var spent time.Duration
	for b.Loop() {
		began := time.Now()
		again := open(b, calm(server.Addresses()...)).ready()
		spent += time.Since(began)
		require.NoError(b, again.Close(b.Context()))
	}
	b.ReportMetric(float64(b.N*records)/spent.Seconds(), "records/s")
}
