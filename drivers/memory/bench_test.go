// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
)

var input = []byte(strings.Repeat("0123456789abcdef", 32)) // 512 bytes

func openBench(b *testing.B, name string) driver.Store {
	b.Helper()
	s, err := memory.Open(b.Context(), memory.Options{Config: memory.Config{Name: name}, Chain: "bench"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close(context.WithoutCancel(b.Context()))) })
	return s
}

var ids atomic.Uint64

// starts makes n transitions that each start a workflow.
func starts(n int) []driver.Transition {
	ts := make([]driver.Transition, 0, n)
	now := time.Now()
	for range n {
		id := "call-" + strconv.FormatUint(ids.Add(1), 36)
		t, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: now}, driver.Workflow{ID: id, Kind: "call", Input: input})
		if err != nil {
			panic(err)
		}
		ts = append(ts, t)
	}
	return ts
}

func commit(b *testing.B, s driver.Store, ts []driver.Transition) {
	resp, err := s.Commit(b.Context(), driver.CommitRequest{Transitions: ts})
	if err != nil || resp.Verdicts[0].Err != nil {
		b.Error(err, resp.Verdicts)
	}
}

func perSecond(b *testing.B, records int) {
	b.Helper()
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkCommit starts workflows with 512 bytes of input in batches from several
// callers.
func BenchmarkCommit(b *testing.B) {
	for _, batch := range []int{1, 64, 256} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("batch=%d/callers=%d", batch, callers), func(b *testing.B) {
				s := openBench(b, "")
				b.SetParallelism((callers + 1) / 2)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						commit(b, s, starts(batch))
					}
				})
				perSecond(b, b.N*batch)
			})
		}
	}
}

// BenchmarkCommitAlone is one caller that starts workflows in batches of 64; making
// the requests is not counted.
func BenchmarkCommitAlone(b *testing.B) {
	const batch, ahead = 64, 512
	s := openBench(b, "")
	var made [][]driver.Transition
	for b.Loop() {
		if len(made) == 0 {
			b.StopTimer()
			for range ahead {
				made = append(made, starts(batch))
			}
			runtime.GC()
			b.StartTimer()
		}
		commit(b, s, made[0])
		made = made[1:]
	}
	perSecond(b, b.N*batch)
}

// BenchmarkWork takes workflows through their life: start, claim, save, succeed.
func BenchmarkWork(b *testing.B) {
	const batch = 64
	s := openBench(b, "")
	for b.Loop() {
		commit(b, s, starts(batch))
		resp, err := s.Claim(b.Context(), driver.ClaimRequest{
			Owner: "bench", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: batch, Lease: time.Minute,
		})
		require.NoError(b, err)
		require.Len(b, resp.Records, batch)
		saves, ends := make([]driver.Transition, batch), make([]driver.Transition, batch)
		for i, r := range resp.Records {
			stamp := driver.Stamp{Token: driver.NewToken(), Now: resp.Time, Lease: r.Lease.Token}
			saves[i], err = driver.Save(stamp, r, "step", []byte("state"), resp.Time.Add(time.Minute))
			require.NoError(b, err)
			stamp.Token = driver.NewToken()
			ends[i], err = driver.Succeed(stamp, saves[i].Record, nil, resp.Time)
			require.NoError(b, err)
		}
		commit(b, s, saves)
		commit(b, s, ends)
	}
	perSecond(b, b.N*batch)
}

// BenchmarkGet reads single records.
func BenchmarkGet(b *testing.B) {
	s := openBench(b, "")
	ts := starts(256)
	commit(b, s, ts)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			resp, err := s.Get(b.Context(), driver.GetRequest{IDs: []string{ts[i%256].Record.ID}})
			if err != nil || len(resp.Records) != 1 {
				b.Error(err)
			}
		}
	})
}

// BenchmarkMillion holds 1,000,000 open workflows with 512 bytes of input and
// reports what they take, then opens a second store on the same log and reports
// the rate of its replay.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		name := "million" + strconv.Itoa(b.N)
		b.StartTimer()
		s := openBench(b, name)
		for held := 0; held < million; held += 250 {
			commit(b, s, starts(250))
		}
		b.ReportMetric(float64(million)/b.Elapsed().Seconds(), "committed/s")
		b.ReportMetric(resident(b)/(1<<20), "resident-MiB")
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		b.ReportMetric(float64(stats.HeapAlloc)/(1<<20), "live-MiB")
		b.ReportMetric(float64(stats.HeapAlloc)/million, "live-B/record")

		began := time.Now()
		second := openBench(b, name)
		b.ReportMetric(million/time.Since(began).Seconds(), "replayed/s")
		got, err := second.Probe(b.Context(), driver.ProbeRequest{})
		require.NoError(b, err)
		require.EqualValues(b, million, got.Records)
		memory.Forget("bench", name)
	}
}

// resident returns the bytes that the process takes in memory.
func resident(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			require.NoError(b, err)
			return kib * 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
