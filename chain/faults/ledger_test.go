// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/understudy-dev/understudy/driver"
)

// balance holds the journals of all hosts against what the active store has in the
// end, and returns everything that is not as it must be. steps is the number of
// save points of each workflow. It judges by revisions, never by clocks.
func balance(entries []entry, final []driver.Record, steps int) []string {
	l := &ledger{byID: map[string][]entry{}, final: map[string]*driver.Record{}, steps: steps}
	for i := range final {
		l.final[final[i].ID] = &final[i]
	}
	for _, e := range entries {
		switch e.Tell {
		case meant, started, claimed, saved, ended:
			l.byID[e.ID] = append(l.byID[e.ID], e)
		case refused:
			l.fault("%s: %s: an error reached the caller after %s: %s", e.host, e.ID, e.Waited, e.Text)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.byID)) {
		l.workflow(id, l.byID[id])
	}
	for _, id := range slices.Sorted(maps.Keys(l.final)) {
		l.stored(l.final[id])
	}
	return l.faults
}

type ledger struct {
	byID   map[string][]entry
	final  map[string]*driver.Record
	steps  int
	faults []string
}

func (l *ledger) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// stored: nothing is there that nobody began, and nothing is left behind.
func (l *ledger) stored(r *driver.Record) {
	if l.byID[r.ID] == nil {
		l.fault("%s: nobody has started it", r.ID)
	}
	switch {
	case r.Status != driver.Succeeded:
		l.fault("%s: left behind: %s, revision %d, at step %q: %s", r.ID, r.Status, r.Revision, r.Step, r.Failure)
	case string(r.Output) != output(r.ID) || r.Step != strconv.Itoa(l.steps):
		l.fault("%s: ended with %q after step %q", r.ID, r.Output, r.Step)
	}
}

// tenure is what one holder of a lease did.
type tenure struct {
	lease, host string
	from, to    uint64 // revisions
}

// workflow checks what hosts were told of one workflow.
func (l *ledger) workflow(id string, told []entry) {
	told = slices.DeleteFunc(told, func(e entry) bool { return e.Tell == meant })
	if len(told) == 0 {
		return // nothing was acknowledged
	}
	slices.SortStableFunc(told, func(a, b entry) int { return cmp.Compare(a.Revision, b.Revision) })
	r := l.final[id]
	if r == nil {
		l.fault("%s: lost: acknowledged up to revision %d, and not there in the end", id, told[len(told)-1].Revision)
	} else if last := told[len(told)-1]; last.Revision > r.Revision {
		l.fault("%s: lost: revision %d was acknowledged to %s, and %d is there in the end", id, last.Revision, last.host, r.Revision)
	}
	tenures := map[string]*tenure{}
	step, epoch, end := 0, uint64(0), (*entry)(nil)
	for i := range told {
		e := &told[i]
		if e.Tell == started {
			continue
		}
		if end != nil && end.Lease != e.Lease {
			l.fault("%s: %s at revision %d by %s after its end at revision %d was acknowledged to %s", id, e.Tell, e.Revision, e.host, end.Revision, end.host)
		}
		if e.Step < step {
			l.fault("%s: goes back: %s at step %d, revision %d, by %s after step %d", id, e.Tell, e.Step, e.Revision, e.host, step)
		}
		if e.Epoch < epoch {
			l.fault("%s: revision %d is of epoch %d, an earlier one of epoch %d", id, e.Revision, e.Epoch, epoch)
		}
		step, epoch = max(step, e.Step), max(epoch, e.Epoch)
		if e.Tell == ended {
			end = e
		}
		held := tenures[e.Lease]
		if held == nil {
			held = &tenure{e.Lease, e.host, e.Revision, e.Revision}
			tenures[e.Lease] = held
		}
		held.to = e.Revision
	}
	l.apart(id, slices.Collect(maps.Values(tenures)))
}

// apart: no two leases at one time.
func (l *ledger) apart(id string, tenures []*tenure) {
	slices.SortFunc(tenures, func(a, b *tenure) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(tenures); i++ {
		a, b := tenures[i-1], tenures[i]
		if b.from <= a.to {
			l.fault("%s: held twice: by %s over revisions %d–%d, by %s over %d–%d", id, a.host, a.from, a.to, b.host, b.from, b.to)
		}
	}
}
