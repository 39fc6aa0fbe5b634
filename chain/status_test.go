// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

func statesOf(o chain.Overview) []chain.LinkState {
	states := make([]chain.LinkState, len(o.Links))
	for i, l := range o.Links {
		states[i] = l.State
	}
	return states
}

func codesOf(o chain.Overview) []string {
	codes := make([]string, len(o.Transitions))
	for i, t := range o.Transitions {
		codes[i] = t.Event
	}
	return codes
}

func TestStatusOfAChainThatServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		b.start(t, "w")
		time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble: status checks
		o := b.Status()
		require.Equal(t, "test", o.Chain)
		require.NotEmpty(t, o.Host)
		require.Equal(t, chain.Serves, o.Condition)
		require.True(t, o.Protected)
		require.Nil(t, o.Frozen)
		require.Equal(t, "a", o.Epoch.Active)
		require.Equal(t, []string{"b", "c"}, o.Epoch.InSync)
		require.Equal(t, []chain.LinkState{chain.LinkActive, chain.LinkInSync, chain.LinkInSync}, statesOf(o))
		for _, l := range o.Links {
			require.NotEmpty(t, l.Driver)
			require.False(t, l.Check.At.IsZero())
			require.Positive(t, l.Check.Rises)
			require.Nil(t, l.Evidence)
			require.Equal(t, int64(1), l.Check.Records)
		}
	})
}

// The keys stand in dashboards and scripts.
func TestStatusAsJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[0].fail(driver.Unavailable)
		b.start(t, "w")
		b.Freeze("upgrade")
		text, err := json.Marshal(b.Status())
		require.NoError(t, err)
		var o map[string]any
		require.NoError(t, json.Unmarshal(text, &o))
		for _, key := range []string{"chain", "host", "at", "epoch", "condition", "protected", "unmirrored", "in_flight", "frozen", "incidents", "links", "transitions"} {
			require.Contains(t, o, key)
		}
		epoch, ok := o["epoch"].(map[string]any)
		require.True(t, ok)
		require.Equal(t, map[string]any{"number": 4.0, "version": 1.0, "active": "b", "state": "serving", "in_sync": []any{}}, epoch)
		transitions, ok := o["transitions"].([]any)
		require.True(t, ok)
		var failedOver map[string]any
		for _, one := range transitions {
			if one, ok := one.(map[string]any); ok && one["event"] == "failed_over" {
				failedOver, _ = one["details"].(map[string]any)
			}
		}
		require.Equal(t, "a", failedOver["from"])
		require.Equal(t, "b", failedOver["to"])
		require.InDelta(t, 4, failedOver["attempts"], 0)
		require.Equal(t, map[string]any{"class": "unavailable", "text": "a: commit: unavailable"}, failedOver["cause"])
		require.Equal(t, epoch, failedOver["epoch"])
		require.Equal(t, false, failedOver["protected"])
		require.Regexp(t, `^\d+(\.\d+)?m?s$`, failedOver["elapsed"])
	})
}

func TestStatusThroughAnIncident(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newFaulty(nil), newFaulty(nil))
		config.Policy.Failback = chain.FailbackOff // the chain itself makes no calls
		b := open(t, config)
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "w")
		o := b.Status()
		require.False(t, o.Protected)
		require.Equal(t, chain.Serves, o.Condition)
		require.Equal(t, chain.LinkActive, o.Links[0].State)
		require.Contains(t, []chain.LinkState{chain.LinkOutOfStep, chain.LinkIsDown}, o.Links[1].State)
		require.Contains(t, o.Links[1].Evidence.String(), "unavailable")
		require.Contains(t, codesOf(o), "standby_dropped")

		b.stores[0].fail(driver.Unavailable, "commit")
		done := make(chan driver.Record, 1)
		b.startAsync(t, "v", done)
		synctest.Wait()
		o = b.Status()
		require.Equal(t, chain.Fails, o.Condition)
		require.Len(t, o.Incidents, 1)
		i := o.Incidents[0]
		require.Equal(t, "mutations", i.Of)
		require.Equal(t, 1, i.Attempts)
		require.Equal(t, 3, i.Rounds)
		require.Equal(t, "unavailable", i.Last.Class)
		require.InDelta(t, 10*time.Second, time.Duration(i.Left), float64(time.Second))
		require.Equal(t, 1, o.InFlight)
		time.Sleep(20 * time.Second) //nolint:forbidigo // the clock of the bubble
		o = b.Status()
		require.Equal(t, chain.Down, o.Condition)
		require.Contains(t, codesOf(o), "all_down")
		require.Equal(t, chain.LinkIsDown, o.Links[1].State)

		b.stores[0].fail(nil)
		<-done
		synctest.Wait()
		require.Equal(t, chain.Serves, b.Status().Condition)
	})
}

func TestStatusKeepsTheLatestTransitions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		for i := range 120 {
			b.Freeze(fmt.Sprint(i))
		}
		all := b.Status().Transitions
		require.Len(t, all, 100)
		require.Equal(t, map[string]any{"reason": "20"}, all[0].Details)
		require.Contains(t, all[99].String(), ` frozen {"reason":"119"}`)
	})
}

func TestCodes(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]chain.Event{"failed_over": chain.FailedOver{}, "all_down": chain.AllDown{}, "frozen": chain.Frozen{},
		"effect_unresolved": chain.EffectUnresolved{}} {
		require.Equal(t, want, chain.Code(e))
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 4)
		f := b.DryRun(t.Context())
		require.Equal(t, "a", f.Active)
		require.Equal(t, "b", f.Target)
		require.True(t, f.Protected)
		require.False(t, f.Waits)
		require.Equal(t, []chain.Candidate{{Name: "b", Fit: true}, {Name: "c", Fit: true}, {Name: "d", Fit: true}}, f.Links)

		b.stores[1].fail(errTest, "merge")
		b.start(t, "w") // b is dropped
		b.stores[2].fail(driver.Unavailable, "epoch")
		f = b.DryRun(t.Context())
		require.Equal(t, "d", f.Target)
		require.False(t, f.Protected)
		require.False(t, f.Links[0].Fit)
		require.Contains(t, f.Links[0].Why, "out of step")
		require.Contains(t, f.Links[1].Why, "c: read epoch: unavailable")
		require.NoError(t, b.SetPolicy(chain.Policy{MinInSync: 1}))
		require.True(t, b.DryRun(t.Context()).Waits)

		b.stores[3].freeze()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		f = b.DryRun(ctx)
		require.LessOrEqual(t, time.Since(began), time.Second)
		require.Empty(t, f.Target)
		require.False(t, f.Waits)
		require.Equal(t, "a", b.Status().Epoch.Active, "nothing has changed")
	})
}

// What a dry run foretells is what happens.
func TestDryRunForetells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		b.stores[1].fail(driver.Unavailable, "epoch", "advance", "merge")
		f := b.DryRun(t.Context())
		b.stores[0].fail(driver.Unavailable)
		b.start(t, "w")
		o := b.Status()
		require.Equal(t, f.Target, o.Epoch.Active)
		require.Equal(t, f.Protected, o.Protected)
	})
}

// A link that has missed something is foretold where policy lets it serve.
func TestDryRunForetellsAStaleLink(t *testing.T) {
	t.Parallel()
	for _, policy := range []chain.StaleStandby{chain.StaleWait, chain.StaleServe} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := configOf(newStores(2)...)
				config.Policy = chain.Policy{StaleStandby: policy, Failback: chain.FailbackOff}
				b := open(t, config)
				b.stores[1].fail(driver.Unavailable, "merge")
				b.start(t, "w")
				f := b.DryRun(t.Context())
				require.Contains(t, f.Links[0].Why, "out of step")
				require.Equal(t, policy == chain.StaleServe, f.Stale)
				require.Equal(t, policy == chain.StaleServe, f.Links[0].Fit)
				if policy == chain.StaleWait {
					require.Empty(t, f.Target)
					return
				}
				require.Equal(t, "b", f.Target)
				require.False(t, f.Protected)
				b.stores[1].fail(nil)
				b.stores[0].fail(driver.Unavailable)
				b.start(t, "x")
				require.Equal(t, f.Target, b.Status().Epoch.Active)
			})
		})
	}
}

func TestFreezeHoldsAFailoverBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.Freeze("upgrade of a")
		require.Equal(t, "upgrade of a", b.Status().Frozen.Reason)
		require.Equal(t, "upgrade of a", b.DryRun(t.Context()).Frozen)
		b.stores[0].fail(driver.Unavailable)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "w", done)
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
		o := b.Status()
		require.Equal(t, "a", o.Epoch.Active)
		require.Equal(t, chain.Down, o.Condition)
		require.Equal(t, 1, b.logs.FilterMessageSnippet("frozen: no failover, callers wait").Len())
		require.Empty(t, done)
		b.stores[0].fail(nil)
		<-done
		require.Equal(t, chain.Serves, b.Status().Condition)

		b.stores[0].fail(driver.Unavailable)
		b.startAsync(t, "v", done)
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
		require.Empty(t, done)
		b.Thaw()
		<-done
		o = b.Status()
		require.Equal(t, "b", o.Epoch.Active)
		require.Nil(t, o.Frozen)
		require.Len(t, eventsOf[chain.Thawed](b), 1)
		b.Thaw()
		synctest.Wait()
		require.Len(t, eventsOf[chain.Thawed](b), 1, "it was not frozen")
	})
}

// What is shown as empty is not frozen.
func TestFreezeWithoutAReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.Freeze("")
		require.NotEmpty(t, b.DryRun(t.Context()).Frozen)
		require.Equal(t, b.DryRun(t.Context()).Frozen, b.Status().Frozen.Reason)
		b.Thaw()
		require.Empty(t, b.DryRun(t.Context()).Frozen)
	})
}

// An idle host must not fail over either: status checks see the failure.
func TestFreezeHoldsStatusChecksBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.Freeze("upgrade of a")
		b.stores[0].freeze()
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
		require.Equal(t, "a", b.Status().Epoch.Active)
		b.Thaw()
		time.Sleep(20 * time.Second) //nolint:forbidigo // the clock of the bubble
		require.Equal(t, "b", b.Status().Epoch.Active)
	})
}

func TestFreezeHoldsRepairAndFailbackBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[0].fail(driver.Unavailable)
		b.start(t, "w")
		b.Freeze("upgrade of a")
		b.stores[0].fail(nil)
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the clock of the bubble
		o := b.Status()
		require.Equal(t, "b", o.Epoch.Active)
		require.Equal(t, chain.LinkOutOfStep, o.Links[0].State)

		b.Thaw()
		time.Sleep(10 * time.Second) //nolint:forbidigo // the clock of the bubble
		o = b.Status()
		require.Equal(t, chain.LinkInSync, o.Links[0].State)
		require.Equal(t, "b", o.Epoch.Active)
		require.Equal(t, driver.Duration(time.Minute), o.Links[0].HoldDown.For)

		b.Freeze("not yet")
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the clock of the bubble
		require.Equal(t, "b", b.Status().Epoch.Active, "no failback")
		b.Thaw()
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the clock of the bubble
		o = b.Status()
		require.Equal(t, "a", o.Epoch.Active)
		require.Nil(t, o.Links[0].HoldDown)
	})
}

func TestStatusOfAResync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[1].fail(errTest, "merge")
		b.StartBatch(t.Context(), batchOf(1000))
		require.False(t, b.Status().Protected)
		b.stores[1].hook(func(_ context.Context, op string) error {
			if op == "merge" {
				time.Sleep(2 * time.Second) //nolint:forbidigo // the clock of the bubble
			}
			return nil
		})
		eventually(t, "resyncing", func() bool { return b.Status().Links[1].State == chain.LinkResyncing })
		o := b.Status()
		require.NotEmpty(t, o.Links[1].Resync.Step)
		require.Contains(t, codesOf(o), "resync_started")
		_, err := json.Marshal(o)
		require.NoError(t, err)
		b.stores[1].fail(nil)
		eventually(t, "in step", func() bool { return b.Status().Links[1].State == chain.LinkInSync })
		require.Nil(t, b.Status().Links[1].Resync)
	})
}

// Each standby has a lag of its own.
func TestStatusTellsTheLagOfEachStandby(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]chain.MirrorMode{"Sync": chain.MirrorSync, "Async": chain.MirrorAsync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := configOf(newStores(3)...)
				config.Policy.MirrorMode, config.Policy.Mirror = mode, 10*time.Second
				b := open(t, config)
				lag := func(link int) chain.LagStatus { return *b.Status().Links[link].Lag }
				require.Nil(t, b.Status().Links[0].Lag, "the active link")
				require.Equal(t, chain.LagStatus{}, lag(1))

				release := b.stores[2].hold("merge")
				done := make(chan driver.Record, 3)
				for n := range 3 {
					b.startAsync(t, fmt.Sprint(n), done)
					sleep(500 * time.Millisecond)
				}
				require.Equal(t, chain.LagStatus{}, lag(1), "it has everything")
				require.Equal(t, chain.LagStatus{Records: 3, Age: driver.Duration(1500 * time.Millisecond)}, lag(2))
				release()
				for range 3 {
					<-done
				}
				synctest.Wait()
				require.Equal(t, chain.LagStatus{}, lag(2))

				b.stores[2].fail(driver.Internal, "merge")
				b.start(t, "w")
				sleep(time.Second) // of what was acknowledged a standby learns a little later
				require.Nil(t, b.Status().Links[2].Lag, "it is out of step")
				require.Equal(t, chain.LagStatus{}, lag(1))
			})
		})
	}
}
