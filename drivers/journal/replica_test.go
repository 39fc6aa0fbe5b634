// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
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
}

// host is a machine without goroutines.
type host struct {
	*Machine
	target Position // serves once it has applied what is before
}

type worldClock struct {
	SystemClock
	w *world
}

func (c worldClock) Now() time.Time { return c.w.now }

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: time.UnixMilli(1_000_000), window: Position(rapid.IntRange(1, 25).Draw(t, "window"))}
	w.oracle = w.newReplica()
	for range rapid.IntRange(1, 4).Draw(t, "hosts") {
		w.hosts = append(w.hosts, w.newHost())
	}
	e, err := carrying(Created, Creation{Incarnation: 7})
	require.NoError(t, err)
	w.send(0, 0, e)
	w.land()
	return w
}

func (w *world) newReplica() *replica { return newReplica(w.window, 1000) }

func (w *world) newHost() *host {
	h := &host{Machine: &Machine{clock: worldClock{w: w}, replica: w.newReplica(), limits: Limits{Events: 8, Bytes: 1 << 20}}}
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
func (w *world) send(after Position, epoch uint64, events ...Event) {
	if len(events) == 0 {
		return
	}
	origin := &Origin{Batch: &Batch{ID: w.token(), Time: w.now}, After: after, Epoch: epoch}
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
		v := w.oracle.apply(pos, &w.events[pos])
		require.GreaterOrEqual(w.t, w.oracle.epoch.Number, before.Number)
		if batch[i].Kind == Truncated && v.Applied {
			t, err := carried[Truncation](&batch[i])
			require.NoError(w.t, err)
			w.cutable = max(w.cutable, t.Before)
		}
		if batch[i].Kind == Compacted {
			w.checkRepeat(&batch[i], v)
		}
	}
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
	return fmt.Sprintf("w%d", rapid.IntRange(0, 4).Draw(w.t, "id"))
}

func (w *world) stamp(h *host, lease driver.Token) driver.Stamp {
	return driver.Stamp{Epoch: w.epochOf(h), Token: w.token(), Now: w.now, Lease: lease}
}

// epochOf is the epoch that a host acts in, now and then an old one.
func (w *world) epochOf(h *host) uint64 {
	n := h.replica.epoch.Number
	if n > 0 && rapid.IntRange(0, 9).Draw(w.t, "stale epoch") == 0 {
		n--
	}
	return n
}

func committed(t driver.Transition) Event {
	return Event{Kind: Committed, Base: t.Base, Data: driver.AppendRecord(nil, &t.Record)}
}

// start starts a workflow, also one that is there already.
func (w *world) start(h *host) {
	t, err := driver.Start(w.stamp(h, driver.Token{}), driver.Workflow{ID: w.id(), Kind: "k", Input: []byte("in"), Due: w.now})
	require.NoError(w.t, err)
	w.send(h.replica.next, t.Record.Epoch, committed(t))
}

// step moves a workflow on, mostly from what the host knows of it.
func (w *world) step(h *host) {
	slot, r := h.replica.table.get(w.id())
	if slot == noSlot {
		return
	}
	var t driver.Transition
	var err error
	s := w.stamp(h, r.Lease.Token)
	switch rapid.IntRange(0, 5).Draw(w.t, "step") {
	case 0:
		t, err = driver.Save(s, r, "s", []byte{1}, w.now.Add(time.Second))
	case 1:
		t, err = driver.Succeed(s, r, []byte("out"), w.now.Add(5*time.Millisecond))
	case 2:
		t, err = driver.Yield(s, r, "y", nil, w.now)
	case 3:
		t, err = driver.Cancel(s, r, "no", w.now.Add(time.Millisecond))
	case 4:
		t, err = driver.Requeue(s, r, w.now)
	default:
		t, err = driver.Fail(s, r, driver.Failure{Reason: "f", Retry: w.now, MaxAttempts: 2, Expires: w.now})
	}
	if err == nil {
		e := committed(t)
		if rapid.Bool().Draw(w.t, "partial") {
			t.Record.Input, t.Record.Kind, t.Record.Created = nil, "", time.Time{}
			e = committed(t)
			e.Partial = true
		}
		w.send(h.replica.next, t.Record.Epoch, e)
	}
}

func (w *world) claim(h *host) {
	token := w.token()
	if rapid.IntRange(0, 3).Draw(w.t, "repeated claim") == 0 {
		token = driver.Token{15: byte(rapid.IntRange(250, 251).Draw(w.t, "claim token"))}
	}
	req := driver.ClaimRequest{Guard: driver.Guard{Epoch: w.epochOf(h)}, Owner: "o", Token: token,
		Kinds: []string{"k"}, Limit: rapid.IntRange(1, 3).Draw(w.t, "limit"), Lease: 20 * time.Millisecond}
	p := h.pick(&req, false)
	w.send(p.after, req.Epoch, p.events...)
	h.unreserve(p.slots)
}

// merge brings a record from elsewhere.
func (w *world) merge(h *host) {
	t, err := driver.Start(w.stamp(h, driver.Token{}), driver.Workflow{ID: w.id(), Kind: "m", Due: w.now})
	require.NoError(w.t, err)
	r := t.Record
	r.Revision = uint64(rapid.IntRange(1, 4).Draw(w.t, "revision"))
	if rapid.Bool().Draw(w.t, "finished") {
		r.Status, r.Due, r.Expires = driver.Succeeded, time.Time{}, driver.Millis(w.now)
	}
	w.send(h.replica.next, h.replica.epoch.Number, Event{Kind: Merged, Data: driver.AppendRecord(nil, &r)})
}

func (w *world) expire(h *host) {
	events, after, _ := h.expired()
	w.send(after, 0, events...)
}

func (w *world) advance(h *host) {
	next := driver.Epoch{Number: h.replica.epoch.Number + 1, Token: w.token(), Active: "a"}
	e, err := carrying(EpochAdvanced, Advance{Expect: h.replica.epoch.At(), Next: next})
	require.NoError(w.t, err)
	w.send(h.replica.next, 0, e)
}

func (w *world) rename(h *host) {
	e, err := carrying(Created, Creation{Incarnation: h.replica.incarnation + 1, Replaces: h.replica.incarnation})
	require.NoError(w.t, err)
	w.send(h.replica.next, 0, e)
}

// compact does a part of a compaction: each part may be done by another host.
func (w *world) compact(h *host) {
	r := h.replica
	switch rapid.IntRange(0, 3).Draw(w.t, "compaction") {
	case 0:
		e, err := carrying(Checkpointed, Checkpoint{Incarnation: r.incarnation, Epoch: r.epoch})
		require.NoError(w.t, err)
		w.send(r.next, 0, e)
	case 1:
		events, after, _ := h.stragglers(0, noSlot, r.checkpoint)
		if len(events) > 3 {
			events = events[:rapid.IntRange(1, len(events)).Draw(w.t, "repeated")]
		}
		w.send(after, 0, events...)
	case 2:
		kept := h.claimsBefore(r.checkpoint)
		if len(kept) > 0 {
			e, err := carrying(ClaimsKept, Claims{kept})
			require.NoError(w.t, err)
			w.send(r.next, 0, e)
		}
	default:
		e, err := carrying(Truncated, Truncation{Before: r.checkpoint})
		require.NoError(w.t, err)
		w.send(r.next, 0, e)
	}
}

// act lets a host that serves do something.
func (w *world) act(h *host) {
	if h.state.phase != serving {
		return
	}
	acts := []func(*host){w.start, w.step, w.step, w.claim, w.merge, w.expire, w.compact, w.compact, w.compact}
	switch n := rapid.IntRange(0, len(acts)+2).Draw(w.t, "act"); n {
	case len(acts):
		w.advance(h)
	case len(acts) + 1:
		w.rename(h)
	case len(acts) + 2:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 30).Draw(w.t, "ms")) * time.Millisecond)
	default:
		acts[n](h)
	}
}

func TestReplicasThatStartAnywhereAreEqual(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(20, 400).Draw(t, "steps") {
			h := w.hosts[rapid.IntRange(0, len(w.hosts)-1).Draw(t, "host")]
			switch n := rapid.IntRange(0, 19).Draw(t, "what"); {
			case n < 6:
				w.follow(h, rapid.IntRange(1, 30).Draw(t, "events"))
				w.act(h)
			case n < 11:
				w.land()
			case n < 16:
				w.follow(h, 1000)
				w.act(h)
				w.land()
			case n == 16:
				w.repeat()
			case n == 17:
				w.restart(h)
			case n == 18:
				w.first = max(w.first, w.cutable)
			}
		}
		w.restart(w.hosts[0])
		want := w.oracle.digest()
		for i, h := range w.hosts {
			w.follow(h, len(w.events))
			require.Equal(t, w.oracle.next, h.replica.next)
			require.Equal(t, want, h.replica.digest(), "host %d began at %d of %d\n%s\nit is\n%s\nnot\n%s", i, h.replica.start, len(w.events), w.history(), h.replica.dump(), w.oracle.dump())
		}
	})
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
	for i := range w.events {
		e := &w.events[i]
		fmt.Fprintf(&b, "%d %s after %d epoch %d batch %s", i, e.Kind, e.Origin.After, e.Origin.Epoch, e.Origin.Batch.ID)
		if e.Kind.HasRecord() {
			rec := decoded(e.Data)
			fmt.Fprintf(&b, " %s rev %d epoch %d token %s base %s", rec.ID, rec.Revision, rec.Epoch, rec.Token, e.Base)
		} else {
			fmt.Fprintf(&b, " %s", e.Data)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
