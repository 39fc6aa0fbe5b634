// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"bytes"
	"fmt"
	"strconv"
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
	reportBytes(b, s)
}

// reportBytes reports what was appended for each transition, data and metadata.
func reportBytes(b *testing.B, s store) {
	b.Helper()
	for detail, unit := range map[string]string{"bytes_per_transition": "B/transition", "other_bytes_per_transition": "other-B/transition"} {
		n, err := strconv.ParseFloat(s.probe().Details[detail], 64)
		require.NoError(b, err)
		b.ReportMetric(n, unit)
	}
}

// BenchmarkLife takes workflows through their lives: start, claim, four save points
// with a state of 100 bytes each, and the end.
func BenchmarkLife(b *testing.B) {
	s := open(b, calm(start(b, devserver.Options{}).Addresses()...)).ready()
	const saves = 4
	state := append(append([]byte(`{"archive":"`), bytes.Repeat([]byte("a"), 86)...), `"}`...)
	later := time.Now().Add(time.Hour)
	commit := func(records []driver.Record, next func(driver.Stamp, driver.Record) (driver.Transition, error)) error {
		ts := make([]driver.Transition, len(records))
		for i, r := range records {
			var err error
			if ts[i], err = next(driver.Stamp{Token: driver.NewToken(), Now: time.Now(), Lease: r.Lease.Token}, r); err != nil {
				return err
			}
			records[i] = ts[i].Record
		}
		resp, err := s.Commit(b.Context(), driver.CommitRequest{Transitions: ts})
		if err != nil {
			return err
		}
		return resp.Verdicts[0].Err
	}
	parallel(b, inFlight, batchSize*(saves+3), func(i int) error {
		if _, err := s.Commit(b.Context(), driver.CommitRequest{Transitions: starts(b, fmt.Sprint("l-", i), batchSize)}); err != nil {
			return err
		}
		claimed, err := s.Claim(b.Context(), driver.ClaimRequest{Owner: "host-1/4711", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: batchSize, Lease: time.Hour})
		for save := range saves {
			if err == nil {
				err = commit(claimed.Records, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
					return driver.Save(s, r, fmt.Sprint("step-", save), state, later)
				})
			}
		}
		if err != nil {
			return err
		}
		return commit(claimed.Records, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
			return driver.Succeed(s, r, nil, later)
		})
	})
	reportBytes(b, s)
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
