// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/understudy-dev/understudy/driver"
)

// world is a log with several hosts on it, all in one goroutine: rapid chooses
// who does what next, in which order appends arrive, which of them stand twice,
// where the log is cut and who begins anew.
type world struct {
	t       *rapid.T
	now     time.Time
	tokens  uint64
	window  Position
	events  []Event // from position 0 on, also those that were cut
	first   Position
	sent    [][]Event // appends under way
	landed  [][]Event
	hosts   []*host
	oracle  *replica // has applied everything from 0 on
	cutable Position // the last truncation that counts
	applied map[string]bool
}

// host is a machine without goroutines.
type host struct {
	*Machine
	target Position // serves once it has applied what is before
}

// skew is the most by which the clock of a host is wrong.
const skew = 15 * time.Millisecond

// worldClock is the clock of a host.
type worldClock struct {
	SystemClock
	w    *world
	skew time.Duration
}

// Now implements [Clock].
func (c worldClock) Now() time.Time { return c.w.now.Add(c.skew) }

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: time.UnixMilli(1_000_000), applied: map[string]bool{}, window: Position(rapid.IntRange(1, 25).Draw(t, "window"))}
	w.oracle = w.newReplica()
	for range rapid.IntRange(1, 4).Draw(t, "hosts") {
		w.hosts = append(w.hosts, w.newHost())
	}
	e, err := carrying(Created, Creation{Incarnation: 7})
	require.NoError(t, err)
	w.send(w.hosts[0], 0, 0, e)
	w.land()
	return w
}

func (w *world) newReplica() *replica { return newReplica(w.window, 1000) }

func (w *world) newHost() *host {
	clock := worldClock{w: w, skew: time.Duration(rapid.IntRange(-15, 15).Draw(w.t, "skew")) * time.Millisecond}
	h := &host{Machine: &Machine{clock: clock, replica: w.newReplica(), limits: Limits{Events: 8, Bytes: 1 << 20}}}
	h.opts.Slack = 1
	return h
}

func (w *world) token() driver.Token {
	w.tokens++
	var t driver.Token
	binary.BigEndian.PutUint64(t[8:], w.tokens)
	return t
}

// send puts an append on its way.
func (w *world) send(h *host, after Position, epoch uint64, events ...Event) {
	if len(events) == 0 {
		return
	}
	origin := &Origin{Batch: &Batch{ID: w.token(), Time: h.clock.Now()}, After: after, Epoch: epoch}
	for i := range events {
		events[i].Origin, events[i].Index = origin, uint32(i)
	}
	w.sent = append(w.sent, events)
}

// land lets one of the appends under way arrive.
func (w *world) land() {
	if len(w.sent) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.sent)-1).Draw(w.t, "lands")
	batch := w.sent[i]
	w.sent = append(w.sent[:i:i], w.sent[i+1:]...)
	w.landed = append(w.landed, batch)
	w.write(batch)
}

// repeat writes an append that has arrived before once more.
func (w *world) repeat() {
	if len(w.landed) > 0 {
		w.write(w.landed[len(w.landed)-1-min(len(w.landed)-1, rapid.IntRange(0, 12).Draw(w.t, "repeats"))])
	}
}

func (w *world) write(batch []Event) {
	for i := range batch {
		pos := Position(len(w.events))
		w.events = append(w.events, batch[i])
		before := w.oracle.epoch
		if batch[i].Kind == Expired {
			w.checkExpiry(&batch[i])
		}
		v := w.oracle.apply(pos, &w.events[pos])
		if kind := batch[i].Kind; v.Applied && (kind == Committed || kind == Merged) {
			rec := decoded(batch[i].Data)
			name := fmt.Sprint(rec.ID, rec.Revision, rec.Token)
			require.False(w.t, w.applied[name], "the transition to revision %d of %q with token %s was applied twice", rec.Revision, rec.ID, rec.Token)
			w.applied[name] = true
		}
		require.GreaterOrEqual(w.t, w.oracle.epoch.Number, before.Number)
		if batch[i].Kind == Truncated && v.Applied {
			t, err := carried[Truncation](&batch[i])
			require.NoError(w.t, err)
			w.checkTruncation(t.Before)
		}
		if batch[i].Kind == Compacted {
			w.checkRepeat(&batch[i], v)
		}
	}
}

// checkTruncation checks that replicas which start where the log may be truncated,
// or before, hold the same from the truncation on.
func (w *world) checkTruncation(before Position) {
	if before <= w.cutable {
		return
	}
	w.cutable = before
	w.checkFrom(before)
	w.checkFrom(Position(rapid.Uint64Range(0, uint64(before)).Draw(w.t, "begins")))
}

// checkFrom compares a replica that starts at a position with the one that has seen
// everything.
func (w *world) checkFrom(start Position) {
	r := w.newReplica()
	for pos := start; pos < w.oracle.next; pos++ {
		r.apply(pos, &w.events[pos])
	}
	require.True(w.t, r.exact, "the replica that began at %d of %d is not exact\n%s\n%s", start, r.next, w.history(), r.dump())
	w.compare(r)
}

func (w *world) compare(r *replica) {
	require.Equal(w.t, w.oracle.next, r.next)
	if r.digest() != w.oracle.digest() {
		w.t.Fatalf("the replica that began at %d of %d differs\n%s\nit has\n%s\nnot\n%s", r.start, r.next, w.history(), r.dump(), w.oracle.dump())
	}
}

// checkExpiry checks that only records that have expired leave.
func (w *world) checkExpiry(e *Event) {
	slot, stored := w.oracle.table.get(string(e.Data))
	if slot == noSlot || w.oracle.table.at(slot).touch > e.Origin.After {
		return
	}
	require.True(w.t, stored.Status.Finished() && !stored.Expires.After(w.now.Add(skew)), "%q leaves though it is %s", stored.ID, stored.Status)
}

// checkRepeat checks that a repeated record that counts is the one stored.
func (w *world) checkRepeat(e *Event, v driver.Verdict) {
	if !v.Applied {
		return
	}
	rec := decoded(e.Data)
	slot, stored := w.oracle.table.get(rec.ID)
	require.NotEqual(w.t, noSlot, slot, "a repeat brought back %q", rec.ID)
	require.Zero(w.t, driver.Compare(&rec, &stored), "a repeat of %q is not what is stored", rec.ID)
}

// follow lets a host apply some events.
func (w *world) follow(h *host, limit int) {
	r := h.replica
	if r.next < w.first {
		w.restart(h)
		r = h.replica
	}
	next := max(r.next, w.first)
	for ; limit > 0 && next < Position(len(w.events)); next++ {
		r.apply(next, &w.events[next])
		limit--
	}
	h.next.Store(uint64(r.next))
	if r.next >= h.target && r.begun {
		require.True(w.t, r.exact, "a replica that began at %d is not exact at %d; the log begins at %d", r.start, r.next, w.first)
		h.state.phase, r.settled = serving, true
	} else {
		h.state.phase = starting
	}
}

// restart makes a host begin anew.
func (w *world) restart(h *host) {
	h.replica = w.newReplica()
	h.target = Position(len(w.events))
	h.state.phase = starting
}

func (w *world) id() string {
	return fmt.Sprintf("w%d", rapid.IntRange(0, 2).Draw(w.t, "id"))
}

func (w *world) stamp(h *host, lease driver.Token) driver.Stamp {
	return driver.Stamp{Epoch: w.epochOf(h), Token: w.token(), Now: h.clock.Now(), Lease: lease}
}

// epochOf is the epoch that a host acts in, now and then an old one.
func (w *world) epochOf(h *host) uint64 {
	n := h.replica.epoch.Number
	if n > 0 && rapid.IntRange(0, 9).Draw(w.t, "stale epoch") == 0 {
		n--
	}
	return n
}

// dump shows what a digest is made of.
func (r *replica) dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s checkpoint %d\n", r.incarnation, r.epoch, r.checkpoint)
	for slot := range r.table.used {
		if e := r.table.at(slot); e.data != nil {
			rec := decoded(e.data)
			fmt.Fprintf(&b, "%s rev %d epoch %d token %s %s known %d touch %d\n", rec.ID, rec.Revision, rec.Epoch, rec.Token, rec.Status, e.known, e.touch)
		}
	}
	for token, c := range r.claims {
		fmt.Fprintf(&b, "%s until %d known %d\n", token, c.until, c.known)
	}
	return b.String()
}

func (w *world) history() string {
	var b strings.Builder
	writeHistory(&b, w.events)
	return b.String()
}

func writeHistory(b *strings.Builder, events []Event) {
	for i := range events {
		e := &events[i]
		fmt.Fprintf(b, "%d %s after %d epoch %d batch %s", i, e.Kind, e.Origin.After, e.Origin.Epoch, e.Origin.Batch.ID)
		if e.Kind.HasRecord() {
			rec := decoded(e.Data)
			fmt.Fprintf(b, " %s rev %d epoch %d token %s base %s", rec.ID, rec.Revision, rec.Epoch, rec.Token, e.Base)
		} else {
			fmt.Fprintf(b, " %s", e.Data)
		}
		b.WriteByte('\n')
	}
}
