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
