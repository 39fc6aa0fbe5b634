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

// A standby that was emptied while no host was there to see it, and does not
// answer when the next host opens, must not be believed afterwards.
func TestEmptiedStandbyThatAnswersLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "acknowledged")
		require.NoError(t, b.Close(t.Context()))
		b.stores[1].model.Erase()

		standby := b.stores[1].another()
		standby.fail(driver.Unavailable)
		other := open(t, configOf(b.stores[0].another(), standby)) // waits ten seconds for it
		standby.fail(nil)
		time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble
		other.start(t, "x")
		t.Log("in-sync set: ", b.stores[0].epoch(t).InSync)
		other.stores[0].fail(driver.Unavailable)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := other.Get(ctx, "acknowledged")
		require.NotErrorIs(t, err, driver.NotFound, "an acknowledged workflow is gone, and nobody said so")
	})
}

// The first host that opens tells an emptied standby the epoch before it has
// dropped it. When the drop does not get through, the next host believes it.
func TestEmptiedStandbyIsNotToldTheEpochBeforeItIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "acknowledged")
		require.NoError(t, b.Close(t.Context()))
		b.stores[1].model.Erase()

		first := b.stores[0].another()
		first.fail(driver.Unavailable, "advance") // the host dies before its drop arrives
		host, err := chain.Open(t.Context(), configOf(first, b.stores[1].another()))
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, host.Close(t.Context()))

		other := open(t, configOf(b.stores[0].another(), b.stores[1].another()))
		time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble
		other.start(t, "x")
		other.stores[0].fail(driver.Unavailable)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err = other.Get(ctx, "acknowledged")
		require.NotErrorIs(t, err, driver.NotFound, "an acknowledged workflow is gone, and nobody said so")
	})
}

// A standby that was dropped, and could be told so since, does not take over after a
// restart of the host.
func TestDroppedStandbyDoesNotTakeOverAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "before")
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "unprotected")
		require.Empty(t, b.stores[0].epoch(t).InSync)
		b.stores[1].fail(nil)
		time.Sleep(time.Hour) //nolint:forbidigo // the clock of the bubble
		b.start(t, "later")
		require.NoError(t, b.Close(t.Context()))

		down := b.stores[0].another()
		down.fail(driver.Unavailable)
		other := open(t, configOf(down, b.stores[1].another()))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := other.Get(ctx, "later")
		require.NotErrorIs(t, err, driver.NotFound, "an acknowledged workflow is gone, and nobody said so")
	})
}
