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

// Two groups of hosts, cut off from each other, have made the same number in two
// links. The first link of the order wins, and that is told.
func TestTieIsSettled(t *testing.T) {
	t.Parallel()
	for _, serves := range []int{0, 1} { // the link at which this host is
		t.Run(linkNames[serves], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := open(t, manual(newStores(2)...))
				b.start(t, "w")
				if serves == 1 {
					require.NoError(t, b.SwitchTo(t.Context(), "b"))
				}
				number := b.stores[serves].epoch(t).Number + 2
				for _, i := range []int{1 - serves, serves} {
					b.stores[i].advance(t, func(e *driver.Epoch) {
						e.Number, e.Version, e.State, e.Active, e.InSync = number, 1, driver.Serving, linkNames[i], nil
					})
				}
				within(t, time.Minute, "the tie is settled", func() bool { return len(eventsOf[chain.TieSettled](b)) > 0 })
				settled := eventsOf[chain.TieSettled](b)[0]
				require.Equal(t, "b", settled.Lost.Active)
				require.Equal(t, number, settled.Lost.Number)
				require.Equal(t, "a", settled.Epoch.Active)
				require.Equal(t, number+1, settled.Epoch.Number)
				require.Equal(t, number+1, b.start(t, "x").Epoch)
				require.Equal(t, 1, b.logs.FilterMessageSnippet("the same epoch in two links").Len())
			})
		})
	}
}
