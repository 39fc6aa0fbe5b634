// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// trouble makes calls of one host to one store go wrong at random: refused, late,
// frozen, or done with the answer lost.
func (f *faulty) trouble(r *rand.Rand, share float64) {
	var mu sync.Mutex
	draw := func() (bool, int, time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64() < share, r.IntN(3), time.Duration(r.IntN(3000)) * time.Millisecond
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = func(ctx context.Context, op string) error {
		bad, kind, late := draw()
		if !bad || op == "changes" {
			return nil
		}
		switch kind {
		case 0:
			return driver.Unavailable
		case 1:
			<-ctx.Done()
			return driver.ContextError(ctx, true)
		}
		timer := time.NewTimer(late)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return driver.ContextError(ctx, true)
		}
	}
	f.after = func(string) error {
		if bad, _, _ := draw(); bad {
			return driver.Unknown
		}
		return nil
	}
}

func (f *faulty) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = nil, nil
}

// TestLedgerThroughRandomFaults: what hosts see of all links but the last goes
// wrong at random and independently, until those links are gone for good. The
// books balance in the end. Where a link out of step may serve, the last one has its
// trouble too: the only host brings to it what it has missed.
func TestLedgerThroughRandomFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		hosts, links int
		stale        chain.StaleStandby
	}{{"TwoHostsTwoLinks", 2, 2, chain.StaleWait}, {"OneHostThreeLinks", 1, 3, chain.StaleWait},
		{"OneHostTwoStaleLinks", 1, 2, chain.StaleServe}, {"OneHostThreeStaleLinks", 1, 3, chain.StaleServe}} {
		for seed := range uint64(24) {
			t.Run(fmt.Sprintf("%s/Seed%d", tc.name, seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ledgerThroughFaults(t, rand.New(rand.NewPCG(seed, 1)), tc.hosts, tc.links, tc.stale)
				})
			})
		}
	}
}

func ledgerThroughFaults(t *testing.T, r *rand.Rand, hostCount, links int, stale chain.StaleStandby) {
	t.Helper()
	const workflows = 60
	troubled := links - 1
	if stale == chain.StaleServe {
		troubled = links
	}
	stores := make([]*faulty, links)
	for i := range stores {
		stores[i] = newFaulty(nil)
	}
	hosts := make([]*bench, hostCount)
	for i := range hosts {
		own := make([]*faulty, links)
		for l := range own {
			own[l] = stores[l].another()
		}
		config := configOf(own...)
		config.Policy.StaleStandby = stale
		hosts[i] = open(t, config)
	}
	books := newLedger()
	var stops []func() error
	for i, host := range hosts {
		pace := rand.New(rand.NewPCG(r.Uint64(), uint64(i)))
		var mu sync.Mutex
		stops = append(stops, host.work(t, chain.WorkOptions{Concurrency: 4, Lease: 20 * time.Second, Retry: chain.RetryPolicy{MaxAttempts: -1, MaxBackoff: time.Second}},
			books.handler(func(ctx context.Context) {
				mu.Lock()
				d := time.Duration(pace.IntN(2000)) * time.Millisecond
				mu.Unlock()
				timer := time.NewTimer(d)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
			})))
	}
	var wg sync.WaitGroup
	for i := range workflows {
		after := time.Duration(r.IntN(60)) * time.Second
		host := hosts[i%len(hosts)]
		wg.Go(func() {
			timer := time.NewTimer(after)
			defer timer.Stop()
			<-timer.C
			id := fmt.Sprint(i)
			for books.start(t.Context(), host.Chain, id) != nil {
				require.NoError(t, t.Context().Err())
			}
		})
	}
	for range 6 {
		for _, host := range hosts {
			for _, bad := range host.stores[:troubled] {
				if r.IntN(3) == 0 {
					bad.calm()
				} else {
					bad.trouble(rand.New(rand.NewPCG(r.Uint64(), 2)), r.Float64()*0.8)
				}
			}
		}
		time.Sleep(time.Duration(r.IntN(15)) * time.Second) //nolint:forbidigo // the clock of the bubble
	}
	for _, host := range hosts {
		host.stores[links-1].calm()
		for _, bad := range host.stores[:links-1] {
			bad.fail(driver.Unavailable)
		}
	}
	wg.Wait()
	began := time.Now()
	for finished(t, hosts[0].Chain) < workflows {
		if time.Since(began) > time.Hour {
			page, err := hosts[0].List(t.Context(), chain.Filter{Statuses: []driver.Status{driver.Ready, driver.Leased, driver.Waiting}})
			require.NoError(t, err)
			require.Empty(t, page.Records, "workflows were left behind at %s", time.Now())
		}
		time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
	}
	for _, stop := range stops {
		require.NoError(t, stop())
	}
	books.balance(t, hosts[0].Chain, workflows)
	require.Equal(t, linkNames[links-1], stores[links-1].epoch(t).Active)
}
