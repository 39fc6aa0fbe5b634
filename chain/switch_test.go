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

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

func TestSwitchTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, manual(newStores(3)...))
		other := open(t, manual(others(b.stores)...))
		b.start(t, "w")
		require.NoError(t, b.SwitchTo(t.Context(), "a"), "it is active already")
		require.NoError(t, b.SwitchTo(t.Context(), "c"))
		e := b.stores[2].epoch(t)
		require.Equal(t, "c", e.Active)
		require.Equal(t, firstEpoch+1, e.Number)
		require.Equal(t, []string{"a", "b"}, e.InSync)
		synctest.Wait()
		require.Len(t, eventsOf[chain.Switched](b), 1)
		require.Empty(t, eventsOf[chain.Followed](b))
		r := other.start(t, "x")
		require.Equal(t, firstEpoch+1, r.Epoch)
		for i := range b.stores {
			require.Equal(t, r.Token, b.stores[i].held(t, "x").Token, "store %d", i)
		}
		require.NoError(t, other.SwitchTo(t.Context(), "a"))
		require.Equal(t, firstEpoch+2, b.start(t, "y").Epoch)
		require.Equal(t, []string{"b", "c"}, b.stores[0].epoch(t).InSync)
		synctest.Wait()
		require.Empty(t, eventsOf[chain.LinkFenced](b))
	})
}

func TestSwitchIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openWithout(t)
		require.ErrorIs(t, b.SwitchTo(t.Context(), "nosuch"), driver.Invalid)
		require.ErrorIs(t, b.SwitchTo(t.Context(), "b"), driver.Conflict)
		require.NoError(t, b.Rejoin(t.Context(), "b", nil))
		b.stores[1].fail(driver.Unavailable, "epoch")
		require.ErrorIs(t, b.SwitchTo(t.Context(), "b"), driver.Unavailable)
		require.Equal(t, firstEpoch+1, b.stores[0].epoch(t).Number, "nothing has changed")
	})
}

// The active link fails: the failover counts, and who asked for another link is told
// where the chain is.
func TestSwitchInAFailover(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*faulty){"Refused": func(f *faulty) { f.fail(driver.Unavailable) }, "Frozen": (*faulty).freeze} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := open(t, manual(newStores(3)...))
				b.start(t, "w")
				fail(b.stores[0])
				done := make(chan driver.Record, 1)
				b.startAsync(t, "x", done)
				synctest.Wait()
				err := b.SwitchTo(t.Context(), "c")
				require.ErrorIs(t, err, driver.Conflict)
				require.ErrorContains(t, err, "the chain is at "+b.stores[1].epoch(t).String())
				require.Equal(t, "b", b.Status().Epoch.Active)
				<-done
				require.NoError(t, b.SwitchTo(t.Context(), "c"))
				require.NotNil(t, b.stores[2].held(t, "x"))
			})
		})
	}
}

// A switch is no way out of a link that is down: it ends with its context.
func TestSwitchOfAFrozenHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, manual(newStores(2)...))
		b.Freeze("maintenance")
		require.NoError(t, b.SwitchTo(t.Context(), "b"))
		b.stores[1].fail(driver.Unavailable)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := b.SwitchTo(ctx, "a")
		require.ErrorIs(t, err, driver.Unknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, "b", b.Status().Epoch.Active)
		b.Thaw()
		within(t, time.Minute, "the failover", func() bool { return b.Status().Epoch.Active == "a" })
	})
}

// The link dies when the former one has taken the switch already.
func TestSwitchToALinkThatDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, manual(newStores(2)...))
		other := open(t, manual(others(b.stores)...))
		b.start(t, "w")
		b.stores[1].fail(driver.Unavailable, "advance", "commit", "merge")
		other.stores[1].fail(driver.Unavailable, "advance", "commit", "merge")
		require.ErrorIs(t, b.SwitchTo(t.Context(), "b"), driver.Unavailable)
		require.Equal(t, "a", b.stores[0].epoch(t).Active)
		require.Equal(t, firstEpoch+3, b.start(t, "x").Epoch)
		require.Equal(t, firstEpoch+3, other.start(t, "y").Epoch)
	})
}

// A host died after its switch was taken and before the link was told: whoever
// sees it completes it.
func TestUnfinishedSwitchIsCompleted(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"WhileOpen", "AtOpen"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stores := newStores(2)
				b := open(t, manual(stores...))
				b.start(t, "w")
				if when == "AtOpen" {
					require.NoError(t, b.Close(t.Context()))
				}
				stores[0].advance(t, func(e *driver.Epoch) { e.Number, e.Version, e.Active, e.InSync = e.Number+1, 1, "b", []string{"a"} })
				if when == "AtOpen" {
					b = open(t, manual(others(stores)...))
				}
				require.Equal(t, firstEpoch+1, b.start(t, "x").Epoch)
				require.Equal(t, "b", stores[1].epoch(t).Active)
				require.NotNil(t, stores[0].held(t, "x"))
				synctest.Wait()
				require.Empty(t, eventsOf[chain.FailedOver](b))
			})
		})
	}
}

// A switch that was completed is not completed again in a link that has gone back
// since: that has lost data.
func TestActiveLinkThatWentBackBehindItsSwitch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		b := open(t, manual(stores...))
		goBack := stores[1].model.Snapshot()
		require.NoError(t, b.SwitchTo(t.Context(), "b"))
		b.start(t, "w")
		require.NoError(t, b.Close(t.Context()))
		goBack()
		b = open(t, manual(others(stores)...))
		_, err := b.Get(t.Context(), "w")
		require.NoError(t, err)
		require.Equal(t, "a", stores[0].epoch(t).Active)
		require.Empty(t, stores[0].epoch(t).InSync)
	})
}

// Three hosts start and work while the chain is switched to and fro. No caller
// sees an error, nothing is lost or held twice, and in the end both links hold the
// same, also of what both had got in the moment of a switch.
func TestSwitchUnderLoad(t *testing.T) {
	t.Parallel()
	stores := newStores(2)
	var hosts []*bench
	for range 3 {
		config := manual(others(stores)...)
		config.Policy.Timeout, config.Policy.Attempt, config.Policy.Mirror = time.Minute, 20*time.Second, time.Minute // for a slow machine
		hosts = append(hosts, open(t, config))
	}
	t.Cleanup(func() {
		for _, host := range hosts {
			host.dump(t)
		}
	})
	books := newLedger()
	var stops []func() error
	for _, host := range hosts {
		stops = append(stops, host.work(t, chain.WorkOptions{Concurrency: 8}, books.handler(func(context.Context) {})))
	}
	const switches = 12
	var wg sync.WaitGroup
	var started atomic.Int64
	var longest atomic.Int64
	over := make(chan struct{})
	for i := range 12 {
		host := hosts[i%len(hosts)]
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				began := time.Now()
				if err := books.start(t.Context(), host.Chain, fmt.Sprintf("%d-%d", i, n)); err != nil {
					t.Errorf("a caller saw an error: %v", err)
					return
				}
				started.Add(1)
				for took := int64(time.Since(began)); ; {
					most := longest.Load()
					if took <= most || longest.CompareAndSwap(most, took) {
						break
					}
				}
			}
		})
	}
	for n := range switches {
		before := started.Load()
		eventually(t, "load", func() bool { return started.Load() > before+20 })
		name := linkNames[(n+1)%2]
		eventually(t, "the switch to "+name, func() bool { return hosts[n%len(hosts)].SwitchTo(t.Context(), name) == nil })
	}
	close(over)
	wg.Wait()
	eventually(t, "all is done", func() bool { return finished(t, hosts[0].Chain) == int(started.Load()) })
	for _, stop := range stops {
		require.NoError(t, stop())
	}
	books.balance(t, hosts[0].Chain, int(started.Load()))
	same(t, stores[0], stores[1])
	var pauses []time.Duration
	for _, host := range hosts {
		require.Empty(t, eventsOf[chain.FailedOver](host))
		require.Empty(t, eventsOf[chain.StandbyDropped](host))
		for _, e := range eventsOf[chain.Switched](host) {
			pauses = append(pauses, e.Pause)
		}
	}
	require.NotEmpty(t, pauses) // a switch that another host has completed is told by none
	t.Logf("%d starts, longest wait %s, pauses of the switches %v", started.Load(), time.Duration(longest.Load()), pauses)
}
