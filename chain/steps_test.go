// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// steps are the named steps from the return of a link to the failback.
var steps = []string{"primary_seen", "resync_started", "resync_done", "handover_begun", "drained", "joined", "stable", "switched"}

// onStep does something once, when any host comes to a step.
type onStep struct {
	step string
	hit  atomic.Bool
	do   func(host int)
}

// openHosts opens two hosts on the same stores; both tell when they come to a step.
func openHosts(t *testing.T, stores []*faulty, at *onStep, change func(*chain.Config)) []*bench {
	t.Helper()
	hosts := make([]*bench, 2)
	for i := range hosts {
		own := make([]*faulty, len(stores))
		for l := range own {
			own[l] = stores[l].another()
		}
		config := configOf(own...)
		config.Policy.HoldDown = 20 * time.Second
		change(&config)
		core, logs := observer.New(zap.InfoLevel)
		b := &bench{stores: own, logs: logs, seen: &events{}}
		var err error
		b.Chain, err = chain.Open(t.Context(), config, chain.WithLogger(zap.New(core)), chain.WithEvents(b.seen.add),
			chain.WithSteps(func(step string) {
				if step == at.step && at.hit.CompareAndSwap(false, true) {
					at.do(i)
				}
			}))
		require.NoError(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
			defer cancel()
			_ = b.Close(ctx) // one that is frozen does not end in time
		})
		hosts[i] = b
	}
	return hosts
}

// each does something with the connections of all hosts to one store.
func each(hosts []*bench, store int, do func(*faulty)) {
	for _, b := range hosts {
		do(b.stores[store])
	}
}

// TestDeathAtEachStep: at each step of bringing link a back, the steward, the link
// or the active link dies, while both hosts work. In the end the chain is back on
// a with b in step, both hold the same, and the books balance.
func TestDeathAtEachStep(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		for _, victim := range []string{"Steward", "Target", "TargetEmptied", "Active"} {
			t.Run(victim+"At/"+step, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { deathAt(t, step, victim) })
			})
		}
	}
}

func deathAt(t *testing.T, step, victim string) {
	t.Helper()
	stores := []*faulty{newFaulty(nil), newFaulty(nil)}
	at := &onStep{step: step}
	began := time.Now()
	var hosts []*bench
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for i, b := range hosts {
			for _, line := range b.logs.All() {
				t.Logf("%8s host %d: %s %v", line.Time.Sub(began).Round(time.Millisecond), i, line.Message, line.ContextMap())
			}
		}
	})
	hosts = openHosts(t, stores, at, func(*chain.Config) {})
	thaw := make(chan struct{})
	var dead atomic.Int32 // the host; -1: none
	dead.Store(-1)
	outage := func(store int) {
		each(hosts, store, func(f *faulty) { f.fail(driver.Unavailable) })
		time.AfterFunc(25*time.Second, func() { each(hosts, store, func(f *faulty) { f.fail(nil) }) })
	}
	at.do = func(host int) {
		switch victim {
		case "Steward": // the whole process stops
			dead.Store(int32(host))
			for _, s := range hosts[host].stores {
				s.freeze()
			}
			<-thaw
		case "TargetEmptied":
			stores[0].model.Erase()
			outage(0)
		case "Target":
			outage(0)
		case "Active":
			outage(1)
		}
	}
	books := newLedger()
	var stops []func() error
	for _, host := range hosts {
		stops = append(stops, host.work(t, chain.WorkOptions{Concurrency: 4, Lease: 20 * time.Second,
			Retry: chain.RetryPolicy{MaxAttempts: -1, MaxBackoff: time.Second}}, books.handler(func(ctx context.Context) {
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
			}
		})))
	}
	const workflows = 40
	var started sync.WaitGroup
	for i := range workflows {
		started.Go(func() {
			time.Sleep(time.Duration(i) * time.Second) //nolint:forbidigo // the clock of the bubble
			for n := i; ; n++ {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				err := books.start(ctx, hosts[n%2].Chain, fmt.Sprint(i))
				cancel()
				if err == nil {
					return
				}
			}
		})
	}
	time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble
	outage(0)
	within(t, time.Minute, "the failover", func() bool { return stores[1].epoch(t).Active == "b" })
	within(t, 10*time.Minute, "step "+step, at.hit.Load)
	within(t, 20*time.Minute, "the way back", func() bool {
		e := stores[0].epoch(t)
		return e.Active == "a" && e.State == driver.Serving && len(e.InSync) == 1 && stores[1].epoch(t).Equal(e)
	})
	started.Wait()
	close(thaw)
	alive := hosts[0]
	if died := dead.Load(); died >= 0 {
		alive = hosts[1-died]
		for _, s := range hosts[died].stores {
			s.fail(nil)
		}
	}
	within(t, 10*time.Minute, "the end of all workflows", func() bool { return finished(t, alive.Chain) == workflows })
	for _, stop := range stops {
		require.NoError(t, stop())
	}
	within(t, 5*time.Minute, "both in step", func() bool {
		e := stores[0].epoch(t)
		return e.Active == "a" && e.State == driver.Serving && len(e.InSync) == 1
	})
	books.balance(t, alive.Chain, workflows)
	require.Equal(t, workflows, same(t, stores[0], stores[1]))
}

// A failback counts as a flap, should it not last, although the steward died
// between the switch and its record.
func TestFailbackOfADeadStewardIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		at := &onStep{step: "switched"}
		hosts := openHosts(t, stores, at, func(*chain.Config) {})
		thaw := make(chan struct{})
		defer close(thaw)
		dead := make(chan int, 1)
		at.do = func(host int) {
			for _, s := range hosts[host].stores {
				s.freeze()
			}
			dead <- host
			<-thaw
		}
		each(hosts, 0, func(f *faulty) { f.fail(driver.Unavailable) })
		hosts[0].start(t, "w")
		each(hosts, 0, func(f *faulty) { f.fail(nil) })
		died := <-dead
		require.Equal(t, "a", stores[0].epoch(t).Active, "the failback")
		alive := hosts[1-died]
		before := len(eventsOf[chain.HoldDown](alive))
		each([]*bench{alive}, 0, func(f *faulty) { f.fail(driver.Unavailable) })
		alive.start(t, "over")
		each([]*bench{alive}, 0, func(f *faulty) { f.fail(nil) })
		within(t, 5*time.Minute, "the next hold-down", func() bool { return len(eventsOf[chain.HoldDown](alive)) > before })
		require.Equal(t, 1, eventsOf[chain.HoldDown](alive)[before].Flaps)
	})
}
