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

// A link that was taken out of the configuration, and put back later, does not
// count as in step: what was acknowledged meanwhile is not there.
func TestLinkThatWasConfiguredAwayIsNotInStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		b.start(t, "with")
		require.Equal(t, []string{"b", "c"}, b.stores[0].epoch(t).InSync)
		require.NoError(t, b.Close(t.Context()))

		two := open(t, configOf(b.stores[0].another(), b.stores[1].another()))
		two.start(t, "without")
		require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync)
		require.Len(t, two.logs.FilterMessageSnippet("give all hosts the same links").All(), 1)
		require.NoError(t, two.Close(t.Context()))

		three := open(t, configOf(b.stores[0].another(), b.stores[1].another(), b.stores[2].another()))
		require.NotContains(t, three.Status().Epoch.InSync, "c")
		three.inStep(t, 0, "b", "c")
		require.NotNil(t, b.stores[2].held(t, "without"))
	})
}

// A host that does not have a link acknowledges nothing while others believe that
// the link holds it.
func TestLinkThatOneHostDoesNotHaveLeavesTheSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		two := openN(t, 2)
		two.start(t, "before")
		c := newFaulty(nil)
		three := open(t, configOf(two.stores[0].another(), two.stores[1].another(), c))
		for n := range 120 { // c joins, and leaves again, in turn
			id := string(rune('A'+n/26)) + string(rune('A'+n%26))
			two.start(t, id)
			three.start(t, id+" of three")
			e := two.stores[0].epoch(t)
			if held := c.epoch(t); held.Number == e.Number && len(held.InSync) == 2 && e.Equal(held) {
				require.NotNil(t, c.held(t, id), "c counts as in step")
			}
			time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
		}
		require.NotEmpty(t, two.logs.FilterMessageSnippet("give all hosts the same links").All())
		require.NoError(t, two.Close(t.Context()))
		three.inStep(t, 0, "b", "c")
		require.NotNil(t, c.held(t, "A"+"A"))
	})
}

// While the set cannot be changed, a host that does not have one of its links does
// not open.
func TestOpenWithoutALinkOfTheSetNeedsTheActiveLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		b.start(t, "w")
		a := b.stores[0].another()
		a.fail(driver.Unavailable, "advance")
		_, err := chain.Open(t.Context(), configOf(a, b.stores[1].another()))
		require.ErrorIs(t, err, driver.Unavailable)
		require.ErrorContains(t, err, `the chain counts ["c"] as in step, which this host does not have`)
		require.Equal(t, []string{"b", "c"}, b.stores[0].epoch(t).InSync)
	})
}
