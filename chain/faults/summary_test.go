// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"cmp"
	"os"
	"slices"
	"testing"
	"time"
)

// summary prints what came of a test.
func (w *world) summary(t testing.TB, told []entry, active string) {
	t.Helper()
	var longest entry
	count := map[string]int{}
	for _, e := range told {
		count[e.Tell]++
		if e.Waited > longest.Waited && (e.Tell == started || e.Tell == saved) {
			longest = e
		}
	}
	t.Logf("seed %d: %d started, %d ended, %d leases lost, longest wait of a caller %s (%s by %s), active in the end: %s",
		w.seed, count[started], count[ended], count[leftOff], longest.Waited.Round(time.Millisecond), longest.Tell, longest.host, active)
	w.timeline(t, told, "FailedOver", "SwitchedOver", "FailedBack", "AllDown")
}

// timeline prints the events of the given types, or all of them.
func (w *world) timeline(t testing.TB, told []entry, types ...string) {
	t.Helper()
	told = slices.Clone(told)
	slices.SortStableFunc(told, func(a, b entry) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	for _, e := range told {
		if e.Tell == happened && (len(types) == 0 || slices.Contains(types, e.Event)) {
			t.Logf("  %7.2f s  %s: %s to %s in %s, %s", e.At.Sub(w.began).Seconds(), e.host, e.Event, e.To, e.Waited.Round(time.Millisecond), e.Text)
		}
	}
}

// explain prints what there is to know when a test has failed.
func (w *world) explain(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	t.Logf("seed %d", w.seed)
	w.timeline(t, w.entries(t))
	for _, h := range w.hosts {
		text, err := os.ReadFile(h.log)
		if err != nil {
			t.Logf("%s: %v", h.name, err)
			continue
		}
		const last = 25
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		t.Logf("the last lines of %s:\n%s", h.name, bytes.Join(lines[max(0, len(lines)-last):], []byte("\n")))
		if folder := os.Getenv("FAULTS_KEEP"); folder != "" {
			if err := os.CopyFS(folder, os.DirFS(w.dir)); err != nil {
				t.Log(err)
			}
		}
	}
}
