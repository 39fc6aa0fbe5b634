// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// An incident that nobody has gone on with leaves the next call all of its time.
func TestCallLongAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[0].fail(driver.Unavailable, "commit")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := b.Start(ctx, chain.Workflow{ID: "w", Kind: "call"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		sleep(15 * time.Second)
		before := b.stores[0].count("commit")
		b.stores[0].hook(func(ctx context.Context, op string) error {
			if op != "commit" {
				return nil
			}
			select {
			case <-time.After(100 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return driver.ContextError(ctx, true)
			}
		})
		began := time.Now()
		b.start(t, "x")
		require.Equal(t, 100*time.Millisecond, time.Since(began))
		require.Equal(t, 1, b.stores[0].count("commit")-before)
	})
}

// TestIdleRecoveryAfterCalls: that a link is back is told although those who met its
// failure have gone.
func TestIdleRecoveryAfterCalls(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"AllDown": time.Minute, "OneFailure": time.Millisecond, "FailuresToTheEnd": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 1)
				b.start(t, "w")
				b.stores[0].fail(driver.Unavailable, "get", "commit")
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				_, err := b.Start(ctx, chain.Workflow{ID: "x", Kind: "call"})
				require.ErrorIs(t, err, context.DeadlineExceeded)
				_, err = b.Get(ctx, "w")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				b.stores[0].fail(driver.Unavailable)
				if wait < 2*time.Minute {
					sleep(time.Minute)
				}
				require.Len(t, eventsOf[chain.AllDown](b), 1)
				require.Equal(t, chain.Down, b.Status().Condition)
				b.stores[0].fail(nil)
				sleep(15 * time.Second)
				require.Len(t, eventsOf[chain.Recovered](b), 1)
				require.Equal(t, chain.Serves, b.Status().Condition)
			})
		})
	}
}
