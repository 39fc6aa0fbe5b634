// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// storm is several hosts on the same links while everything goes wrong that may:
// in each phase all links but one are refused, late, frozen or cut off, for each
// host on its own; they are emptied, or restart and miss nothing, hosts are killed and
// started anew, and the chain is switched to and fro. After a phase links come back by themselves.
type storm struct {
	t      *testing.T
	r      *rand.Rand
	stores []*faulty
	books  *ledger

	minInSync int

	mu    sync.Mutex
	hosts []*bench
	stops []func() error
}

func TestStorm(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                    string
		hosts, links, minInSync int
	}{{"TwoLinks", 2, 2, 0}, {"ThreeLinks", 3, 3, 0}, {"TwoLinksAlwaysInSync", 2, 2, 1}, {"ThreeLinksAlwaysInSync", 3, 3, 1}} {
		for seed := range uint64(16) {
			t.Run(fmt.Sprintf("%s/Seed%d", tc.name, seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := &storm{t: t, minInSync: tc.minInSync, r: rand.New(rand.NewPCG(seed, 3)), stores: newStores(tc.links), books: newLedger()}
					s.run(tc.hosts)
				})
			})
		}
	}
}

func (s *storm) open(i int) {
	config := configOf(others(s.stores)...)
	config.Policy.HoldDown, config.Policy.MinInSync = 5*time.Second, s.minInSync
	host := open(s.t, config)
	pace := rand.New(rand.NewPCG(s.r.Uint64(), uint64(i)))
	var mu sync.Mutex
	stop := host.work(s.t, chain.WorkOptions{Concurrency: 4, Lease: 20 * time.Second, Retry: chain.RetryPolicy{MaxAttempts: -1, MaxBackoff: time.Second}},
		s.books.handler(func(ctx context.Context) {
			mu.Lock()
			d := time.Duration(pace.IntN(2000)) * time.Millisecond
			mu.Unlock()
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[i], s.stops[i] = host, stop
}

func (s *storm) host(i int) *bench {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts[i]
}

func (s *storm) run(hosts int) {
	const workflows, phases = 60, 5
	t := s.t
	s.hosts, s.stops = make([]*bench, hosts), make([]func() error, hosts)
	t.Cleanup(func() {
		for _, host := range s.hosts {
			host.dump(t)
		}
	})
	for i := range hosts {
		s.open(i)
	}
	var wg sync.WaitGroup
	for n := range workflows {
		after := time.Duration(s.r.IntN(90)) * time.Second
		wg.Go(func() {
			timer := time.NewTimer(after)
			defer timer.Stop()
			<-timer.C
			for s.books.start(t.Context(), s.host(n%hosts).Chain, fmt.Sprint(n)) != nil { // its host may be killed
				if t.Context().Err() != nil {
					return // the test has failed
				}
				time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
			}
		})
	}
	for range phases {
		s.phase()
		s.calm()
		if s.r.IntN(2) == 0 {
			s.blackout()
			s.calm()
		}
	}
	wg.Wait()
	eventually(t, "all is done", func() bool { return finished(t, s.hosts[0].Chain) == workflows })
	for _, stop := range s.stops {
		require.NoError(t, stop())
	}
	s.books.balance(t, s.hosts[0].Chain, workflows)
}

// phase is a time of trouble on all links but one. One link at most is emptied:
// hosts that see different links fail may agree on either of two.
func (s *storm) phase() {
	anchor := s.r.IntN(len(s.stores))
	emptied := -1
	for range 4 + s.r.IntN(4) {
		i := s.r.IntN(len(s.hosts))
		l := (anchor + 1 + s.r.IntN(len(s.stores)-1)) % len(s.stores)
		switch bad := s.hosts[i].stores[l]; s.r.IntN(9) {
		case 0:
			if emptied < 0 || emptied == l {
				emptied = l
				s.stores[l].model.Erase()
			}
		case 1:
			for _, host := range s.hosts {
				host.stores[l].fail(driver.Unavailable)
			}
		case 2:
			bad.freeze()
		case 3:
			bad.calm()
		case 4:
			_ = s.hosts[i].Close(s.t.Context())
			_ = s.stops[i]() // it says that the chain is closed
			s.open(i)
		case 5:
			ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
			_ = s.hosts[i].SwitchTo(ctx, linkNames[s.r.IntN(len(s.stores))]) // it may well be refused
			cancel()
		case 6:
			s.stores[s.r.IntN(len(s.stores))].model.Restart()
		default:
			bad.trouble(rand.New(rand.NewPCG(s.r.Uint64(), 2)), s.r.Float64()*0.8)
		}
		time.Sleep(time.Duration(s.r.IntN(8000)) * time.Millisecond) //nolint:forbidigo // the clock of the bubble
	}
}

// blackout ends all hosts at once, and one link loses what it took in the last
// second.
func (s *storm) blackout() {
	store := s.stores[s.r.IntN(len(s.stores))]
	restore := store.model.Snapshot()
	time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
	for i, host := range s.hosts {
		_ = host.Close(s.t.Context())
		_ = s.stops[i]() // it says that the chain is closed
	}
	restore()
	store.model.Restart()
	for i := range s.hosts {
		s.open(i)
	}
}

// stillness is for how many seconds all must be well before the next phase: what
// was sent in the trouble may fail long after it.
const stillness = 15

// calm ends the trouble and waits until all links are in step and all hosts agree.
func (s *storm) calm() {
	for _, host := range s.hosts {
		for _, store := range host.stores {
			store.calm()
		}
	}
	began := time.Now()
	for whole := 0; whole < stillness; whole++ {
		if !s.whole() {
			whole = 0
		}
		if time.Since(began) > 30*time.Minute {
			for _, host := range s.hosts {
				now := host.Status()
				s.t.Log(now.Host, now.Condition, now.Epoch)
			}
			for i := range s.stores {
				s.t.Log(linkNames[i], s.stores[i].epoch(s.t))
			}
			require.FailNow(s.t, "the links have not come back")
		}
		time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
	}
}

// whole reports whether all links are in step, and all hosts know it.
func (s *storm) whole() bool {
	first := s.stores[0].epoch(s.t)
	for _, host := range s.hosts {
		now := host.Status()
		if now.Condition != chain.Serves || now.Epoch.Number != first.Number || now.Epoch.Version != first.Version {
			return false
		}
	}
	return len(first.InSync) == len(s.stores)-1 && first.State == driver.Serving &&
		!slices.ContainsFunc(s.stores, func(f *faulty) bool { return !f.epoch(s.t).Equal(first) })
}
