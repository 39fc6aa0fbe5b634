// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// recent remembers, for the length of the window, what events said of a key. It is
// a function of the events of that stretch alone, never of what a replica holds, so
// that an event whose author knew all before the start of the replica is decided
// alike by all.
type recent[K comparable, V any] struct {
	of    map[K]noted[V]
	marks []mark[K] // in the order of their positions
	head  int
}

type noted[V any] struct {
	last Position // after the last event, so that zero means never
	what V
}

type mark[K comparable] struct {
	key  K
	last Position
}

func (r *recent[K, V]) note(key K, last Position, what V) {
	if r.of == nil {
		r.of = map[K]noted[V]{}
	}
	r.of[key] = noted[V]{last, what}
	r.marks = append(r.marks, mark[K]{key, last})
}

// prune forgets what lies further back than the window from the event at pos.
func (r *recent[K, V]) prune(pos, window Position) {
	for r.head < len(r.marks) && r.marks[r.head].last+window < pos {
		m := r.marks[r.head]
		if r.of[m.key].last <= m.last {
			delete(r.of, m.key)
		}
		r.marks[r.head] = mark[K]{}
		r.head++
	}
	if r.head > 1024 && r.head*2 > len(r.marks) {
		r.marks = append([]mark[K](nil), r.marks[r.head:]...)
		r.head = 0
	}
}

// ghosts remembers the ids that events named while no record of them was there,
// and after which position the last Expired event of each stands, whether that
// counted or not: a replica without the record cannot tell.
type ghosts struct{ recent[string, Position] }

// touch notes that an event named id and ended before at.
func (g *ghosts) touch(id string, at Position, expired bool) {
	known, ok := g.of[id]
	if !ok {
		id = strings.Clone(id) // the event's memory may hold a whole record
	}
	if expired {
		known.what = at
	}
	g.note(id, at, known.what)
}

// touched returns the position that all recent events which named id stand before.
func (g *ghosts) touched(id string) Position { return g.of[id].last }

// expired returns that of the Expired events.
func (g *ghosts) expired(id string) Position { return g.of[id].what }

// claim is the memory of a claim's token, by which a repeat is recognised.
//
// Until is the latest that a Claimed event has said since the token was last
// forgotten. Each event that changes it raises it or forgets it if it is below a
// limit, so a replica that started later never holds more than those before it.
type claim struct {
	until int64    // end of the leases in milliseconds since 1970
	known Position // as of an entry
}

// use is the last use of a claim's token.
type use struct {
	batch  driver.Token // of the last Claimed event
	others Position     // after the last one of another batch
}

// claimant remembers the token of a Claimed event and decides whether the event may
// count as far as that is concerned: only the first of several claims that did not
// know of each other does.
func (r *replica) claimant(pos Position, e *Event, rec *driver.Record) error {
	if r.stale(pos, e) {
		return errStale
	}
	token, batch := rec.Lease.Token, e.Origin.Batch.ID
	before := r.tokens.of[token]
	others := before.last
	if before.what.batch == batch {
		others = before.what.others
	}
	r.tokens.note(token, pos+1, use{batch, others})
	c, ok := r.claims[token]
	if !ok {
		c.known = r.checkpoint
		r.table.learn(c.known)
	}
	c.until = max(c.until, rec.Due.UnixMilli())
	r.claims[token] = c
	if others > e.Origin.After {
		return errRepeated
	}
	return nil
}

// keepClaims applies a ClaimsKept event. It does not count if tokens may have been
// forgotten since its author knew, and so changes no replica that knows them.
func (r *replica) keepClaims(pos Position, e *Event) driver.Verdict {
	kept, err := carried[Claims](e)
	switch {
	case err != nil:
		return driver.Verdict{Err: err}
	case r.stale(pos, e) || r.forgot > e.Origin.After:
		return driver.Verdict{Err: errStale}
	case !r.ready: // one that is has seen a checkpoint, so the author knew all before its start
		return driver.Verdict{Err: errUndecided}
	}
	for _, k := range kept.Claims {
		c, ok := r.claims[k.Token]
		if ok {
			r.table.forget(c.known)
		}
		c.until = max(c.until, k.Until)
		c.known = max(c.known, r.checkpoint)
		r.table.learn(c.known)
		r.claims[k.Token] = c
	}
	return driver.Verdict{Applied: true}
}

// forgetClaims forgets the claims whose leases had ended when the Checkpointed event
// at pos was written, also if that does not count: a replica that started too late
// to decide it must not remember more than others.
func (r *replica) forgetClaims(pos Position, e *Event) {
	now := e.Origin.Batch.Time.UnixMilli()
	for token, c := range r.claims {
		if c.until <= now {
			r.table.forget(c.known)
			delete(r.claims, token)
		}
	}
	r.forgot = pos + 1
}
