// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
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
	if slices.Contains([]error{nil, errStale, errRepeated, errUndecided}, v.Err) {
		return fmt.Sprint(v.Err)
	}
	return driver.ClassOf(v.Err).String()
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
