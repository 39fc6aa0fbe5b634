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

// Handlers do not begin on a lease that is not on the standbys.
func TestNoHandlerOnAClaimThatIsNotMirrored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[1].fail(driver.Unavailable, "merge")
		b.stores[0].fail(fmt.Errorf("broken: %w", driver.Internal), "advance")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := make(chan struct{}, 100)
		require.NoError(t, b.Work(ctx, "call", func(context.Context, *chain.Handle) ([]byte, error) {
			began <- struct{}{}
			return nil, nil
		}, chain.WorkOptions{Drain: time.Second}))
		require.Empty(t, began)
		require.Equal(t, driver.Leased, b.stores[0].held(t, "w").Status, "it was claimed")
		require.Equal(t, driver.Ready, b.stores[1].held(t, "w").Status, "and not mirrored")
	})
}

// A claim that two failovers have overtaken does not count: between them another
// host can have claimed the same, in a link that has never seen this claim.
func TestClaimThatTwoFailoversHaveOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		b.start(t, "w")
		b.stores[1].hold("merge")
		b.stores[2].hold("merge")
		began, release := make(chan struct{}, 10), make(chan struct{})
		stop := b.work(t, chain.WorkOptions{}, func(context.Context, *chain.Handle) ([]byte, error) {
			began <- struct{}{}
			<-release
			return nil, nil
		})
		eventually(t, "the claim", func() bool { return b.stores[0].held(t, "w").Status == driver.Leased })
		read := make(chan error, 1)
		b.stores[0].fail(driver.Denied)
		go func() {
			_, err := b.Get(t.Context(), "w")
			read <- err
		}()
		eventually(t, "the first failover", func() bool { return b.stores[1].epoch(t).Active == "b" })
		b.stores[1].fail(driver.Denied)
		b.stores[2].fail(nil)
		<-began
		require.NoError(t, <-read)
		now := b.Status().Epoch
		require.Equal(t, "c", now.Active)
		require.Equal(t, now.Number, b.stores[2].held(t, "w").Epoch, "it has been claimed anew")
		close(release)
		b.until(t, "w", driver.Succeeded)
		require.NoError(t, stop())
		require.Empty(t, began)
	})
}
