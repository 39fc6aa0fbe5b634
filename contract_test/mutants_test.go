// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
)

// TestSuiteCatchesBrokenDrivers runs the suite on drivers that each break one
// sentence of the contract. With -v it prints which case caught which.
func TestSuiteCatchesBrokenDrivers(t *testing.T) {
	t.Parallel()
	mutants := slices.Concat(commitMutants, claimMutants, epochMutants, recordMutants, readMutants, lifeMutants, outageMutants)
	caught := make([]string, len(mutants))
	t.Run("Mutants", func(t *testing.T) {
		t.Parallel()
		names := map[string]bool{}
		for i, m := range mutants {
			require.False(t, names[m.name], "%q stands twice", m.name)
			names[m.name] = true
			t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
				t.Parallel()
				caught[i] = catch(t, m)
			})
		}
	})
	t.Cleanup(func() {
		var table strings.Builder
		for i, m := range mutants {
			table.WriteString("\n" + m.name + strings.Repeat(" ", max(1, 60-len(m.name))) + caught[i])
		}
		t.Logf("%d broken drivers and the case that caught each:%s", len(mutants), table.String())
	})
}

// catchTries is how often a mutant may get through: some are caught only where
// calls meet, or end, at the right moment, which on a busy machine they may not.
const catchTries = 3

// catch returns the first case of the mutant's area that fails on it, and fails t
// if there is none.
func catch(t *testing.T, m mutant) string {
	t.Helper()
	for range catchTries {
		if name := caughtBy(t, m); name != "" {
			return name
		}
	}
	require.Fail(t, "not caught", "the driver that %s passes the area %s", m.name, m.area)
	return ""
}

// caughtBy returns the first case of the mutant's area that fails on it, or "".
func caughtBy(t *testing.T, m mutant) string {
	t.Helper()
	product := &models{frozen: true}
	wrap := unchanged
	if m.wrap != nil {
		wrap = m.wrap
	}
	h := product.harness(wrap)
	h.Timeout = 4 * time.Second
	if m.spoil != nil {
		m.spoil(&h, product)
	}
	cases := 0
	for _, c := range contracttest.Cases() {
		if c.Area != m.area {
			continue
		}
		cases++
		r := contracttest.Check(t.Context(), h, c)
		if !m.hangs && strings.Contains(r.Output, "the time of") {
			patient := h // it may have been the machine that was slow
			patient.Timeout = 0
			r = contracttest.Check(t.Context(), patient, c)
		}
		if r.Outcome == contracttest.Failed {
			require.Contains(t, r.Output, c.Sentence, "the report names the sentence that does not hold")
			return r.Case
		}
	}
	require.NotZero(t, cases, "there is no area %s", m.area)
	return ""
}
