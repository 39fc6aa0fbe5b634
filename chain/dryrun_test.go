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

// A standby of which the status checks have found something wrong could take over
// all the same, and what speaks against it is told.
func TestDryRunTellsWhatSpeaksAgainstALink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, manual(newStores(2)...))
		b.stores[1].reports(func(p *driver.ProbeResponse) {
			p.Problems = []driver.Problem{{Code: "memory", Text: "used up to 95 %"}}
		})
		sleep(5 * time.Second)
		f := b.DryRun(t.Context())
		require.Equal(t, "b", f.Target)
		require.Equal(t, chain.Candidate{Name: "b", Fit: true, Why: "b: unavailable: memory: used up to 95 %"}, f.Links[0])
		b.stores[0].fail(driver.Denied)
		b.start(t, "w")
		require.Equal(t, "b", b.Status().Epoch.Active, "what it foretold")
	})
}
