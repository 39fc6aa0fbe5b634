// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// caseOf returns the case called name.
func caseOf(t *testing.T, name string) contracttest.Case {
	t.Helper()
	for _, c := range contracttest.Cases() {
		if c.FullName() == name {
			return c
		}
	}
	require.Fail(t, "there is no such case", name)
	return contracttest.Case{}
}

func TestCasesHaveStableNamesAndSentences(t *testing.T) {
	t.Parallel()
	pascal := regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	seen := map[string]bool{}
	for _, c := range contracttest.Cases() {
		require.Regexp(t, pascal, c.Area)
		require.Regexp(t, pascal, c.Name)
		require.False(t, seen[c.FullName()], "%s stands twice", c.FullName())
		seen[c.FullName()] = true
		require.Regexp(t, `^[A-Z].{20,}\.$`, c.Sentence, c.FullName())
		for _, need := range c.Needs {
			require.Contains(t, driver.Capabilities(), need, c.FullName())
		}
	}
}

func TestHarnessIsValidated(t *testing.T) {
	t.Parallel()
	open := func(contracttest.T, string) (driver.Store, error) { return nil, driver.Unavailable }
	for name, tc := range map[string]struct {
		h    contracttest.Harness
		want []string
	}{
		"least":              {contracttest.Harness{Open: open}, nil},
		"no Open":            {contracttest.Harness{}, []string{"Open is nil"}},
		"unknown capability": {contracttest.Harness{Open: open, Capabilities: []driver.Capability{"magic"}}, []string{`"magic"`, "changes"}},
		"unknown excuse":     {contracttest.Harness{Open: open, Excuse: map[string]string{"Commit/Nothing": "why"}}, []string{`"Commit/Nothing"`, "no such case"}},
		"no reason":          {contracttest.Harness{Open: open, Excuse: map[string]string{"Merge/MayBeRepeated": " "}}, []string{"Merge/MayBeRepeated", "no reason"}},
		"timeout":            {contracttest.Harness{Open: open, Timeout: -time.Second}, []string{"Timeout is -1s"}},
		"failovers":          {contracttest.Harness{Open: open, Failovers: true}, []string{"Failovers without Chain"}},
		"failovers of chain": {contracttest.Harness{Open: open, Failovers: true, Chain: true}, nil},
		"all at once":        {contracttest.Harness{Timeout: -1, Capabilities: []driver.Capability{"x"}}, []string{"Open", "Timeout", `"x"`}},
	} {
		err := tc.h.Validate()
		if tc.want == nil {
			require.NoError(t, err, name)
		}
		for _, want := range tc.want {
			require.ErrorContains(t, err, want, name)
		}
	}
}

func TestCheckExcuses(t *testing.T) {
	t.Parallel()
	product := &models{frozen: true}
	for name, tc := range map[string]struct {
		name   string
		change func(h *contracttest.Harness)
		want   string
	}{
		"by name": {"Merge/MayBeRepeated", func(h *contracttest.Harness) {
			h.Excuse = map[string]string{"Merge/MayBeRepeated": "the product counts merges"}
		}, "the product counts merges"},
		"what is not declared":   {"Durable/SurvivesAKill", func(*contracttest.Harness) {}, `does not declare the capability "durable"`},
		"what cannot be dropped": {"Cursor/IsLostOnceDropped", func(h *contracttest.Harness) { h.DropChanges = nil }, "no DropChanges"},
		"what cannot be frozen":  {"Outage/IsOverByItself", func(*contracttest.Harness) {}, "no Freeze"},
	} {
		h := product.harness(unchanged)
		tc.change(&h)
		r := contracttest.Check(t.Context(), h, caseOf(t, tc.name))
		require.Equal(t, contracttest.Excused, r.Outcome, name)
		require.Contains(t, r.Reason, tc.want, name)
		require.Equal(t, tc.name, r.Case)
	}
}

func TestCheckFailsWithoutKill(t *testing.T) {
	t.Parallel()
	h := durable((&models{frozen: true}).harness(unchanged))
	h.Kill = nil
	r := contracttest.Check(t.Context(), h, caseOf(t, "Durable/SurvivesAKill"))
	require.Equal(t, contracttest.Failed, r.Outcome)
	require.Contains(t, r.Output, "has no Kill")
}

func TestCheckReportsWhatItCannotOpen(t *testing.T) {
	t.Parallel()
	h := contracttest.Harness{Open: func(contracttest.T, string) (driver.Store, error) {
		return nil, fmt.Errorf("no such server: %w", driver.Unavailable)
	}}
	r := contracttest.Check(t.Context(), h, caseOf(t, "Commit/MovesARecordOn"))
	require.Equal(t, contracttest.Failed, r.Outcome)
	require.Contains(t, r.Output, "no such server")
}

func TestCheckLeavesBehindWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	h := (&models{frozen: true}).harness(with(broken{
		commit: func(context.Context, driver.Store, driver.CommitRequest) (driver.CommitResponse, error) {
			<-release
			return driver.CommitResponse{}, driver.Unavailable
		}}))
	h.Timeout = 2 * time.Second // the case comes to its commit in time
	r := contracttest.Check(t.Context(), h, caseOf(t, "Commit/MovesARecordOn"))
	require.Equal(t, contracttest.Failed, r.Outcome)
	require.Contains(t, r.Output, "still running after its context was done and the store was closed")
	require.Contains(t, r.Output, "check_test.go", "the stack shows where")
}

func TestCheckReportsACloseThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	h := (&models{frozen: true}).harness(with(broken{
		close: func(context.Context, driver.Store) error {
			<-release
			return nil
		}}))
	r := contracttest.Check(t.Context(), h, caseOf(t, "Commit/MovesARecordOn"))
	require.Equal(t, contracttest.Failed, r.Outcome)
	require.Contains(t, r.Output, "Close has not returned")
}

// TestCheckIsPatientWithSlowMachines makes claims so slow that short leases are
// over before the case has looked at them.
func TestCheckIsPatientWithSlowMachines(t *testing.T) {
	t.Parallel()
	slow := with(broken{claim: func(ctx context.Context, s driver.Store, req driver.ClaimRequest) (driver.ClaimResponse, error) {
		timer := time.NewTimer(150 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
		return s.Claim(ctx, req)
	}})
	h := (&models{}).harness(slow)
	for _, name := range []string{"Claim/WaitsForTheDueTime", "Save/IsWhereTheNextHolderGoesOn", "Fail/RetriesFromItsTime"} {
		r := contracttest.Check(t.Context(), h, caseOf(t, name))
		require.Equal(t, contracttest.Passed, r.Outcome, r.Output)
	}
}

func TestCheckRunsCleanupsLastFirst(t *testing.T) {
	t.Parallel()
	var order []string
	h := (&models{frozen: true}).harness(unchanged)
	open := h.Open
	h.Open = func(ct contracttest.T, chain string) (driver.Store, error) {
		ct.Cleanup(func() { order = append(order, "first") })
		ct.Cleanup(func() {
			require.Error(t, ct.Context().Err(), "the context of a case is done before its cleanups")
			order = append(order, "second")
		})
		return open(ct, chain)
	}
	r := contracttest.Check(t.Context(), h, caseOf(t, "Commit/RefusesATakenID"))
	require.Equal(t, contracttest.Passed, r.Outcome, r.Output)
	require.Equal(t, []string{"second", "first"}, order)
}
