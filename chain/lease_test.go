// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// TestShortLeaseOfASlowStore: the answers of the store take long, so that its
// time is known badly, and leases are short. No two hosts work at once
// nevertheless.
func TestShortLeaseOfASlowStore(t *testing.T) {
	t.Parallel()
	for name, beats := range map[string]time.Duration{"Claimed": 0, "Extended": 2500 * time.Millisecond, "OftenExtended": 20 * time.Second,
		"ExtendedByEffects": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 1)
				other := open(t, configOf(b.stores[0].another()))
				b.start(t, "w")
				slow := func(string) error { sleep(time.Second); return nil }
				b.stores[0].answers(slow)
				sleep(time.Minute) // what was known of the clock is old
				var begun, stopped, taken atomic.Int64
				stop := b.work(t, chain.WorkOptions{Lease: 3 * time.Second, Heartbeat: 500 * time.Millisecond},
					func(ctx context.Context, h *chain.Handle) ([]byte, error) {
						begun.Store(time.Now().UnixNano())
						for n := 0; name == "ExtendedByEffects" && ctx.Err() == nil; n++ {
							_, _ = h.Once(ctx, fmt.Sprint(n), func(context.Context, string) ([]byte, error) { return nil, nil }, nil) // it fails in the end
						}
						<-ctx.Done()
						stopped.Store(time.Now().UnixNano())
						return nil, ctx.Err()
					})
				eventually(t, "the claim", func() bool { return begun.Load() > 0 })
				sleep(beats)
				require.Zero(t, stopped.Load(), "the lease is extended")
				b.stores[0].fail(driver.Unavailable) // for the first host only
				stopOther := other.work(t, chain.WorkOptions{}, func(context.Context, *chain.Handle) ([]byte, error) {
					taken.Store(time.Now().UnixNano())
					return nil, nil
				})
				eventually(t, "the takeover", func() bool { return taken.Load() > 0 })
				sleep(time.Minute)
				require.LessOrEqual(t, stopped.Load(), taken.Load(), "%s late", time.Duration(stopped.Load()-taken.Load()))
				require.NoError(t, stop())
				require.NoError(t, stopOther())
				b.stores[0].answers(nil)
			})
		})
	}
}

// TestManyAttempts: a limit that no counter holds is none that is reached, and
// not one that has been reached already.
func TestManyAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		var attempts atomic.Int64
		stop := b.work(t, chain.WorkOptions{Retry: chain.RetryPolicy{MaxAttempts: math.MaxUint32 + 2, Backoff: time.Second}},
			func(context.Context, *chain.Handle) ([]byte, error) {
				if attempts.Add(1) < 3 {
					return nil, errTest
				}
				return nil, nil
			})
		b.start(t, "w")
		b.until(t, "w", driver.Succeeded)
		require.NoError(t, stop())
	})
}

// TestFailedAttemptsAreLogged: whoever looks for a reason finds it.
func TestFailedAttemptsAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		stop := b.work(t, chain.WorkOptions{}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			switch {
			case h.Step() == "":
				require.NoError(t, h.Save(ctx, "verified", nil))
				return nil, errTest
			case h.Attempt() < 3:
				return nil, errTest
			}
			return nil, chain.Permanent(errTest)
		})
		b.start(t, "w")
		b.until(t, "w", driver.Failed)
		require.NoError(t, stop())
		lines := b.logs.FilterMessage("attempt failed").All()
		require.Len(t, lines, 3)
		for i, line := range lines {
			require.Equal(t, zap.WarnLevel, line.Level)
			fields := line.ContextMap()
			require.Equal(t, "w", fields["id"])
			require.Equal(t, "verified", fields["step"])
			require.EqualValues(t, i+1, fields["attempt"])
			require.Equal(t, "test", fields["error"])
			require.Equal(t, i == 2, fields["permanent"])
		}
	})
}

// A claim waits for a standby longer than its lease: no handler begins on it, and
// the workflow is claimed again.
func TestNoHandlerBeginsAfterItsLease(t *testing.T) {
	t.Parallel()
	for range 20 { // a context that is about to be done may not be so yet
		synctest.Test(t, func(t *testing.T) {
			config := configOf(newStores(2)...)
			config.Policy.MinInSync = 1
			b := open(t, config)
			b.start(t, "w")
			b.stores[1].fail(driver.Unavailable)
			var mu sync.Mutex
			var attempts []int
			stop := b.work(t, chain.WorkOptions{Lease: 20 * time.Second}, func(_ context.Context, h *chain.Handle) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				attempts = append(attempts, h.Attempt())
				return nil, nil
			})
			eventually(t, "the claim", func() bool { return b.stores[0].held(t, "w").Status == driver.Leased })
			sleep(time.Minute)
			b.stores[1].fail(nil)
			b.inStep(t, 0, "b")
			within(t, time.Minute, "the end", func() bool { return b.stores[0].held(t, "w").Status == driver.Succeeded })
			require.NoError(t, stop())
			require.Equal(t, []int{2}, attempts)
			require.Len(t, b.logs.FilterMessage("lease lost").FilterField(zap.String("id", "w")).All(), 1)
		})
	}
}
