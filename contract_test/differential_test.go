// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func TestDifferentialHoldsBetweenModels(t *testing.T) {
	t.Parallel()
	for _, clocks := range [][2]bool{{true, true}, {true, false}, {false, false}} {
		one, other := modelHarness(clocks[0], asItIs), modelHarness(clocks[1], asItIs)
		one.Timeout = 8 * time.Second // a quarter of it is for playing
		Differential(t, one, other)
	}
}

// losesState is a store that gives records back without their state.
type losesState struct{ driver.Store }

func (c losesState) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	resp, err := c.Store.Get(ctx, req)
	for i := range resp.Records {
		resp.Records[i].State = nil
	}
	return resp, err
}

func TestDifferentialFindsAndPrintsTheDifference(t *testing.T) {
	t.Parallel()
	one := modelHarness(true, asItIs)
	other := modelHarness(true, func(s driver.Store) driver.Store { return losesState{s} })
	e, o := newEnv(t, one), newEnv(t, other)
	t.Cleanup(func() { e.closeAll(e.closeTime()); o.closeAll(o.closeTime()) })
	both := pair{newStage(e), newStage(o), true}
	history, err := search(e, profile{alike: true, pass: true, reopen: true}, both.check)
	require.ErrorContains(t, err, "the second driver")
	require.LessOrEqual(t, len(history), 12, goTest(history))
	require.Error(t, both.check(history), "what was found fails again")
	ReplayBoth(t, one, one, history)
}

func TestReplayBoth(t *testing.T) {
	t.Parallel()
	h := modelHarness(true, asItIs)
	ReplayBoth(t, h, h, []Step{
		{Op: "commit", Host: 1, Writes: []Write{{ID: "a", To: driver.Ready, Due: -1}}},
		{Op: "claim", Kinds: []string{"x"}, Limit: 256, Ticks: 1},
		{Op: "pass", Ticks: 2},
		{Op: "advance", Number: 1},
		{Op: "commit", Writes: []Write{{ID: "a", To: driver.Succeeded}}},
	})
}
