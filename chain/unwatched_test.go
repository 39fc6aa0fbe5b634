// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// crash ends the only host of a chain over n stores at the moment when it has
// acknowledged the workflow "acknowledged". The links named end with it, come back
// without it, and begin another incarnation.
func crash(t *testing.T, n int, lose ...int) (stores []*faulty) {
	t.Helper()
	b := openN(t, n)
	b.start(t, "w")
	sleep(5 * time.Second)
	restore := map[int]func(){}
	for _, i := range lose {
		restore[i] = b.stores[i].model.Snapshot()
	}
	b.start(t, "acknowledged")
	require.NoError(t, b.Close(t.Context()))
	for i, back := range restore {
		back()
		b.stores[i].model.Restart()
	}
	return others(b.stores)
}

const nobodyKnows = "what it may have lost is not known"

// The only host and the active link end together, and the link comes back without
// its last second. The standby has it.
func TestActiveLinkThatRestartedUnwatchedIsLeft(t *testing.T) {
	t.Parallel()
	for _, links := range []int{2, 3} {
		synctest.Test(t, func(t *testing.T) {
			stores := crash(t, links, 0)
			b := open(t, configOf(stores...))
			defer b.dump(t)
			_, err := b.Get(t.Context(), "acknowledged")
			require.NoError(t, err)
			require.Equal(t, "b", b.Status().Epoch.Active)
			synctest.Wait()
			require.Len(t, eventsOf[chain.LinkLost](b), 1)
			within(t, 5*time.Minute, "the failback", func() bool { return b.Status().Epoch.Active == "a" })
			require.NotNil(t, stores[0].held(t, "acknowledged"))
			require.Len(t, eventsOf[chain.FailedOver](b), 1)
			require.Len(t, eventsOf[chain.Joined](b), 1)
			at := stores[0].epoch(t)
			require.Len(t, at.Incarnations, links)

			require.NoError(t, b.Close(t.Context()))
			next := open(t, configOf(others(stores)...))
			sleep(time.Minute)
			require.Equal(t, at, stores[0].epoch(t), "the doubt is over for all hosts")
			require.Equal(t, chain.Serves, next.Status().Condition)
		})
	}
}

// Nothing of what a link does that has restarted unwatched is acknowledged, or seen
// by a caller, before it is left, also where several hosts begin at once.
func TestNobodyReadsALinkThatRestartedUnwatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := crash(t, 2, 0)
		done := make(chan error, 6)
		for range 3 {
			b := open(t, configOf(others(stores)...))
			go func() {
				_, err := b.Get(t.Context(), "acknowledged")
				done <- err
			}()
			go func() {
				r, err := b.Start(t.Context(), chain.Workflow{ID: "acknowledged", Kind: "call", Input: []byte("input of acknowledged")})
				if err == nil && r.Epoch != firstEpoch {
					err = driver.Exists // another one was started
				}
				done <- err
			}()
		}
		for range cap(done) {
			require.NoError(t, <-done)
		}
	})
}

func TestStandbyThatRestartedUnwatchedIsFilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := crash(t, 2, 1)
		b := open(t, configOf(stores...))
		within(t, time.Minute, "dropped", func() bool { return len(eventsOf[chain.StandbyDropped](b)) == 1 })
		within(t, time.Minute, "back", func() bool { return len(eventsOf[chain.Joined](b)) == 1 })
		require.Equal(t, "a", b.Status().Epoch.Active)
		require.NotNil(t, stores[1].held(t, "acknowledged"))
	})
}

// A standby that restarted unwatched does not take over before the host has looked
// at it, when another one can.
func TestStandbyThatRestartedUnwatchedDoesNotTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := crash(t, 3, 1)
		stores[0].fail(driver.Unavailable)
		b := open(t, configOf(stores...))
		_, err := b.Get(t.Context(), "acknowledged")
		require.NoError(t, err)
		require.Equal(t, "c", b.Status().Epoch.Active)
	})
}

// Without a link that need not be doubted nobody is served by a doubt.
func TestAllLinksRestartedUnwatched(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		links  int
		lose   []int
		silent []int
	}{
		"All":               {2, []int{0, 1}, nil},
		"TheOtherIsDown":    {2, []int{0}, []int{1}},
		"TheActiveIsDown":   {2, []int{1}, []int{0}},
		"OneOfTheTwoOthers": {3, []int{0, 1}, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stores := crash(t, tc.links, tc.lose...)
				for _, i := range tc.silent {
					stores[i].fail(driver.Unavailable)
				}
				b := open(t, configOf(stores...))
				b.start(t, "x")
				require.NotEmpty(t, b.logs.FilterMessageSnippet(nobodyKnows).All())
				for _, i := range tc.silent {
					stores[i].fail(nil)
				}
				sleep(10 * time.Minute)
				at := stores[0].epoch(t)
				require.Equal(t, "a", at.Active)
				require.Len(t, at.InSync, tc.links-1)
				sleep(10 * time.Minute)
				require.Equal(t, at, stores[0].epoch(t), "all is well for good")
			})
		})
	}
}

// A chain of one has nobody to doubt it for.
func TestTheOnlyLinkIsNeverDoubted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := crash(t, 1, 0)
		b := open(t, configOf(stores...))
		b.start(t, "x")
		require.Zero(t, b.logs.FilterMessageSnippet(nobodyKnows).Len())
		require.Equal(t, driver.EpochVersion{Number: 1, Version: 1}, stores[0].epoch(t).At())
	})
}

// A store of a chain that another version has left knows nothing of incarnations.
func TestNothingIsDoubtedThatWasNotNoted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := crash(t, 2, 0)
		for _, s := range stores {
			e := s.epoch(t)
			next := e.Clone()
			next.Version, next.Token, next.Incarnations = e.Version+1, driver.Token{1}, nil
			_, err := s.Advance(t.Context(), driver.AdvanceRequest{Expect: e.At(), Next: next})
			require.NoError(t, err)
		}
		b := open(t, configOf(stores...))
		b.start(t, "x")
		require.Equal(t, "a", b.Status().Epoch.Active)
		within(t, time.Minute, "noted", func() bool { return len(stores[1].epoch(t).Incarnations) == 2 })
		require.Equal(t, firstEpoch, stores[0].epoch(t).Number)
	})
}

// A restart that a host has watched raises no doubt, neither in it nor in hosts that
// begin at that moment or later.
func TestWatchedRestartsRaiseNoDoubt(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]int{"Active": 0, "Standby": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				b.start(t, "w")
				hosts := []*bench{b}
				defer func() {
					for _, host := range hosts {
						host.dump(t)
					}
				}()
				for range 5 {
					sleep(5 * time.Second)
					b.stores[link].model.Restart()
					hosts = append(hosts, open(t, configOf(others(b.stores)...)))
				}
				sleep(time.Minute)
				for _, host := range hosts {
					require.Empty(t, eventsOf[chain.LinkLost](host))
					require.Zero(t, host.logs.FilterMessageSnippet(nobodyKnows).Len())
				}
				at := b.stores[0].epoch(t)
				require.Equal(t, firstEpoch, at.Number)
				require.LessOrEqual(t, at.Version, uint64(6), "each restart is noted once, by one of the hosts")
				for _, host := range hosts {
					require.NoError(t, host.Close(t.Context()))
				}
				again := open(t, configOf(others(b.stores)...))
				again.start(t, "x")
				sleep(time.Minute)
				require.Equal(t, at, b.stores[0].epoch(t))
			})
		})
	}
}

// A link that was brought back, by whichever host, is doubted by none.
func TestLinkThatWasBroughtBackIsNotDoubted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		second := open(t, configOf(others(b.stores)...))
		b.start(t, "w")
		b.stores[1].model.Erase()
		within(t, 5*time.Minute, "back", func() bool { return len(eventsOf[chain.Joined](b))+len(eventsOf[chain.Joined](second)) == 2 })
		sleep(10 * time.Second)
		at := b.stores[0].epoch(t)
		require.Len(t, at.Incarnations, 2)
		require.NoError(t, b.Close(t.Context()))
		require.NoError(t, second.Close(t.Context()))
		third := open(t, configOf(others(b.stores)...))
		third.start(t, "x")
		sleep(time.Minute)
		require.Equal(t, at, b.stores[0].epoch(t))
		require.Empty(t, eventsOf[chain.LinkLost](third))
	})
}
