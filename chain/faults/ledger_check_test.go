// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// TestLedgerFindsFaults: the books can fail to balance in each way.
func TestLedgerFindsFaults(t *testing.T) {
	t.Parallel()
	did := func(tell string, revision uint64, lease string, step int) entry {
		return entry{Tell: tell, ID: "w", Revision: revision, Epoch: 1, Lease: lease, Step: step, host: "h"}
	}
	cases := []struct {
		name string
		told []entry
		end  func(*driver.Record)
		want string // part of the only fault; empty: none
	}{
		{"Balanced", []entry{did(claimed, 2, "a", 0), did(saved, 3, "a", 1), did(claimed, 5, "b", 1), did(saved, 6, "b", 2), did(ended, 7, "b", 2)}, nil, ""},
		{"EndNotSeen", []entry{did(claimed, 2, "a", 0)}, nil, ""},
		{"Lost", nil, func(r *driver.Record) { r.ID = "" }, "lost: acknowledged up to revision 1"},
		{"RolledBack", []entry{did(claimed, 8, "a", 2)}, nil, "lost: revision 8 was acknowledged to h, and 7 is there"},
		{"LeftBehind", nil, func(r *driver.Record) { r.Status = driver.Leased }, "left behind: leased"},
		{"WrongEnd", nil, func(r *driver.Record) { r.Output = nil }, `ended with ""`},
		{"StepMissing", nil, func(r *driver.Record) { r.Step = "1" }, `after step "1"`},
		{"Refused", []entry{{Tell: refused, ID: "w", Text: "why"}}, nil, "an error reached the caller"},
		{"GoesBack", []entry{did(claimed, 2, "a", 0), did(saved, 3, "a", 1), did(claimed, 4, "b", 0)}, nil, "goes back: claimed at step 0"},
		{"HeldTwice", []entry{did(claimed, 2, "a", 0), did(claimed, 3, "b", 0), did(saved, 4, "a", 0)}, nil, "held twice: by h over revisions 2–4, by h over 3–3"},
		{"ClaimedTwice", []entry{did(claimed, 2, "a", 0), did(claimed, 2, "b", 0)}, nil, "held twice"},
		{"AfterItsEnd", []entry{did(claimed, 2, "a", 2), did(ended, 3, "a", 2), did(claimed, 4, "b", 2)}, nil, "claimed at revision 4 by h after its end"},
		{"EndedTwice", []entry{did(ended, 3, "a", 2), did(ended, 7, "b", 2)}, nil, "ended at revision 7 by h after its end"},
		{"EpochGoesBack", []entry{did(claimed, 2, "a", 0), {Tell: saved, ID: "w", Revision: 3, Lease: "a", host: "h"}}, nil, "is of epoch 0"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			final := []driver.Record{{ID: "w", Revision: 7, Status: driver.Succeeded, Step: "2", Output: []byte(output("w"))}}
			if tc.end != nil {
				tc.end(&final[0])
			}
			if final[0].ID == "" {
				final = nil
			}
			told := append([]entry{{Tell: meant, ID: "w"}, did(started, 1, "", 0)}, tc.told...)
			faults := balance(told, final, 2)
			if tc.want == "" {
				require.Empty(t, faults)
				return
			}
			require.Len(t, faults, 1, strings.Join(faults, "\n"))
			require.Contains(t, faults[0], tc.want)
		})
	}
	stranger := balance(nil, []driver.Record{{ID: "x", Status: driver.Succeeded, Step: "2", Output: []byte(output("x"))}}, 2)
	require.Equal(t, []string{"x: nobody has started it"}, stranger)
}
