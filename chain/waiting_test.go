// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// TestWaitingCallersAreBounded: while all links are down, so many callers wait
// and no more; heartbeats are not among them.
func TestWaitingCallersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newFaulty(nil), newFaulty(nil))
		config.Policy.MaxWaiting = 20
		b := open(t, config)
		hold := make(chan struct{})
		var lost error
		stop := b.work(t, chain.WorkOptions{Lease: 10 * time.Minute}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			select {
			case <-hold:
				return nil, h.Save(ctx, "saved", nil)
			case <-ctx.Done():
				lost = context.Cause(ctx)
				return nil, lost
			}
		})
		b.start(t, "w")
		synctest.Wait()
		for i, s := range b.stores {
			s.fail(fmt.Errorf("%s is broken: %w", linkNames[i], driver.Unavailable))
		}
		results := make(chan error, 30)
		call := func(i int) {
			var err error
			switch i % 3 {
			case 0:
				_, err = b.Start(t.Context(), chain.Workflow{ID: fmt.Sprint("n", i), Kind: "other"})
			case 1:
				_, err = b.Get(t.Context(), "w")
			case 2:
				_, err = b.List(t.Context(), chain.Filter{})
			}
			results <- err
		}
		for i := range 20 {
			go call(i)
		}
		sleep(5 * time.Minute)
		require.Empty(t, results, "they wait")
		for i := range 3 {
			began := time.Now()
			call(21 + i)
			err := <-results
			require.Zero(t, time.Since(began), "at once")
			require.ErrorIs(t, err, driver.Unavailable)
			require.ErrorContains(t, err, "20 calls wait already (Policy.MaxWaiting)")
			require.ErrorContains(t, err, "a is broken")
			require.ErrorContains(t, err, "b is broken")
		}
		close(hold)
		sleep(time.Second)
		for _, s := range b.stores {
			s.fail(nil)
		}
		for range 20 {
			require.NoError(t, <-results)
		}
		b.until(t, "w", driver.Succeeded)
		require.NoError(t, lost)
		require.NoError(t, stop())
	})
}

// TestWaitingCallersDoNotKeepLinksOut: as many callers as may wait for a standby; it
// is brought back all the same.
func TestWaitingCallersDoNotKeepLinksOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(2)...)
		config.Policy.MaxWaiting, config.Policy.MinInSync = 20, 1
		b := open(t, config)
		b.start(t, "w")
		b.stores[1].fail(driver.Unavailable)
		results := make(chan error, 20)
		for i := range 20 {
			go func() {
				_, err := b.Start(t.Context(), chain.Workflow{ID: fmt.Sprint("n", i), Kind: "call"})
				results <- err
			}()
		}
		sleep(time.Minute)
		require.Empty(t, results)
		b.stores[1].fail(nil)
		b.inStep(t, 0, "b")
		for range 20 {
			require.NoError(t, <-results)
		}
		require.Equal(t, 21, same(t, b.stores[0], b.stores[1]))
	})
}
