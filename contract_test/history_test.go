// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// modelHarness opens Models. With a clock, it stands still and is moved by hand.
func modelHarness(clock bool, wrap func(driver.Store) driver.Store) Harness {
	var mu sync.Mutex
	models := map[string]*Model{}
	moved := map[string]time.Duration{}
	start := time.Date(2026, 5, 1, 12, 0, 0, 123456, time.UTC)
	h := Harness{
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared},
		Open: func(_ T, chain string) (driver.Store, error) {
			mu.Lock()
			defer mu.Unlock()
			if models[chain] == nil {
				now := time.Now
				if clock {
					now = func() time.Time {
						mu.Lock()
						defer mu.Unlock()
						return start.Add(moved[chain])
					}
				}
				models[chain] = NewModel(now)
			}
			return wrap(models[chain].Connect()), nil
		},
	}
	if clock {
		h.Advance = func(_ T, chain string, by time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			moved[chain] += by
		}
	}
	return h
}

func asItIs(s driver.Store) driver.Store { return s }

// checkCase runs one case of the suite.
func checkCase(t *testing.T, h Harness, name string) Result {
	t.Helper()
	for _, c := range Cases() {
		if c.FullName() == name {
			return Check(t.Context(), h, c)
		}
	}
	require.Fail(t, "no such case", name)
	return Result{}
}

func TestHistoriesHoldOnTheModel(t *testing.T) {
	t.Parallel()
	for _, clock := range []bool{true, false} {
		for _, name := range []string{"History/MatchesTheModel", "History/IsLinearizable"} {
			t.Run(fmt.Sprintf("%s, clock by hand: %t", name, clock), func(t *testing.T) {
				t.Parallel()
				result := checkCase(t, modelHarness(clock, asItIs), name)
				require.Equal(t, Passed, result.Outcome, result.Output)
			})
		}
	}
}

// forgetsToken is a store that takes a repeat for a conflict.
type forgetsToken struct{ driver.Store }

func (f forgetsToken) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	resp, err := f.Store.Commit(ctx, req)
	for i, v := range resp.Verdicts {
		if v.Err == nil && !v.Applied {
			held := req.Transitions[i].Record.Clone()
			resp.Verdicts[i].Err = &driver.Error{Class: driver.Conflict, Stored: &held}
		}
	}
	return resp, err
}

func TestFailingHistoryIsShortAndCanBePasted(t *testing.T) {
	t.Parallel()
	h := modelHarness(true, func(s driver.Store) driver.Store { return forgetsToken{s} })
	h.Timeout = 3 * time.Minute // the time to make it short is a part of it
	result := checkCase(t, h, "History/MatchesTheModel")
	require.Equal(t, Failed, result.Outcome)
	require.Contains(t, result.Output, "it fails also alone on fresh data")
	require.Contains(t, result.Output, "contracttest.Replay(t, harness, []contracttest.Step{\n")
	require.Contains(t, result.Output, `{Op: "commit"`)
	require.Contains(t, result.Output, `{Op: "repeat"`)
	// Two steps are enough and one is named twice; a random search need not come to exactly these, from 30 steps or so.
	require.LessOrEqual(t, strings.Count(result.Output, "{Op:"), 15, "not short:\n%s", result.Output)
}

// The shape in which a history is printed is a Go program: this is one.
func TestReplayOfAPrintedHistory(t *testing.T) {
	t.Parallel()
	history := []Step{
		{Op: "commit", Host: 1, Clock: -90, Writes: []Write{{ID: "a", To: driver.Ready, Due: -1}, {ID: "d", To: driver.Waiting, Idle: true, Size: 40}}},
		{Op: "repeat", Host: 2, Back: 1},
		{Op: "claim", Kinds: []string{"x", "y"}, Limit: 3, Ticks: 1},
		{Op: "repeat", Host: 1, Back: 1},
		{Op: "advance", Host: 1, Number: 2, State: driver.Handover, InSync: []string{"two"}},
		{Op: "commit", Writes: []Write{{ID: "a", To: driver.Succeeded, Expires: 1}}},
		{Op: "merge", Host: 1, Writes: []Write{{ID: "b", To: driver.Leased, Skip: 3, Epoch: -1}, {ID: "b", To: driver.Held}}},
		{Op: "pass", Ticks: 2},
		{Op: "list", Host: 2, Seen: "all", Limit: 1, Kinds: []string{"x"}, Statuses: []driver.Status{driver.Leased, driver.Ready}},
		{Op: "get", Seen: "ahead", IDs: []string{"a"}},
	}
	for _, clock := range []bool{true, false} {
		Replay(t, modelHarness(clock, asItIs), history)
	}
	for _, s := range history {
		require.NotContains(t, s.String(), "Status(")
	}
	require.Equal(t, `{Op: "merge", Host: 1, Writes: []contracttest.Write{{ID: "b", To: driver.Leased, Skip: 3, Epoch: -1}, {ID: "b", To: driver.Held}}}`,
		history[6].String())
	require.Equal(t, `{Op: "advance", Host: 1, State: driver.Handover, Number: 2, InSync: []string{"two"}}`, history[4].String())
}

func TestReplayFailsOnAWrongAnswer(t *testing.T) {
	t.Parallel()
	h := modelHarness(true, func(s driver.Store) driver.Store { return forgetsToken{s} })
	result := Check(t.Context(), h, Case{Area: "Replay", Name: "OfTwoSteps", run: func(e *env) {
		Replay(e, h, []Step{
			{Op: "commit", Writes: []Write{{ID: "a", To: driver.Ready}}},
			{Op: "repeat", Back: 1},
		})
	}})
	require.Equal(t, Failed, result.Outcome)
	require.Contains(t, result.Output, `step 1, {Op: "repeat", Back: 1}`)
	require.Contains(t, result.Output, `verdict 0, "h1-a"`)
}

// twoWinners is a store that tells losers that they have won.
type twoWinners struct{ driver.Store }

func (w twoWinners) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	resp, err := w.Store.Commit(ctx, req)
	for i, v := range resp.Verdicts {
		if driver.ClassOf(v.Err) == driver.Conflict {
			resp.Verdicts[i] = driver.Verdict{Applied: true} // both win
		}
	}
	return resp, err
}

func TestConcurrentHistoryCatchesTwoWinners(t *testing.T) {
	t.Parallel()
	h := modelHarness(false, func(s driver.Store) driver.Store { return twoWinners{s} })
	result := checkCase(t, h, "History/IsLinearizable")
	require.Equal(t, Failed, result.Outcome)
	require.Contains(t, result.Output, "no order of the calls explains the answers")
	require.Contains(t, result.Output, "commit revision")
}

// panics is a store that panics on what it does not expect.
type panics struct{ driver.Store }

func (panics) Get(context.Context, driver.GetRequest) (driver.GetResponse, error) {
	panic("not expected")
}

func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	h := modelHarness(true, func(s driver.Store) driver.Store { return panics{s} })
	for _, name := range []string{"History/MatchesTheModel", "History/IsLinearizable"} {
		result := checkCase(t, h, name)
		require.Equal(t, Failed, result.Outcome, name)
		require.Contains(t, result.Output, "not expected", name)
	}
}
