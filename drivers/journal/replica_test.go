// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/understudy-dev/understudy/driver"
)

func committed(t driver.Transition) Event {
	return Event{Kind: Committed, Base: t.Base, Data: driver.AppendRecord(nil, &t.Record)}
}

// start starts a workflow, also one that is there already.
func (w *world) start(h *host) {
	t, err := driver.Start(w.stamp(h, driver.Token{}), driver.Workflow{ID: w.id(), Kind: "k", Input: []byte("in"), Due: w.now})
	require.NoError(w.t, err)
	w.send(h, h.replica.next, t.Record.Epoch, committed(t))
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
		w.send(h, h.replica.next, t.Record.Epoch, e)
	}
}

func (w *world) claim(h *host) {
	token := w.token()
	if rapid.IntRange(0, 3).Draw(w.t, "repeated claim") == 0 {
		token = driver.Token{15: byte(rapid.IntRange(250, 251).Draw(w.t, "claim token"))}
	}
	req := driver.ClaimRequest{Guard: driver.Guard{Epoch: w.epochOf(h)}, Owner: "o", Token: token,
		Kinds: []string{"k"}, Limit: rapid.IntRange(1, 3).Draw(w.t, "limit"), Lease: time.Duration(rapid.IntRange(1, 40).Draw(w.t, "lease")) * time.Millisecond}
	p := h.pick(&req, false)
	w.send(h, p.after, req.Epoch, p.events...)
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
	w.send(h, h.replica.next, h.replica.epoch.Number, Event{Kind: Merged, Data: driver.AppendRecord(nil, &r)})
}

func (w *world) expire(h *host) {
	events, after, _ := h.expired()
	w.send(h, after, 0, events...)
}

func (w *world) advance(h *host) {
	next := driver.Epoch{Number: h.replica.epoch.Number + 1, Token: w.token(), Active: "a"}
	e, err := carrying(EpochAdvanced, Advance{Expect: h.replica.epoch.At(), Next: next})
	require.NoError(w.t, err)
	w.send(h, h.replica.next, 0, e)
}

func (w *world) rename(h *host) {
	e, err := carrying(Created, Creation{Incarnation: h.replica.incarnation + 1, Replaces: h.replica.incarnation})
	require.NoError(w.t, err)
	w.send(h, h.replica.next, 0, e)
}

// compact does a part of a compaction: each part may be done by another host.
func (w *world) compact(h *host) {
	r := h.replica
	switch rapid.IntRange(0, 3).Draw(w.t, "compaction") {
	case 0:
		e, err := carrying(Checkpointed, Checkpoint{Incarnation: r.incarnation, Epoch: r.epoch})
		require.NoError(w.t, err)
		w.send(h, r.next, 0, e)
	case 1:
		events, after, _ := h.stragglers(0, noSlot, r.checkpoint)
		if len(events) > 3 {
			events = events[:rapid.IntRange(1, len(events)).Draw(w.t, "repeated")]
		}
		w.send(h, after, 0, events...)
	case 2:
		kept, after := h.claimsBefore(r.checkpoint)
		if len(kept) > 0 {
			e, err := carrying(ClaimsKept, Claims{kept})
			require.NoError(w.t, err)
			w.send(h, after, 0, e)
		}
	default:
		e, err := carrying(Truncated, Truncation{Before: r.checkpoint})
		require.NoError(w.t, err)
		w.send(h, r.next, 0, e)
	}
}

// finish ends a compaction without anybody coming between, if the time has come.
func (w *world) finish(h *host) {
	for range 3 {
		w.follow(h, len(w.events))
		if r := h.replica; h.state.phase != serving || r.checkpoint <= w.first || r.next <= r.checkpoint+w.window {
			return
		}
		target := h.replica.checkpoint
		events, after, _ := h.stragglers(0, noSlot, target)
		w.send(h, after, 0, events...)
		if kept, after := h.claimsBefore(target); len(kept) > 0 {
			e, err := carrying(ClaimsKept, Claims{kept})
			require.NoError(w.t, err)
			w.send(h, after, 0, e)
		}
		e, err := carrying(Truncated, Truncation{Before: target})
		require.NoError(w.t, err)
		w.send(h, h.replica.next, 0, e)
		for range 3 {
			if n := len(w.sent); n > 0 {
				batch := w.sent[n-1]
				w.sent = w.sent[:n-1]
				w.landed = append(w.landed, batch)
				w.write(batch)
			}
		}
	}
}

// act lets a host that serves do something.
func (w *world) act(h *host) {
	w.now = w.now.Add(time.Millisecond)
	if h.state.phase != serving {
		return
	}
	acts := []func(*host){w.start, w.start, w.step, w.step, w.step, w.claim, w.merge, w.expire, w.expire, w.compact, w.compact, w.finish, w.finish}
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
		for range rapid.IntRange(50, 300).Draw(t, "steps") {
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
		for _, h := range w.hosts {
			w.follow(h, len(w.events))
			w.compare(h.replica)
		}
		w.checkFrom(w.first)
		w.checkFrom(Position(rapid.Uint64Range(0, uint64(w.cutable)).Draw(t, "begins")))
	})
}
