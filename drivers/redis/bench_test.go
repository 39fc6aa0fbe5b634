// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
	"github.com/understudy-dev/understudy/plugins"
)

const (
	benchBatch    = 64
	benchInFlight = 4
)

// inFlight calls f n times, benchInFlight at once, and returns the time of all.
func inFlight(n int, f func(i int)) time.Duration {
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range benchInFlight {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				f(i)
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// batches makes batches of new workflows with random ids.
func batches(b *testing.B, n int) []driver.CommitRequest {
	b.Helper()
	reqs := make([]driver.CommitRequest, n)
	for i := range reqs {
		for range benchBatch {
			reqs[i].Transitions = append(reqs[i].Transitions, workflow(b, driver.NewToken().String()))
		}
	}
	return reqs
}

func commitAll(b *testing.B, s driver.Store, reqs []driver.CommitRequest) time.Duration {
	b.Helper()
	return inFlight(len(reqs), func(i int) {
		resp, err := s.Commit(b.Context(), reqs[i-1])
		if err != nil || resp.Verdicts[0].Err != nil {
			b.Errorf("commit: %v %v", err, resp.Verdicts)
		}
	})
}

func perSecond(d time.Duration, batches int) float64 {
	return float64(batches*benchBatch) / d.Seconds()
}

// bare has the commands of a commit of new workflows and no decision.
var bare = rueidis.NewLuaScript(`#!lua
redis.call('TIME')
redis.call('HMGET', KEYS[1], 'i', 'q', 'r', 'a', 'e', 'n', 'f', 'v')
redis.call('INFO', 'replication')
redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', 1, 'LIMIT', 0, 80)
local ids, pairs_of, added = {}, {}, {}
for i = 1, #ARGV - 1, 3 do
  ids[#ids + 1] = ARGV[i]
  pairs_of[#pairs_of + 1] = ARGV[i]
  pairs_of[#pairs_of + 1] = ARGV[i + 1]
  added[#added + 1] = 0
  added[#added + 1] = ARGV[i + 2]
end
redis.call('HMGET', KEYS[2], unpack(ids))
redis.call('HSET', KEYS[2], unpack(pairs_of))
redis.call('ZADD', KEYS[3], unpack(added))
redis.call('XADD', KEYS[5], 'MINID', '~', '0-0', '*', 'b', ARGV[#ARGV])
redis.call('HSET', KEYS[1], 'q', '1', 'f', '0')
return 'ok'`)

// BenchmarkCommit compares commits with a bare script that has the same commands,
// and with commits through the plugin, in turn on one server.
func BenchmarkCommit(b *testing.B) {
	server := redistest.Start(b, redistest.Options{PlainText: true})
	config := server.Config(b, nil)
	linked := open(b, "direct", config)
	path, err := pluginBinary()
	require.NoError(b, err)
	plugin, err := plugins.Launch(b.Context(), plugins.Spec{Path: path, Chain: "process", Link: "redis", Config: config})
	require.NoError(b, err)
	defer func() { require.NoError(b, plugin.Close(context.WithoutCancel(b.Context()))) }()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, ForceSingleClient: true, DisableCache: true,
		AlwaysPipelining: true, Username: redistest.Admin, Password: redistest.AdminPassword})
	require.NoError(b, err)
	defer client.Close()

	// Short turns in changing order, so that whatever else the machine does hits all
	// alike; the medians of the turns are reported.
	const n = 60
	var reqs []driver.CommitRequest
	var args [][]string
	ways := []struct {
		name string
		run  func() time.Duration
	}{
		{"bare", func() time.Duration {
			return inFlight(n, func(i int) {
				if err := bare.Exec(b.Context(), client, bareKeys, args[i-1]).Error(); err != nil {
					b.Error(err)
				}
			})
		}},
		{"direct", func() time.Duration { return commitAll(b, linked, reqs) }},
		{"process", func() time.Duration { return commitAll(b, plugin, reqs) }},
	}
	rates, ratios := make([][]float64, len(ways)), make([][]float64, len(ways))
	for turn := 0; b.Loop(); turn++ {
		b.StopTimer()
		server.Do(b, "FLUSHALL")
		reqs = batches(b, n)
		args = bareArgs(reqs)
		runtime.GC()
		b.StartTimer()
		for i := range ways {
			w := (i + turn) % len(ways)
			rates[w] = append(rates[w], perSecond(ways[w].run(), n))
		}
		for w := 1; w < len(ways); w++ {
			ratios[w] = append(ratios[w], rates[w][turn]/rates[w-1][turn])
		}
	}
	for w, way := range ways {
		b.ReportMetric(median(rates[w]), way.name+"-records/s")
		if w > 0 {
			b.ReportMetric(median(ratios[w]), way.name+"/"+ways[w-1].name)
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

var bareKeys = []string{"{us:bare:0}:m", "{us:bare:0}:r", "{us:bare:0}:x", "{us:bare:0}:e", "{us:bare:0}:f"}

func bareArgs(reqs []driver.CommitRequest) [][]string {
	all := make([][]string, len(reqs))
	for i, req := range reqs {
		var feed strings.Builder
		for _, t := range req.Transitions {
			value := binary.LittleEndian.AppendUint64(driver.AppendRecord(nil, &t.Record), 1)
			entry := "\x01call\x00123456" + t.Record.ID
			all[i] = append(all[i], t.Record.ID, string(value), entry)
			feed.WriteString("0123456789abcdef\x00\x00" + entry)
		}
		all[i] = append(all[i], feed.String())
	}
	return all
}

// BenchmarkCommitOne commits single records, one after the other.
func BenchmarkCommitOne(b *testing.B) {
	server := redistest.Start(b, redistest.Options{PlainText: true})
	s := open(b, "chain", server.Config(b, nil))
	for b.Loop() {
		if _, err := s.Commit(b.Context(), driver.CommitRequest{Transitions: []driver.Transition{workflow(b, driver.NewToken().String())}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClaim claims 64 records from a small and from a large backlog, in turn,
// and puts them back, where they are the next ones again, or behind all others, so
// that each claim meets records that were not touched for long; the medians are
// reported.
func BenchmarkClaim(b *testing.B) {
	backlogs := []int{1_000, 1_000_000}
	stores := make([]*redis.Store, len(backlogs))
	for i, backlog := range backlogs {
		server := redistest.Start(b, redistest.Options{PlainText: true})
		stores[i] = open(b, "chain", server.Config(b, nil))
		fill(b, stores[i], backlog)
	}
	b.Run("same", func(b *testing.B) {
		claimAndRelease(b, stores, backlogs, func(r driver.Record) time.Time { return r.Created })
	})
	b.Run("next", func(b *testing.B) {
		claimAndRelease(b, stores, backlogs, func(driver.Record) time.Time { return time.Now() })
	})
}

func claimAndRelease(b *testing.B, stores []*redis.Store, backlogs []int, due func(driver.Record) time.Time) {
	b.Helper()
	spent := make([][]float64, len(stores))
	for b.Loop() {
		for i, s := range stores {
			began := time.Now()
			resp, err := s.Claim(b.Context(), driver.ClaimRequest{Owner: "host", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: benchBatch, Lease: time.Minute})
			spent[i] = append(spent[i], float64(time.Since(began).Microseconds()))
			if err != nil || len(resp.Records) != benchBatch {
				b.Fatal(len(resp.Records), err)
			}
			back := driver.CommitRequest{}
			for _, r := range resp.Records {
				t, err := driver.Release(driver.Stamp{Token: driver.NewToken(), Now: resp.Time, Lease: r.Lease.Token}, r, due(r))
				require.NoError(b, err)
				back.Transitions = append(back.Transitions, t)
			}
			_, err = s.Commit(b.Context(), back)
			require.NoError(b, err)
		}
	}
	for i, backlog := range backlogs {
		b.ReportMetric(median(spent[i]), strconv.Itoa(backlog)+"-µs/claim")
	}
	b.ReportMetric(median(spent[0])/median(spent[1]), "large/small")
}

func fill(b *testing.B, s driver.Store, records int) {
	b.Helper()
	for records > 0 {
		n := min(records/benchBatch+1, 500)
		commitAll(b, s, batches(b, n))
		records -= n * benchBatch
	}
}

// BenchmarkMemory reports what an open record with an input of 512 bytes takes,
// with all indexes and the feed.
func BenchmarkMemory(b *testing.B) {
	for _, ids := range []string{"uuid", "asterisk"} {
		b.Run(ids, func(b *testing.B) {
			var perRecord float64
			for b.Loop() {
				server := redistest.Start(b, redistest.Options{PlainText: true})
				s := open(b, "chain", server.Config(b, nil))
				commit(b, s, nil, "first")
				before := memory(b, server)
				const records = 100_000
				inFlight(records/200, func(i int) {
					names := make([]string, 200)
					for j := range names {
						t := driver.NewToken().String()
						names[j] = t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
						if ids == "asterisk" {
							names[j] = fmt.Sprintf("17000%05d.%d", i, j)
						}
					}
					commit(b, s, nil, names...)
				})
				perRecord = float64(memory(b, server)-before) / records
			}
			b.ReportMetric(perRecord, "bytes/record")
		})
	}
}

func memory(b *testing.B, server *redistest.Server) int64 {
	b.Helper()
	n, err := strconv.ParseInt(server.Info(b, "used_memory"), 10, 64)
	require.NoError(b, err)
	return n
}

// BenchmarkLongestBlock reports for how long the largest calls block the server.
func BenchmarkLongestBlock(b *testing.B) {
	server := redistest.Start(b, redistest.Options{PlainText: true, Config: []string{"slowlog-log-slower-than 0", "slowlog-max-len 10000"}})
	s, err := redis.Open(b.Context(), driver.OpenRequest{Chain: "chain", Link: "redis", Config: server.Config(b, nil), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close(context.WithoutCancel(b.Context()))) }()
	large := make([]byte, driver.MaxBatchBytes/driver.MaxBatch-300)
	for b.Loop() {
		req := driver.CommitRequest{}
		for range driver.MaxBatch {
			t, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: time.Now().Add(-time.Minute)},
				driver.Workflow{ID: driver.NewToken().String(), Kind: "call", Input: large})
			require.NoError(b, err)
			req.Transitions = append(req.Transitions, t)
		}
		_, err := s.Commit(b.Context(), req)
		require.NoError(b, err)
		resp, err := s.Claim(b.Context(), driver.ClaimRequest{Owner: "host", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: driver.MaxBatch, Lease: time.Minute})
		require.NoError(b, err)
		var ids []string
		for _, r := range resp.Records {
			ids = append(ids, r.ID)
		}
		_, err = s.Get(b.Context(), driver.GetRequest{IDs: ids})
		require.NoError(b, err)
	}
	var longest int64
	client := server.Admin(b)
	entries, err := client.Do(b.Context(), client.B().SlowlogGet().Count(10000).Build()).ToArray()
	require.NoError(b, err)
	for _, e := range entries {
		parts, err := e.ToArray()
		require.NoError(b, err)
		us, err := parts[2].AsInt64()
		require.NoError(b, err)
		longest = max(longest, us)
	}
	b.ReportMetric(float64(longest)/1000, "ms-longest")
}
