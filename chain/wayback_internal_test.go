// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHoldDownToldBeforeTheJoin: the handler that goes back may begin before the one
// that brought the link back has told of it.
func TestHoldDownToldBeforeTheJoin(t *testing.T) {
	t.Parallel()
	var w waysBack
	w.take(ResyncStarted{Link: "a", Step: "copy"})
	resync, hold := w.of("a")
	require.Equal(t, "copy", resync.Step)
	require.Nil(t, hold)
	w.take(HoldDown{Link: "a", For: time.Minute})
	w.take(Joined{Link: "a"})
	resync, hold = w.of("a")
	require.Nil(t, resync)
	require.NotNil(t, hold)
	w.take(ResyncStarted{Link: "a"})
	w.take(Joined{Link: "a"})
	resync, hold = w.of("a")
	require.Nil(t, resync)
	require.Nil(t, hold)
}
