// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// openTold opens a chain and returns a channel of its events.
func openTold(b *testing.B, policy chain.Policy, links ...chain.Link) (*chain.Chain, <-chan chain.Event) {
	b.Helper()
	events := make(chan chain.Event, 10_000)
	c := openConfig(b, configOf(policy, links...), chain.WithEvents(func(e chain.Event) { events <- e }))
	return c, events
}

// await returns the next event of a type.
func await[E chain.Event](b *testing.B, events <-chan chain.Event) E {
	b.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case e := <-events:
			if e, ok := e.(E); ok {
				return e
			}
		case <-timeout:
			var none E
			require.FailNow(b, fmt.Sprintf("no %T within a minute", none))
		}
	}
}

// fill starts n workflows.
func fill(b *testing.B, c *chain.Chain, n int) {
	b.Helper()
	workflows := make([]chain.Workflow, n)
	for i := range workflows {
		workflows[i] = chain.Workflow{ID: fmt.Sprint(i), Kind: "call", Input: input}
	}
	for _, s := range c.StartBatch(b.Context(), workflows) {
		require.NoError(b, s.Err)
	}
}

// peak samples the heap of this process until it is called.
func peak() func() uint64 {
	stop := make(chan struct{})
	most := make(chan uint64)
	go func() {
		var m runtime.MemStats
		highest := uint64(0)
		for {
			runtime.ReadMemStats(&m)
			highest = max(highest, m.HeapAlloc)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-stop:
				most <- highest
				return
			}
		}
	}()
	return func() uint64 { close(stop); return <-most }
}

// BenchmarkResync brings an emptied Redis up to date with 200,000 workflows from
// Event Store. The heap is that of the host, which has the development Event
// Store in it.
func BenchmarkResync(b *testing.B) {
	const workflows = 200_000
	redis, server := redisLink(b)
	c, events := openTold(b, chain.Policy{Failback: chain.FailbackManual}, redis, eventStoreLink(b))
	fill(b, c, workflows)
	var rates, heaps, pauses []float64
	for b.Loop() {
		if c.Status().Epoch.Active == redis.Name {
			require.NoError(b, c.SwitchTo(b.Context(), "eventstore"))
		}
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		highest := peak()
		server.Do(b, "FLUSHALL")
		done := await[chain.Resynced](b, events)
		pauses = append(pauses, float64(await[chain.Joined](b, events).Pause.Microseconds())/1000)
		require.GreaterOrEqual(b, done.Copied, int64(workflows))
		rates = append(rates, float64(done.Copied)/done.Took.Seconds())
		most := highest()
		heaps = append(heaps, float64(most-min(before.HeapAlloc, most))/1e6)
	}
	b.ReportMetric(median(rates), "records/s")
	b.ReportMetric(slices.Max(heaps), "MB-heap-growth")
	b.ReportMetric(slices.Max(pauses), "ms-handover")
}

// BenchmarkSwitch switches a chain of two to and fro while 1,000 workflows a
// second are started, and reports the longest wait of any call.
func BenchmarkSwitch(b *testing.B) {
	redis, _ := redisLink(b)
	c, events := openTold(b, chain.Policy{Failback: chain.FailbackManual}, redis, eventStoreLink(b))
	ctx, stop := context.WithCancel(b.Context())
	var longest, calls atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		load(ctx, b, c, &longest, &calls)
	}()
	var pauses, waits, usual []float64
	to := []string{"eventstore", "redis"}
	for n := 0; b.Loop(); n++ {
		longest.Store(0)
		time.Sleep(200 * time.Millisecond) //nolint:forbidigo // a time under load, between two switches
		before := longest.Swap(0)
		require.NoError(b, c.SwitchTo(b.Context(), to[n%2]))
		pauses = append(pauses, float64(await[chain.Switched](b, events).Pause.Microseconds())/1000)
		time.Sleep(200 * time.Millisecond) //nolint:forbidigo // until what waited has been counted
		waits = append(waits, float64(longest.Load())/1e6)
		usual = append(usual, float64(before)/1e6)
	}
	stop()
	<-ended
	b.ReportMetric(median(pauses), "ms-pause")
	b.ReportMetric(slices.Max(pauses), "ms-pause-most")
	b.ReportMetric(slices.Max(waits), "ms-wait-most")
	b.ReportMetric(slices.Max(usual), "ms-wait-without")
	b.ReportMetric(float64(calls.Load())/b.Elapsed().Seconds(), "starts/s")
}

// load starts 1,000 workflows a second until ctx ends, and keeps the longest time
// that one took.
func load(ctx context.Context, b *testing.B, c *chain.Chain, longest, calls *atomic.Int64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	slots := make(chan struct{}, 5000)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			for range cap(slots) { // all have ended
				slots <- struct{}{}
			}
			return
		}
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			began := time.Now()
			_, err := c.Start(b.Context(), chain.Workflow{ID: driver.NewToken().String(), Kind: "call", Input: input})
			if err != nil {
				b.Error(err)
			}
			took := int64(time.Since(began))
			for held := longest.Load(); took > held && !longest.CompareAndSwap(held, took); held = longest.Load() {
			}
			calls.Add(1)
		}()
	}
}
