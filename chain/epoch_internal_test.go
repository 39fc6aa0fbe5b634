// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// A record that was read from the link of an epoch that is over may be missing
// in the present one; it must not pass as acknowledged.
func TestRecordOfAnOldEpochIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := Open(t.Context(), Config{Name: "test", Links: []Link{
			{Name: "a", Store: contracttest.NewModel(nil).Connect()}, {Name: "b", Store: contracttest.NewModel(nil).Connect()}}})
		require.NoError(t, err)
		r, err := c.Start(t.Context(), Workflow{ID: "w", Kind: "call"})
		require.NoError(t, err)
		old := c.view.Load()
		require.NoError(t, c.ensureMirrored(t.Context(), old, r))
		next := driver.Epoch{Number: old.epoch.Number + failoverStep, Version: 1, Token: driver.NewToken(), Active: "b"}
		require.NoError(t, c.takeOver(old, c.links[1], old.epoch.At(), next, false))
		require.True(t, c.adopt(next, c.links[1]))
		require.ErrorIs(t, c.ensureMirrored(t.Context(), old, r), errMoved)
		require.NoError(t, c.ensureMirrored(t.Context(), c.view.Load(), r))
		require.False(t, c.adopt(old.epoch, c.links[0]), "epochs never go back")
		require.False(t, c.adopt(driver.Epoch{Number: 9, Version: 1, Token: driver.NewToken(), Active: "nosuch"}, c.links[0]))
		require.NoError(t, c.Close(t.Context()))
	})
}
