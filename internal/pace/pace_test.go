// SPDX-License-Identifier: Apache-2.0

package pace

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMachineThatKeepsUpHasNoSlack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := Start()
		defer w.Stop()
		time.Sleep(time.Minute) //nolint:forbidigo // on the clock of the bubble
		require.Zero(t, w.Slack(began))
	})
}

// A watch whose lock is held is late, as one that gets no processor.
func TestSlackIsWhatTheWatchWasLate(t *testing.T) {
	t.Parallel()
	w := Start()
	defer w.Stop()
	began := time.Now()
	w.mu.Lock()
	time.Sleep(20 * every) //nolint:forbidigo // the watch is made late
	w.mu.Unlock()
	require.Eventually(t, func() bool { return w.Slack(began) >= hops*15*every }, time.Minute, every)
	w.Stop()
	require.GreaterOrEqual(t, w.Slack(began), hops*15*every, "what it has noted stays")
	w.Stop()
	require.Zero(t, w.Slack(time.Now()), "what was before does not count")
}

// Also before the watch itself has been woken, it counts that it is due.
func TestSlackOfAWatchThatIsStillLate(t *testing.T) {
	t.Parallel()
	w := &Watch{due: time.Now().Add(-time.Second)}
	require.GreaterOrEqual(t, w.Slack(time.Now()), hops*time.Second)
}
