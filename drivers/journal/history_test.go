// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// history is a log written by hand, of which each event decides by itself how much
// its author knew.
type history struct {
	t      *testing.T
	window Position
	events []Event
}

// newHistory begins a log with its Created event.
func newHistory(t *testing.T, window Position) *history {
	t.Helper()
	h := &history{t: t, window: window}
	h.carry(0, Created, Creation{Incarnation: 7})
	return h
}

func numbered(n int) driver.Token {
	var t driver.Token
	binary.BigEndian.PutUint64(t[8:], uint64(n))
	return t
}

// append writes an event of a batch of its own.
func (h *history) append(after Position, e Event) {
	e.Origin = &Origin{Batch: &Batch{ID: numbered(1000 + len(h.events)), Time: testTime}, After: after}
	h.events = append(h.events, e)
}

func (h *history) carry(after Position, kind Kind, v any) {
	h.t.Helper()
	e, err := carrying(kind, v)
	require.NoError(h.t, err)
	h.append(after, e)
}

// at fills up with events that change nothing until the next one has a position.
func (h *history) at(pos Position) *history {
	h.t.Helper()
	require.LessOrEqual(h.t, h.next(), pos)
	for h.next() < pos {
		h.append(h.next(), Event{Kind: Probed})
	}
	return h
}

func (h *history) next() Position { return Position(len(h.events)) }

func (h *history) stamp(token int) driver.Stamp {
	return driver.Stamp{Token: numbered(token), Now: testTime}
}

// start commits the first revision of a workflow.
func (h *history) start(after Position, id string, token int) driver.Record {
	h.t.Helper()
	tr, err := driver.Start(h.stamp(token), driver.Workflow{ID: id, Kind: "k", Due: testTime})
	require.NoError(h.t, err)
	h.append(after, committed(tr))
	return tr.Record
}

// claim leases r with a token for a time.
func (h *history) claim(after Position, r driver.Record, token int, lease time.Duration) driver.Record {
	h.t.Helper()
	tr, err := driver.Claim(h.stamp(token), r, "o", testTime.Add(lease))
	require.NoError(h.t, err)
	e := committed(tr)
	e.Kind = Claimed
	h.append(after, e)
	return tr.Record
}

func (h *history) commit(after Position, tr driver.Transition, err error) driver.Record {
	h.t.Helper()
	require.NoError(h.t, err)
	h.append(after, committed(tr))
	return tr.Record
}

// checkpoint begins a compaction by an author with the clock at now.
func (h *history) checkpoint(after Position, now time.Time) {
	h.t.Helper()
	h.carry(after, Checkpointed, Checkpoint{Incarnation: 7})
	h.events[len(h.events)-1].Origin.Batch.Time = now
}

// compacted repeats a record as of now.
func (h *history) compacted(r driver.Record) {
	h.append(h.next(), Event{Kind: Compacted, Data: driver.AppendRecord(nil, &r)})
}

// replica returns one that has applied everything from a position on.
func (h *history) replica(from Position) *replica {
	r := newReplica(h.window, 1000)
	for pos := from; pos < h.next(); pos++ {
		r.apply(pos, &h.events[pos])
	}
	return r
}

// stored returns the record of a replica that started at a position.
func (h *history) stored(from Position, id string) driver.Record {
	h.t.Helper()
	slot, r := h.replica(from).table.get(id)
	require.NotEqual(h.t, noSlot, slot)
	return r
}

// compact truncates the log before a position after repeating what has to be, and
// requires that all replicas which start there or before end alike.
func (h *history) compact(before Position) {
	h.t.Helper()
	all := h.replica(0)
	machine := &Machine{replica: all, clock: SystemClock{}}
	events, _, _ := machine.stragglers(0, noSlot, before)
	for i := range events {
		h.append(all.next, events[i])
	}
	if kept, _ := machine.claimsBefore(before); len(kept) > 0 {
		h.carry(all.next, ClaimsKept, Claims{kept})
	}
	h.truncate(before)
}

func (h *history) truncate(before Position) {
	h.t.Helper()
	h.carry(h.next(), Truncated, Truncation{Before: before})
	all := h.replica(0)
	require.Equal(h.t, before, all.truncated, "the truncation counts")
	for from := range before + 1 {
		r := h.replica(from)
		require.True(h.t, r.exact, "the replica that began at %d is exact", from)
		require.Equal(h.t, all.digest(), r.digest(), "the replica that began at %d has\n%s\nnot\n%s", from, r.dump(), all.dump())
	}
}

func TestLeaseOfAClaimIsWhatItWasThoughAnotherCameInBetween(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 5)
	a := h.start(1, "a", 1)
	h.claim(2, a, 9, 63*time.Millisecond)
	h.checkpoint(3, testTime)
	h.claim(2, a, 9, 62*time.Millisecond) // another call with the token, which comes to nothing
	h.at(9).compact(3)
}

func TestCheckpointThatALateReplicaCannotDecideEndsLeasesThereToo(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 5)
	a := h.start(1, "a", 1)
	h.at(3).checkpoint(3, testTime)
	h.claim(2, a, 9, 20*time.Millisecond)
	h.checkpoint(2, testTime.Add(time.Second))
	h.at(9).compact(3)
}

func TestClaimTokensAreKnownBeforeTheCheckpoint(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 20)
	a := h.start(1, "a", 1)
	other, err := driver.Start(h.stamp(2), driver.Workflow{ID: "z", Kind: "k", Due: testTime})
	require.NoError(t, err)
	h.at(11).claim(10, other.Record, 9, time.Second)
	h.at(15).checkpoint(10, testTime)
	h.at(30).compacted(a)
	h.claim(11, a, 9, time.Second)
	h.compact(10)
}

func TestClaimThatALateReplicaTakesForTheFirstOfItsToken(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 20)
	a := h.start(1, "a", 1)
	b := h.start(2, "b", 2)
	h.claim(3, b, 9, time.Second)
	h.at(5).checkpoint(5, testTime)
	h.compacted(a)
	h.claim(3, a, 9, time.Second)
	require.Equal(t, driver.Ready, h.stored(0, "a").Status)
	require.Equal(t, driver.Leased, h.stored(5, "a").Status)
	h.at(26).compact(5)
}

func TestClaimThatWasRefusedIsRefusedWhereItStandsTwice(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 5)
	a := h.start(1, "a", 1)
	b := h.start(2, "b", 2)
	h.claim(3, a, 9, time.Second)
	h.claim(3, b, 9, time.Second)
	h.events = append(h.events, h.events[h.next()-1])
	require.Equal(t, driver.Ready, h.stored(0, "b").Status)
}

func TestMergeThatALateReplicaDoesNotKnowToBeOfAnEarlierRecord(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 20)
	h.start(1, "a", 1)
	h.at(3).append(3, Event{Kind: Expired, Data: []byte("a")})
	h.checkpoint(4, testTime)
	a := h.start(5, "a", 2)
	a.Revision, a.Token = 7, numbered(3)
	h.append(3, Event{Kind: Merged, Data: driver.AppendRecord(nil, &a)})
	require.EqualValues(t, 1, h.stored(0, "a").Revision)
	require.EqualValues(t, 7, h.stored(4, "a").Revision)
	h.at(25).compact(4)
}

func TestMergeAfterAnExpiryThatCameToNothing(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 10)
	a := h.start(1, "a", 1)
	tr, err := driver.Cancel(h.stamp(2), a, "no", testTime)
	a = h.commit(2, tr, err)
	h.checkpoint(3, testTime)
	tr, err = driver.Requeue(h.stamp(3), a, testTime)
	a = h.commit(4, tr, err)
	h.append(4, Event{Kind: Expired, Data: []byte("a")}) // its author did not know of the requeue
	h.at(13).compacted(a)
	a.Revision, a.Token = 7, numbered(4)
	h.append(5, Event{Kind: Merged, Data: driver.AppendRecord(nil, &a)})
	h.compact(3)
}

// TestLeaseThatEndedIsNotBroughtBack lets a host repeat a token over a checkpoint by
// which it was forgotten.
func TestLeaseThatEndedIsNotBroughtBack(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 10)
	a := h.start(1, "a", 1)
	h.claim(2, a, 9, 100*time.Millisecond)
	h.at(5).checkpoint(4, testTime.Add(150*time.Millisecond)) // the lease has ended
	b := h.start(6, "b", 2)
	h.at(8).claim(7, b, 9, 60*time.Millisecond) // by a host whose clock is behind
	h.checkpoint(9, testTime)
	h.carry(5, ClaimsKept, Claims{[]KeptClaim{{Token: numbered(9), Until: testTime.Add(100 * time.Millisecond).UnixMilli()}}})
	h.at(20).compact(9)
}

func TestEventWhoseAuthorKnewMoreThanThereIsDoesNotCount(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 10)
	a := h.start(1, "a", 1)
	h.carry(3, Checkpointed, Checkpoint{Incarnation: 8}) // of a log that was longer before it was restored
	wrong := a
	wrong.Token = numbered(5)
	h.append(90, Event{Kind: Compacted, Data: driver.AppendRecord(nil, &wrong)})
	h.start(90, "b", 2)
	r := h.replica(0)
	require.EqualValues(t, 7, r.incarnation)
	require.EqualValues(t, 0, r.checkpoint)
	_, stored := r.table.get("a")
	require.Equal(t, a.Token, stored.Token)
	slot, _ := r.table.get("b")
	require.Equal(t, noSlot, slot)
}

func TestVerdictOnWhatStoodBeforeTheStartIsThatOfAll(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 5)
	h.at(3).checkpoint(3, testTime)
	h.at(9).compact(3)
	for from := range Position(4) {
		r := h.replica(from)
		after := *h
		after.start(2, "a", 1)
		v := r.apply(h.next(), &after.events[h.next()])
		require.Equal(t, errStale, v.Err, "by the replica that began at %d", from)
	}
}
