// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/understudy-dev/understudy/driver"
)

func (a *authors) id() string { return rapid.SampledFrom([]string{"a", "b"}).Draw(a.t, "id") }

// author chooses who writes the next event.
func (a *authors) author() (Position, known) {
	if a.next() == 0 {
		return 0, known{}
	}
	after := a.next() - min(a.next(), Position(rapid.IntRange(0, int(a.window)+1).Draw(a.t, "behind")))
	if after == a.next() {
		return after, a.table()
	}
	return after, a.before[after]
}

// epoch is that of a call.
func (a *authors) epoch(k known) uint64 {
	n := k.epoch.Number
	switch rapid.IntRange(0, 15).Draw(a.t, "epoch") {
	case 14:
		return n + 1
	case 15:
		return n - min(n, 1)
	}
	return n
}

func (a *authors) stamp(k known, token driver.Token) driver.Stamp {
	return driver.Stamp{Epoch: a.epoch(k), Token: token, Now: a.now()}
}

// start starts a workflow, also one that is there.
func (a *authors) start() {
	after, k := a.author()
	s := a.stamp(k, a.token())
	tr, err := driver.Start(s, driver.Workflow{ID: a.id(), Kind: "k", Due: testTime})
	require.NoError(a.t, err)
	a.append(after, s.Epoch, committed(tr))
}

// step moves a workflow on from what its author knew of it.
func (a *authors) step() {
	after, k := a.author()
	data, ok := k.records[a.id()]
	if !ok {
		return
	}
	r := decoded(data)
	s := a.stamp(k, a.token())
	s.Lease = r.Lease.Token
	var tr driver.Transition
	var err error
	switch rapid.IntRange(0, 3).Draw(a.t, "step") {
	case 0:
		tr, err = driver.Requeue(s, r, testTime)
	case 1:
		tr, err = driver.Cancel(s, r, "no", s.Now)
	case 2:
		tr, err = driver.Yield(s, r, "y", nil, testTime)
	default:
		tr, err = driver.Save(s, r, "s", []byte{1}, s.Now.Add(time.Second))
	}
	if err != nil {
		return
	}
	e := committed(tr)
	if rapid.Bool().Draw(a.t, "partial") {
		tr.Record.Kind, tr.Record.Created = "", time.Time{}
		e, e.Partial = committed(tr), true
	}
	a.append(after, s.Epoch, e)
}

// claim leases what its author knew.
func (a *authors) claim() {
	after, k := a.author()
	token := numbered(rapid.IntRange(1, 3).Draw(a.t, "token"))
	s := a.stamp(k, token)
	var events []Event
	for _, id := range slices.Sorted(maps.Keys(k.records)) {
		r := decoded(k.records[id])
		tr, err := driver.Claim(s, r, "o", s.Now.Add(time.Duration(rapid.IntRange(1, 30).Draw(a.t, "lease"))*time.Millisecond))
		if err != nil || rapid.IntRange(0, 3).Draw(a.t, "leaves out") == 0 {
			continue
		}
		e := committed(tr)
		e.Kind = Claimed
		events = append(events, e)
	}
	a.append(after, s.Epoch, events...)
}

// merge brings a record from elsewhere.
func (a *authors) merge() {
	after, k := a.author()
	s := a.stamp(k, a.token())
	tr, err := driver.Start(s, driver.Workflow{ID: a.id(), Kind: "m", Due: testTime})
	require.NoError(a.t, err)
	r := tr.Record
	r.Revision = uint64(rapid.IntRange(1, 5).Draw(a.t, "revision"))
	a.append(after, s.Epoch, Event{Kind: Merged, Data: driver.AppendRecord(nil, &r)})
}

func (a *authors) expire() {
	after, _ := a.author()
	a.append(after, 0, Event{Kind: Expired, Data: []byte(a.id())})
}

func (a *authors) advance() {
	after, k := a.author()
	a.carry(after, EpochAdvanced, Advance{Expect: k.epoch.At(), Next: driver.Epoch{Number: k.epoch.Number + 1, Token: a.token(), Active: "a"}})
}

func (a *authors) rename() {
	after, k := a.author()
	a.carry(after, Created, Creation{Incarnation: k.incarnation + 1, Replaces: k.incarnation})
}

func (a *authors) checkpoint() {
	after, k := a.author()
	a.carry(after, Checkpointed, Checkpoint{Incarnation: k.incarnation, Epoch: k.epoch})
}

func (a *authors) compacted() {
	after, k := a.author()
	if data, ok := k.records[a.id()]; ok {
		a.append(after, 0, Event{Kind: Compacted, Data: data})
	}
}

func (a *authors) keepClaims() {
	after, k := a.author()
	a.carry(after, ClaimsKept, Claims{k.claims})
}

func (a *authors) truncate() {
	after, k := a.author()
	a.carry(after, Truncated, Truncation{Before: k.checkpoint - min(k.checkpoint, Position(rapid.IntRange(0, 3).Draw(a.t, "below")))})
}

// finish repeats what a truncation needs, and writes it.
func (a *authors) finish() {
	m := &Machine{replica: a.oracle, clock: SystemClock{}}
	target := a.oracle.checkpoint
	repeats, after, _ := m.stragglers(0, noSlot, target)
	a.append(after, 0, repeats...)
	if kept, after := m.claimsBefore(target); len(kept) > 0 {
		a.carry(after, ClaimsKept, Claims{kept})
	}
	a.carry(a.next(), Truncated, Truncation{Before: target})
}

// again writes a recent batch once more.
func (a *authors) again() {
	pos := a.next() - 1 - Position(rapid.IntRange(0, min(len(a.events)-1, 12)).Draw(a.t, "again"))
	e := &a.events[pos]
	first := pos - Position(e.Index)
	last := first
	for last < a.next() && a.events[last].Origin == e.Origin && Position(a.events[last].Index) == last-first {
		last++
	}
	a.write(slices.Clone(a.events[first:last]))
}
