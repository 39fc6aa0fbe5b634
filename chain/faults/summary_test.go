// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// summary prints what came of a test: a line with the figures, and what happened.
func (w *world) summary(t testing.TB, told []entry) {
	t.Helper()
	count := map[string]int{}
	var longest entry
	most := map[string]time.Duration{} // by the type of the event
	for _, e := range told {
		count[e.Tell]++
		switch {
		case e.calls() && e.Waited > longest.Waited:
			longest = e
		case e.Tell == happened:
			most[e.Event] = max(most[e.Event], e.Waited)
		}
	}
	t.Logf("seed %d: %d started, %d ended, %d leases lost", w.seed, count[started], count[ended], count[leftOff])
	t.Logf("figures: longest wait of a caller %s (%s by %s) | failover %s | pause: join %s, switch %s, longest wait of a caller over one %s",
		ms(longest.Waited), longest.Tell, longest.host, ms(most["FailedOver"]), ms(most["Joined"]), ms(most["Switched"]), ms(paused(told)))
	w.timeline(t, told, "FailedOver", "Joined", "Switched", "AllDown", "LinkLost", "HandoverRolledBack", "DivergenceFound")
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// paused returns the longest wait of a caller while a link joined or the chain
// switched.
func paused(told []entry) time.Duration {
	var longest time.Duration
	for _, e := range told {
		if e.Tell != happened || e.Event != "Joined" && e.Event != "Switched" {
			continue
		}
		for _, call := range told {
			if call.calls() && call.over(e) {
				longest = max(longest, call.Waited)
			}
		}
	}
	return longest
}

// calls reports whether e is the answer to a call of an application.
func (e *entry) calls() bool { return e.Tell == started || e.Tell == saved }

// over reports whether a call was under way in the pause of an event, and did not
// begin long before: then it waited for something else.
func (e *entry) over(event entry) bool {
	const before = 50 * time.Millisecond
	from := event.At.Add(-event.Waited)
	began := e.At.Add(-e.Waited)
	return began.After(from.Add(-before)) && began.Before(event.At) && e.At.After(from)
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

// explain prints what there is to know when a test has failed. With FAULTS_KEEP it
// keeps the files of each test in that folder.
func (w *world) explain(t *testing.T) {
	t.Helper()
	if folder := os.Getenv("FAULTS_KEEP"); folder != "" {
		if err := os.CopyFS(filepath.Join(folder, strings.ReplaceAll(t.Name(), "/", "-")), os.DirFS(w.dir)); err != nil {
			t.Log(err)
		}
	}
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
	}
}
