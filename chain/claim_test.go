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
