// SPDX-License-Identifier: Apache-2.0

// Package bench_test measures a chain over real stores: Redis and the development
// Event Store in plugin subprocesses. What is compared takes turns on the same
// servers in one run; the medians of the turns are reported.
package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

var input = make([]byte, 512)

// redisLink is a Redis server of its own behind a plugin.
func redisLink(b *testing.B) (chain.Link, *redistest.Server) {
	b.Helper()
	server := redistest.Start(b, redistest.Options{PlainText: true})
	return chain.Link{Name: "redis", Plugin: plugin(b, "redis"), Config: server.Config(b, nil)}, server
}

// eventStoreLink is an Event Store of its own behind a plugin.
func eventStoreLink(b *testing.B) chain.Link {
	b.Helper()
	server, err := devserver.Start(devserver.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Close()) })
	config, err := json.Marshal(map[string]any{"hosts": server.Addresses()})
	require.NoError(b, err)
	return chain.Link{Name: "eventstore", Plugin: plugin(b, "eventstore"), Config: config}
}

func open(b *testing.B, policy chain.Policy, links ...chain.Link) *chain.Chain {
	b.Helper()
	return openConfig(b, configOf(policy, links...))
}

// configOf configures a chain of its own name.
func configOf(policy chain.Policy, links ...chain.Link) chain.Config {
	return chain.Config{Name: "c" + driver.NewToken().String()[:12], Links: links, Policy: policy}
}

func openConfig(b *testing.B, config chain.Config, options ...chain.Option) *chain.Chain {
	b.Helper()
	c, err := chain.Open(b.Context(), config, options...)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Close(context.WithoutCancel(b.Context()))) })
	return c
}

// rate calls n times, from callers at once, and returns calls per second: those
// that return, and those behind which nothing is left to be done.
func rate(b *testing.B, callers, n int, w way) (returned, done float64) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := w.call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	returned = float64(n) / time.Since(began).Seconds()
	for w.behind != nil && !inStep(w.behind) {
		time.Sleep(time.Millisecond) //nolint:forbidigo // a small part of what is measured
	}
	return returned, float64(n) / time.Since(began).Seconds()
}

// inStep reports whether the standbys of c have all that was acknowledged.
func inStep(c *chain.Chain) bool {
	for _, l := range c.Status().Links {
		if l.Lag != nil && l.Lag.Records > 0 {
			return false
		}
	}
	return true
}

// starts starts workflows through c.
func starts(b *testing.B, c *chain.Chain) func() error {
	return func() error {
		_, err := c.Start(b.Context(), chain.Workflow{ID: driver.NewToken().String(), Kind: "call", Input: input})
		return err
	}
}

// single is a transition as one script call: compare-and-set of the record, and
// the index of due times.
var single = rueidis.NewLuaScript(`local held = redis.call('HGET', KEYS[1], ARGV[1])
if (held or '') ~= ARGV[2] then return held end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
return 'ok'`)

// singles makes such calls with the official client in this process.
func singles(b *testing.B, server *redistest.Server) func() error {
	b.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, ForceSingleClient: true, DisableCache: true,
		Username: redistest.Admin, Password: redistest.AdminPassword})
	require.NoError(b, err)
	b.Cleanup(client.Close)
	return func() error {
		id := driver.NewToken().String()
		t, err := driver.Start(driver.Stamp{Epoch: 1, Token: driver.NewToken(), Now: time.Now()}, driver.Workflow{ID: id, Kind: "call", Input: input})
		if err != nil {
			return err
		}
		return single.Exec(b.Context(), client, []string{"{bare}:r", "{bare}:x"},
			[]string{id, "", string(driver.AppendRecord(nil, &t.Record)), fmt.Sprint(t.Record.Due.UnixMilli())}).Error()
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// way is something to be measured against another.
type way struct {
	name string
	than string // the way it is compared with; empty: none
	call func() error
	// behind is a chain whose standbys lag; nil: none do. Its rate is that of calls
	// behind which nothing is left to be done, beside which that of calls that return
	// is reported.
	behind *chain.Chain
}

// returned is what the rate of calls that return is called.
func (w way) returned() string { return w.name + "-returned" }

// turns measures each way in turn, as often as the benchmark runs, and reports
// the median rate of each, and the median ratio to that which it is compared with.
func turns(b *testing.B, callers, n int, ways ...way) {
	b.Helper()
	rates, ratios := map[string][]float64{}, map[string][]float64{}
	for b.Loop() {
		for _, w := range ways {
			returned, done := rate(b, callers, n, w)
			rates[w.name] = append(rates[w.name], done)
			if w.behind != nil {
				rates[w.returned()] = append(rates[w.returned()], returned)
			}
		}
		last := len(rates[ways[0].name]) - 1
		for _, w := range ways {
			for _, name := range []string{w.name, w.returned()} {
				if w.than != "" && rates[name] != nil {
					ratios[name+"/"+w.than] = append(ratios[name+"/"+w.than], rates[name][last]/rates[w.than][last])
				}
			}
		}
	}
	for name, values := range rates {
		b.ReportMetric(median(values), name+"/s")
	}
	for name, values := range ratios {
		b.ReportMetric(median(values), name)
	}
}

// BenchmarkOne compares a chain of one, over the Redis subprocess, with single
// script calls through the client in this process.
func BenchmarkOne(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("Callers%d", callers), func(b *testing.B) {
			link, server := redisLink(b)
			turns(b, callers, min(4000*callers, 20_000),
				way{"single", "", singles(b, server), nil},
				way{"chain", "single", starts(b, open(b, chain.Policy{}, link)), nil})
		})
	}
}

// BenchmarkTwo compares a chain of two, which mirrors each start before or after
// it is acknowledged, with a chain over each of its links alone.
func BenchmarkTwo(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("Callers%d", callers), func(b *testing.B) {
			compareTwo(b, callers, min(2000*callers, 20_000), func(c *chain.Chain) func() error { return starts(b, c) })
		})
	}
}

// compareTwo compares chains of one with chains of two over the same servers.
func compareTwo(b *testing.B, callers, n int, call func(*chain.Chain) func() error) {
	b.Helper()
	redis, _ := redisLink(b)
	events := eventStoreLink(b)
	async := open(b, chain.Policy{MirrorMode: chain.MirrorAsync}, redis, events)
	turns(b, callers, n,
		way{"redis", "", call(open(b, chain.Policy{}, redis)), nil},
		way{"eventstore", "redis", call(open(b, chain.Policy{}, events)), nil},
		way{"sync", "eventstore", call(open(b, chain.Policy{}, redis, events)), nil},
		way{"async", "redis", call(async), async})
}

// saves saves steps of open workflows that c has handed out to handlers.
func saves(b *testing.B, c *chain.Chain, open int) func() error {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	handles, done, ended := make(chan *chain.Handle, open), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- c.Work(ctx, "saves", func(_ context.Context, h *chain.Handle) ([]byte, error) {
			handles <- h
			<-done
			return nil, nil
		}, chain.WorkOptions{Concurrency: open})
	}()
	b.Cleanup(func() {
		stop()
		close(done)
		require.NoError(b, <-ended)
	})
	for range open {
		_, err := c.Start(b.Context(), chain.Workflow{ID: driver.NewToken().String(), Kind: "saves", Input: input})
		require.NoError(b, err)
	}
	require.Eventually(b, func() bool { return len(handles) == open }, time.Minute, time.Millisecond)
	state := make([]byte, 100)
	return func() error {
		h := <-handles
		defer func() { handles <- h }()
		return h.Save(b.Context(), "step", state)
	}
}

// BenchmarkSaves compares chains as BenchmarkTwo does, in saving steps of 256 open
// workflows over and over.
func BenchmarkSaves(b *testing.B) {
	const callers = 256
	compareTwo(b, callers, 100_000, func(c *chain.Chain) func() error { return saves(b, c, callers) })
}
