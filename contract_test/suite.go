// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// Case is one check of the suite.
type Case struct {
	Area     string              // "Claim"
	Name     string              // "OrdersByDueTime"
	Sentence string              // of the contract, which the case checks
	Needs    []driver.Capability // without which it does not apply

	needsDrop   bool // does not apply without Harness.DropChanges
	needsFreeze bool // does not apply without Harness.Freeze
	run         func(*env)
}

// FullName returns Area/Name. Names are stable.
func (c Case) FullName() string { return c.Area + "/" + c.Name }

// Outcome is what became of a case.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Excused Outcome = "excused" // not run, for the reason given
)

// Result is the outcome of one case.
type Result struct {
	Case    string        `json:"case"` // Area/Name
	Outcome Outcome       `json:"outcome"`
	Reason  string        `json:"reason,omitempty"` // why it was excused
	Output  string        `json:"output,omitempty"` // what the case said; on failure with the sentence
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Cases returns all cases of the suite, area by area.
func Cases() []Case {
	return slices.Concat(
		factCases(), recordCases(), limitCases(),
		commitCases(), repeatCases(), batchCases(),
		claimCases(), claimOrderCases(), leaseCases(), stepCases(), endCases(),
		readCases(), mergeCases(), changesCases(), cursorCases(),
		epochCases(), fenceCases(), rollbackCases(), retentionCases(),
		contextCases(), closeCases(), aliasCases(), concurrentCases(), isolationCases(), outageCases(), historyCases(),
	)
}

// Run runs every case on the driver of h, in parallel, each as a subtest
// Area/Case. Excused cases show as skipped with their reason.
func Run(t *testing.T, h Harness) {
	t.Helper()
	require.NoError(t, h.Validate())
	byArea := make(map[string][]Case)
	var areas []string
	for _, c := range Cases() {
		if byArea[c.Area] == nil {
			areas = append(areas, c.Area)
		}
		byArea[c.Area] = append(byArea[c.Area], c)
	}
	for _, area := range areas {
		t.Run(area, func(t *testing.T) {
			t.Parallel()
			for _, c := range byArea[area] {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					report(t, Check(t.Context(), h, c))
				})
			}
		})
	}
}

func report(t *testing.T, r Result) {
	t.Helper()
	switch r.Outcome {
	case Passed:
	case Excused:
		t.Skipf("excused: %s", r.Reason)
	case Failed:
		t.Fatal(r.Output)
	default:
		t.Fatalf("outcome %q", r.Outcome)
	}
}
