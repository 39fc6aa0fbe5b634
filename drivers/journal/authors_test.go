// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/understudy-dev/understudy/driver"
)

// authors writes a log in which each event has an author of its own who knew the
// log up to some position. What authors take from their tables is what stood there
// then; all else is chosen freely, also what no machine would write. So short
// histories come to what hosts, which act as machines do, need very long ones for.
type authors struct {
	t         *rapid.T
	window    Position
	events    []Event
	before    []known // what an author knows who has seen all before the position
	oracle    *replica
	late      []*replica // began where the log may have been truncated
	truncated Position
	tokens    int
}

// known is what events take from the table of their author.
type known struct {
	incarnation uint64
	epoch       driver.Epoch
	checkpoint  Position
	records     map[string][]byte
	claims      []KeptClaim
}

func newAuthors(t *rapid.T) *authors {
	a := &authors{t: t, window: Position(rapid.IntRange(1, 12).Draw(t, "window"))}
	a.oracle = newReplica(a.window, 1000)
	a.carry(0, Created, Creation{Incarnation: 7})
	return a
}

func (a *authors) token() driver.Token {
	a.tokens++
	return numbered(1000 + a.tokens)
}

func (a *authors) next() Position { return Position(len(a.events)) }

// now is the time on the clock of some author.
func (a *authors) now() time.Time {
	ms := int(a.next()) + rapid.IntRange(0, 20).Draw(a.t, "clock")
	return testTime.Add(time.Duration(ms) * time.Millisecond)
}

// append writes the events of one batch.
func (a *authors) append(after Position, epoch uint64, events ...Event) {
	o := &Origin{Batch: &Batch{ID: a.token(), Time: a.now()}, After: after, Epoch: epoch}
	for i := range events {
		events[i].Origin, events[i].Index = o, uint32(i)
	}
	a.write(events)
}

func (a *authors) carry(after Position, kind Kind, v any) {
	e, err := carrying(kind, v)
	require.NoError(a.t, err)
	a.append(after, 0, e)
}

func (a *authors) write(events []Event) {
	for i := range events {
		pos, e := a.next(), events[i]
		a.before = append(a.before, a.table())
		a.events = append(a.events, e)
		v := a.oracle.apply(pos, &e)
		for _, r := range a.late {
			if w := r.apply(pos, &e); w.Applied != v.Applied || verdictOf(w) != verdictOf(v) {
				a.t.Fatalf("to the replica that began at %d event %d is %q, not %q\n%s\nit has\n%s\nnot\n%s",
					r.start, pos, verdictOf(w), verdictOf(v), a.history(), r.dump(), a.oracle.dump())
			}
		}
		if a.oracle.truncated > a.truncated {
			a.join()
		}
	}
}

// verdictOf says what a verdict says, without what it carries.
func verdictOf(v driver.Verdict) string {
	switch v.Err {
	case nil, errStale, errRepeated, errUndecided:
		return fmt.Sprint(v.Err)
	}
	return fmt.Sprint(driver.ClassOf(v.Err))
}

// join lets replicas begin where the log may now be truncated, or before.
func (a *authors) join() {
	a.truncated = a.oracle.truncated
	if len(a.late) > 6 {
		a.late = slices.Delete(a.late, 0, 2)
	}
	for _, start := range []Position{a.truncated, Position(rapid.IntRange(0, int(a.truncated)).Draw(a.t, "begins"))} {
		r := newReplica(a.window, 1000)
		for pos := start; pos < a.next(); pos++ {
			r.apply(pos, &a.events[pos])
		}
		require.True(a.t, r.exact, "the replica that began at %d is not exact at %d\n%s\nit has\n%s\nnot\n%s", start, a.next(), a.history(), r.dump(), a.oracle.dump())
		a.late = append(a.late, r)
	}
	a.compare()
}

// compare compares all replicas.
func (a *authors) compare() {
	want := a.oracle.digest()
	for _, r := range a.late {
		if r.digest() != want {
			a.t.Fatalf("the replica that began at %d differs at %d\n%s\nit has\n%s\nnot\n%s", r.start, r.next, a.history(), r.dump(), a.oracle.dump())
		}
	}
}

func (a *authors) table() known {
	r := a.oracle
	k := known{incarnation: r.incarnation, epoch: r.epoch, checkpoint: r.checkpoint, records: map[string][]byte{}}
	for slot := range r.table.used {
		if e := r.table.at(slot); e.data != nil {
			k.records[decoded(e.data).ID] = e.data
		}
	}
	for token, c := range r.claims {
		k.claims = append(k.claims, KeptClaim{Token: token, Until: c.until})
	}
	return k
}

func (a *authors) history() string {
	var b strings.Builder
	fmt.Fprintf(&b, "window %d\n", a.window)
	writeHistory(&b, a.events)
	return b.String()
}

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
	for last < a.next() && a.events[last].Origin == e.Origin && a.events[last].Index == uint32(last-first) {
		last++
	}
	a.write(slices.Clone(a.events[first:last]))
}

func TestReplicasAreEqualWhateverTheAuthorsKnew(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := newAuthors(t)
		acts := []func(){
			a.start, a.start, a.step, a.step, a.claim, a.claim, a.merge, a.expire, a.advance, a.rename,
			a.checkpoint, a.compacted, a.keepClaims, a.truncate, a.finish, a.finish, a.again,
		}
		for range rapid.IntRange(20, 120).Draw(t, "steps") {
			acts[rapid.IntRange(0, len(acts)-1).Draw(t, "act")]()
		}
		a.compare()
	})
}
