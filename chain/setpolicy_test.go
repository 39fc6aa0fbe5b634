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

func TestSetPolicyCountsFromTheNextFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		require.Equal(t, 3, b.Policy().Retries)
		require.NoError(t, b.SetPolicy(chain.Policy{Retries: 1, Backoff: 100 * time.Millisecond}))
		require.Equal(t, 1, b.Policy().Retries)
		require.Equal(t, 10*time.Second, b.Policy().Timeout, "zero fields mean the defaults")
		b.stores[0].fail(driver.Unavailable, "commit")
		began := time.Now()
		b.start(t, "w")
		require.Less(t, time.Since(began), time.Second)
		synctest.Wait()
		failed := eventsOf[chain.FailedOver](b)
		require.Len(t, failed, 1)
		require.Equal(t, 2, failed[0].Attempts)
	})
}

// What waits for standbys goes on as soon as the policy no longer wants them, calls
// and workers alike.
func TestSetPolicyReleasesWhatWaitsForStandbys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(2)...)
		config.Policy.MinInSync, config.Policy.Failback = 1, chain.FailbackOff
		b := open(t, config)
		b.start(t, "before")
		b.stores[1].fail(driver.Unavailable)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "w", done)
		stop := b.work(t, chain.WorkOptions{}, func(context.Context, *chain.Handle) ([]byte, error) {
			return nil, nil
		})
		sleep(time.Minute)
		require.Equal(t, chain.WaitsInSync, b.Status().Condition)
		require.Empty(t, done)

		p := b.Policy()
		p.MinInSync = 0
		require.NoError(t, b.SetPolicy(p))
		within(t, time.Second, "the call", func() bool { return len(done) == 1 })
		within(t, 10*time.Second, "the work", func() bool { return b.stores[0].held(t, "w").Status == driver.Succeeded })
		require.Equal(t, chain.Serves, b.Status().Condition)
		require.NoError(t, stop())
	})
}

// A link that may serve although it has missed something does so as soon as the
// policy says it.
func TestSetPolicyLetsAStaleLinkServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := leaveBehind(t, 1, func(*chain.Policy) {})
		b.stores[0].fail(driver.Denied)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "x", done)
		sleep(time.Minute)
		require.Equal(t, chain.Down, b.Status().Condition)
		p := b.Policy()
		p.StaleStandby = chain.StaleServe
		require.NoError(t, b.SetPolicy(p))
		within(t, 10*time.Second, "the call", func() bool { return len(done) == 1 })
		require.Equal(t, "b", b.Status().Epoch.Active)
	})
}

func TestSetPolicyRefusesAsAWhole(t *testing.T) {
	t.Parallel()
	b := openN(t, 1)
	before := b.Policy()
	err := b.SetPolicy(chain.Policy{Retries: -1, Attempt: time.Minute})
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "Policy.Retries is -1")
	require.ErrorContains(t, err, "Policy.Attempt is 1m0s")
	require.Equal(t, before, b.Policy())
}
