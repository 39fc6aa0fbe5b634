// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// probed is a machine on a faulty log, inside a bubble of synctest.
type probed struct {
	*Machine
	t   *testing.T
	log *faultyLog
}

// inBubble runs the test in a bubble, where time passes only while all wait.
func inBubble(t *testing.T, test func(t *testing.T, p probed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newFaultyLog()
		m := ready(t, l)
		test(t, probed{m, t, l})
	})
}

func (p probed) probe() error {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
	defer cancel()
	_, err := p.Probe(ctx, driver.ProbeRequest{})
	return err
}

// writes tells how many events a probe that succeeds has appended.
func (p probed) writes() int {
	p.t.Helper()
	before := p.log.length()
	require.NoError(p.t, p.probe())
	return p.log.length() - before
}

func TestProbesOfAnIdleStoreWriteNowAndThen(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, p probed) {
		require.Equal(t, 1, p.writes(), "the first one proves that it can be written to")
		written := 0
		for range 60 {
			time.Sleep(time.Second) //nolint:forbidigo // on the clock of the bubble
			written += p.writes()
		}
		require.Equal(t, 6, written, "in a minute")
	})
}

func TestProbesOfABusyStoreWriteNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, p probed) {
		for range 30 {
			require.NoError(t, commitOne(t.Context(), p.Machine, started(t, driver.NewToken().String())))
			require.Zero(t, p.writes())
			time.Sleep(ProofAge - time.Second) //nolint:forbidigo // on the clock of the bubble
		}
	})
}

func TestProbesDoNotTakeWhatOthersWriteForAProof(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, p probed) {
		other := ready(t, p.log)
		require.NoError(t, commitOne(t.Context(), other, started(t, "a")))
		require.Equal(t, 1, p.writes(), "others may have rights that this one lacks")
	})
}

// TestProbeAfterAFailureWrites has something fail after a proof: the next probe
// writes, and fails as long as nothing can be written.
func TestProbeAfterAFailureWrites(t *testing.T) {
	t.Parallel()
	refused := &driver.Error{Class: driver.ReadOnly, Detail: "read-only"}
	for name, fail := range map[string]func(t *testing.T, p probed){
		"append": func(t *testing.T, p probed) {
			p.log.change(func() { p.log.before = func() error { return refused } })
			require.ErrorIs(t, commitOne(t.Context(), p.Machine, started(t, "a")), driver.ReadOnly)
			require.ErrorIs(t, p.probe(), driver.ReadOnly)
		},
		"unknown outcome": func(t *testing.T, p probed) {
			p.log.change(func() { p.log.before = func() error { return errCut } })
			require.ErrorIs(t, commitOne(t.Context(), p.Machine, started(t, "a")), driver.Unknown)
			require.ErrorIs(t, p.probe(), driver.Unknown)
		},
		"time": func(t *testing.T, p probed) {
			p.log.change(func() { p.log.blind = true })
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, commitOne(ctx, p.Machine, started(t, "a")), driver.Unknown)
			require.ErrorIs(t, p.probe(), context.DeadlineExceeded)
		},
		"follower": func(_ *testing.T, p probed) {
			p.log.breakOff()
			synctest.Wait()
		},
		"check": func(_ *testing.T, p probed) {
			p.log.change(func() { p.log.down = refused })
			require.ErrorIs(t, p.probe(), driver.ReadOnly)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, p probed) {
				require.Equal(t, 1, p.writes())
				fail(t, p)
				p.log.change(func() { p.log.before, p.log.blind, p.log.down = nil, false, nil })
				require.NoError(t, p.Ready(within(t, time.Minute)))
				require.Equal(t, 1, p.writes())
				require.Zero(t, p.writes())
			})
		})
	}
}
