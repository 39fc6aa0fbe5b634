// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
)

// TestRestartWithAllData: a store that restarts begins a new incarnation. Where it
// misses nothing, no link is lost and nobody fails over.
func TestRestartWithAllData(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]int{"Active": 0, "Standby": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openBranching(t)
				b.start(t, "before")
				sleep(5 * time.Second)
				for n := range 3 {
					b.stores[link].model.Restart()
					sleep(time.Duration(n) * 3 * time.Second) // a status check comes first, or a call
					b.start(t, string(rune('a'+n)))
				}
				sleep(10 * time.Second)
				for _, l := range b.Status().Links {
					require.Nil(t, l.Lost, l.Name)
				}
				require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync)
				require.Equal(t, uint64(2), b.stores[0].epoch(t).Number)
			})
		})
	}
}

// TestLossAfterARestart: what was seen of the last incarnation still counts.
func TestLossAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openBranching(t)
		b.start(t, "before")
		b.stores[0].model.Restart()
		b.start(t, "after")
		b.stores[0].model.Erase()
		b.stores[0].model.Restart()
		_, err := b.Get(t.Context(), "after")
		require.NoError(t, err)
		require.Equal(t, "b", b.stores[1].epoch(t).Active)
	})
}

func openBranching(t *testing.T) *bench {
	t.Helper()
	config := configOf(newStores(2)...)
	config.Policy.Failback = chain.FailbackManual
	b := open(t, config)
	b.inStep(t, 0, "b")
	return b
}
