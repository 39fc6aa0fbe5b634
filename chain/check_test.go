// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// sleep lets the clock of a bubble go on.
func sleep(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // the clock of the bubble

// TestIdleFailover: an active link that fails is left without any traffic, within
// the budget of an incident.
func TestIdleFailover(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault    func(*faulty)
		from, to time.Duration // from the fault to the failover
		attempts int
	}{
		"Refused": {func(f *faulty) { f.fail(driver.Unavailable) }, 1500 * time.Millisecond, 3 * time.Second, 3},
		"Frozen":  {(*faulty).freeze, 7500 * time.Millisecond, 8500 * time.Millisecond, 3},
		"Probe":   {func(f *faulty) { f.fail(driver.Full, "probe") }, 1500 * time.Millisecond, 3 * time.Second, 3},
		"Erased":  {func(f *faulty) { f.model.Erase() }, 0, time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				b.start(t, "w")
				sleep(10 * time.Second)
				began := time.Now()
				tc.fault(b.stores[0])
				eventually(t, "the failover", func() bool { return len(eventsOf[chain.FailedOver](b)) > 0 })
				require.GreaterOrEqual(t, time.Since(began), tc.from)
				require.LessOrEqual(t, time.Since(began), tc.to)
				e := eventsOf[chain.FailedOver](b)[0]
				require.ErrorContains(t, e.Cause, "status checks: ")
				require.Equal(t, tc.attempts, e.Attempts)
				require.LessOrEqual(t, e.Elapsed, 10*time.Second)
				require.Len(t, b.logs.FilterLevelExact(zap.ErrorLevel).All(), 1)
				require.Equal(t, movedEpoch, b.start(t, "x").Epoch)
			})
		})
	}
}

func TestChecksThatFailNowAndThenAreNoFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		n := 0
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op != "probe" {
				return nil
			}
			if n++; n%3 != 0 {
				return driver.Unavailable
			}
			return nil
		})
		sleep(2 * time.Minute)
		require.Empty(t, eventsOf[chain.FailedOver](b))
		require.Empty(t, eventsOf[chain.LinkDown](b))
	})
}

// A link that answers its callers serves, whatever a check says; but not if the
// check says that it is too slow.
func TestChecksAndTraffic(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		probe func(context.Context, string) error
		over  bool
	}{
		"Failing": {func(_ context.Context, op string) error {
			if op == "probe" {
				return driver.Unavailable
			}
			return nil
		}, false},
		"Slow": {func(ctx context.Context, _ string) error {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
			return nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := configOf(newFaulty(nil), newFaulty(nil))
				config.Policy.Check.Slow = 150 * time.Millisecond
				b := open(t, config)
				b.stores[0].hook(tc.probe)
				for n := range 100 {
					b.start(t, fmt.Sprint(n))
					sleep(100 * time.Millisecond)
				}
				failed := eventsOf[chain.FailedOver](b)
				if !tc.over {
					require.Empty(t, failed)
					return
				}
				require.Len(t, failed, 1)
				require.ErrorContains(t, failed[0].Cause, "more than the latency budget of 150ms")
			})
		})
	}
}

// A host that does nothing learns what others decide within one interval.
func TestIdleHostFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		other := open(t, configOf(b.stores[0].another(), b.stores[1].another(), b.stores[2].another()))
		b.stores[0].fail(driver.Unavailable, "commit") // for the first host only
		b.start(t, "w")
		sleep(time.Second)
		require.Len(t, eventsOf[chain.Followed](other), 1)
		require.Equal(t, "a", eventsOf[chain.Followed](other)[0].From)
		require.Empty(t, eventsOf[chain.FailedOver](other))
	})
}

// TestIdleStandbyThatLostItsData is out of the set before anybody relies on it.
func TestIdleStandbyThatLostItsData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		sleep(3 * time.Second)
		b.stores[1].model.Erase()
		sleep(time.Second)
		dropped := eventsOf[chain.StandbyDropped](b)
		require.Len(t, dropped, 1)
		require.ErrorIs(t, dropped[0].Cause, driver.Lost)
		require.Empty(t, b.stores[0].epoch(t).InSync)
	})
}

// TestStoreChanged: a product that has restarted is compared with what was seen.
func TestStoreChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		sleep(3 * time.Second)
		for i, s := range b.stores {
			s.reports(func(r *driver.ProbeResponse) { r.Generation, r.Role = fmt.Sprint("second", i), "restarted" })
		}
		changed := time.Now()
		sleep(5 * time.Second)
		events := eventsOf[chain.StoreChanged](b)
		require.Len(t, events, 2, "once for each link")
		for _, e := range events {
			require.NoError(t, e.Err)
			require.Equal(t, "restarted", e.Role)
			require.Contains(t, e.To, "second")
			require.NotEqual(t, e.From, e.To)
			require.LessOrEqual(t, e.Since, changed)
		}
		require.Empty(t, eventsOf[chain.FailedOver](b), "nothing is missing")

		probes := b.stores[0].count("probe")
		lose := b.stores[0].model.Snapshot()
		b.start(t, "x")
		b.stores[0].reports(func(r *driver.ProbeResponse) { r.Generation = "third" })
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op == "probe" && b.stores[0].count("probe") == probes+2 {
				lose() // between the check and the comparison
			}
			return nil
		})
		eventually(t, "the failover", func() bool { return len(eventsOf[chain.FailedOver](b)) == 1 })
		require.ErrorIs(t, eventsOf[chain.FailedOver](b)[0].Cause, driver.Lost)
		events = eventsOf[chain.StoreChanged](b)
		require.ErrorIs(t, events[2].Err, driver.Lost)
	})
}

// TestProblemsAreToldOncePerChange: not with each check.
func TestProblemsAreToldOncePerChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		sleep(3 * time.Second)
		require.Empty(t, eventsOf[chain.StoreReported](b), "nothing to report")
		bytes := 0
		b.stores[0].reports(func(r *driver.ProbeResponse) {
			bytes++
			r.Problems = []driver.Problem{{Code: "memory", Text: fmt.Sprint(bytes, " bytes used")}}
			r.Warnings = []driver.Problem{{Code: "persistence", Text: "none"}}
		})
		sleep(time.Minute)
		b.stores[0].reports(nil)
		sleep(3 * time.Second)
		events := eventsOf[chain.StoreReported](b)
		require.Len(t, events, 2)
		require.Equal(t, "memory", events[0].Problems[0].Code)
		require.Equal(t, "persistence", events[0].Warnings[0].Code)
		require.Empty(t, events[1].Problems)
		lines := b.logs.FilterMessage("store reports").All()
		require.Len(t, lines, 2)
		require.Equal(t, zap.WarnLevel, lines[0].Level)
		require.Equal(t, zap.InfoLevel, lines[1].Level)
	})
}

// TestStandbyDownAndUp: a standby that is down is told of once, is checked less
// and less often, and is found again.
func TestStandbyDownAndUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[1].hook(func(ctx context.Context, op string) error {
			if op == "probe" {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		active := b.stores[0].count("probe")
		sleep(10 * time.Minute)
		down := eventsOf[chain.LinkDown](b)
		require.Len(t, down, 1)
		require.Equal(t, "b", down[0].Link)
		require.Empty(t, eventsOf[chain.StandbyDropped](b), "nothing has been acknowledged without it")
		require.GreaterOrEqual(t, b.stores[0].count("probe")-active, 600, "the other checks go on")
		require.Less(t, b.stores[1].count("probe"), 120, "every 6–8 s")
		require.Greater(t, b.stores[1].count("probe"), 70)
		require.Empty(t, b.logs.FilterLevelExact(zap.ErrorLevel).All())

		b.stores[1].fail(nil)
		began := time.Now()
		eventually(t, "the link is up", func() bool { return len(eventsOf[chain.LinkUp](b)) == 1 })
		require.Less(t, time.Since(began), 11*time.Second, "the rest of the pause, and three checks")
	})
}

// TestHungCheck: a driver that never returns has one check of it, not more and
// more of them.
func TestHungCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		release := make(chan struct{})
		var hanging, most atomic.Int64
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op == "probe" {
				most.Store(max(most.Load(), hanging.Add(1)))
				<-release
				hanging.Add(-1)
			}
			return nil
		})
		eventually(t, "the failover", func() bool { return len(eventsOf[chain.FailedOver](b)) == 1 })
		sleep(time.Minute)
		require.Equal(t, int64(1), most.Load())
		close(release)
	})
}

// TestIdleRecovery: when all links were down and the active one is back, that is
// told without anybody calling.
func TestIdleRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		b.start(t, "w")
		b.stores[0].fail(driver.Unavailable)
		sleep(time.Minute)
		require.Len(t, eventsOf[chain.AllDown](b), 1)
		require.Len(t, b.logs.FilterLevelExact(zap.ErrorLevel).All(), 1, "once per state")
		b.stores[0].fail(nil)
		sleep(3 * time.Second)
		require.Len(t, eventsOf[chain.Recovered](b), 1)
		b.stores[0].fail(driver.Unavailable)
		sleep(time.Minute)
		require.Len(t, eventsOf[chain.AllDown](b), 2)
	})
}

// TestSlowCommits: the latency budget is one of what the application calls, too.
// A store whose status checks are quick is left if most commits are slow for as
// long as Fall checks; a slow one now and then is nothing.
func TestSlowCommits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		slow  func(n int64) bool // whether commit n is
		every time.Duration      // between two starts
		over  bool
	}{
		"All":      {func(int64) bool { return true }, 50 * time.Millisecond, true},
		"Most":     {func(n int64) bool { return n%3 != 0 }, 10 * time.Millisecond, true},
		"Some":     {func(n int64) bool { return n%3 == 0 }, 10 * time.Millisecond, false},
		"Outliers": {func(n int64) bool { return n%5 == 0 }, 700 * time.Millisecond, false},
		"Rare":     {func(int64) bool { return true }, 5 * time.Second, false}, // checks in between are quick
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := configOf(newFaulty(nil), newFaulty(nil))
				config.Policy.Check.Slow = 150 * time.Millisecond
				b := open(t, config)
				var commits atomic.Int64
				b.stores[0].commits(func(driver.CommitRequest) error {
					if tc.slow(commits.Add(1)) {
						sleep(200 * time.Millisecond)
					}
					return nil
				})
				began := time.Now()
				for n := 0; time.Since(began) < 20*time.Second; n++ {
					b.start(t, fmt.Sprint(n))
					sleep(tc.every)
				}
				failed := eventsOf[chain.FailedOver](b)
				if !tc.over {
					require.Empty(t, failed)
					require.Empty(t, eventsOf[chain.LinkDown](b))
					return
				}
				require.Len(t, failed, 1)
				require.Regexp(t, `status checks: a: status check: unavailable: \d+ of the \d+ commits since the last one took more than the latency budget of 150ms, up to 200ms`, failed[0].Cause.Error())
				require.Equal(t, 3, failed[0].Attempts)
				require.LessOrEqual(t, failed[0].At.Sub(began), 4*time.Second)
			})
		})
	}
}

// A slow link that no other can take over from goes on serving, and nobody is told
// that all links are down.
func TestSlowLinkWithoutAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(2)...)
		config.Policy = chain.Policy{StaleStandby: chain.StaleServe, Failback: chain.FailbackOff, Check: chain.Check{Slow: 150 * time.Millisecond}}
		b := open(t, config)
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "w")
		b.stores[1].fail(nil) // it has missed one, and stays out
		b.stores[0].commits(func(driver.CommitRequest) error { sleep(200 * time.Millisecond); return nil })
		for n := range 40 {
			b.start(t, fmt.Sprint(n))
		}
		require.Len(t, slices.DeleteFunc(eventsOf[chain.LinkDown](b), func(e chain.LinkDown) bool { return e.Link != "a" }), 1)
		require.Empty(t, eventsOf[chain.AllDown](b))
		require.Empty(t, eventsOf[chain.FailedOver](b))
		o := b.Status()
		require.Equal(t, chain.Fails, o.Condition)
		require.Len(t, o.Incidents, 1)
		require.True(t, o.Incidents[0].Slow)
		b.stores[0].commits(nil)
		sleep(10 * time.Second)
		require.Equal(t, chain.Serves, b.Status().Condition)
		require.True(t, slices.ContainsFunc(eventsOf[chain.LinkUp](b), func(e chain.LinkUp) bool { return e.Link == "a" }))
	})
}
