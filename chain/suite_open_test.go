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

// A link that loses its data and is brought back by other hosts, all while a host
// opens, is to that host like one that has always been so.
func TestLinkIsReplacedWhileAHostOpens(t *testing.T) {
	t.Parallel()
	for _, degraded := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			config := configOf(newFaulty(nil), newFaulty(nil))
			config.Policy = suitePolicy
			first := open(t, config)
			first.start(t, "w")

			reads, other := first.stores[0].another(), first.stores[1].another()
			other.fail(driver.Unavailable, "epoch")
			opened := make(chan *chain.Chain, 1)
			go func() {
				config := configOf(reads, other)
				config.StartDegraded = degraded
				c, err := chain.Open(t.Context(), config)
				if err != nil {
					t.Errorf("open: %v", err)
				}
				opened <- c
			}()
			eventually(t, "the second host reads", func() bool { return reads.count("epoch") > 1 })
			first.stores[0].model.Erase()
			eventually(t, "the chain is back in the first link", func() bool {
				e := first.stores[0].epoch(t)
				return e.Number > firstEpoch && e.Active == "a" && len(e.InSync) == 1
			})
			require.Empty(t, opened)
			c := <-opened
			require.NotNil(t, c)
			r, err := c.Get(t.Context(), "w")
			require.NoError(t, err)
			require.Equal(t, "w", r.ID)
			other.fail(nil)
			time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
			require.Equal(t, []string{"b"}, first.stores[0].epoch(t).InSync)
			require.NoError(t, c.Close(t.Context()))
		})
	}
}
