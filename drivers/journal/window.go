// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// ghosts remembers, for the length of the window, the ids that events named while
// no record of them was there.
type ghosts struct {
	ids   map[string]ghost
	marks []mark // in the order of their positions
	head  int
}

// ghost tells up to where an id was named. Both positions are those after the
// event, so that zero means never.
type ghost struct{ touch, removed Position }

type mark struct {
	id string
	at Position
}

// touch notes that an event named id and ended before at.
func (g *ghosts) touch(id string, at Position, removed bool) {
	known, ok := g.ids[id]
	if !ok {
		id = strings.Clone(id) // the event's memory may hold a whole record
	}
	known.touch = at
	if removed {
		known.removed = at
	}
	g.ids[id] = known
	g.marks = append(g.marks, mark{id, at})
}

// prune forgets what lies further back than the window from the event at pos.
func (g *ghosts) prune(pos, window Position) {
	for g.head < len(g.marks) && g.marks[g.head].at+window < pos {
		m := g.marks[g.head]
		if g.ids[m.id].touch <= m.at {
			delete(g.ids, m.id)
		}
		g.marks[g.head] = mark{}
		g.head++
	}
	if g.head > 1024 && g.head*2 > len(g.marks) {
		g.marks = append([]mark(nil), g.marks[g.head:]...)
		g.head = 0
	}
}

// claim is the memory of a claim's token, by which a repeat is recognised.
type claim struct {
	until int64        // end of the leases in milliseconds since 1970
	touch Position     // all Claimed events with the token stand before
	batch driver.Token // of the last of them
	known Position     // as of an entry
}

// claimant decides whether a Claimed event may count as far as its token is
// concerned, and remembers the token. A replica that started after what the author
// knew may decide otherwise, so it does not come to know the record by that.
func (r *replica) claimant(pos Position, e *Event, rec *driver.Record, slot uint32) error {
	if r.stale(pos, e) {
		return errStale
	}
	if slot != noSlot {
		entry := r.table.at(slot)
		r.table.setKnown(entry, min(entry.known, e.Origin.After))
	}
	known := min(e.Origin.After, r.checkpoint)
	token := rec.Lease.Token
	c, ok := r.claims[token]
	admitted := !ok || c.touch <= e.Origin.After || c.batch == e.Origin.Batch.ID
	if ok {
		r.table.forget(c.known)
	} else {
		c.known = known
	}
	c.until = max(c.until, rec.Due.UnixMilli())
	c.touch, c.batch = pos+1, e.Origin.Batch.ID
	r.table.learn(c.known)
	r.claims[token] = c
	if !admitted {
		return errRepeated
	}
	return nil
}

// keepClaims applies a ClaimsKept event.
func (r *replica) keepClaims(e *Event, kept Claims) {
	known := min(e.Origin.After, r.checkpoint)
	for _, k := range kept.Claims {
		c, ok := r.claims[k.Token]
		if ok {
			r.table.forget(c.known)
		} else {
			c.until = k.Until
		}
		c.known = max(c.known, known)
		r.table.learn(c.known)
		r.claims[k.Token] = c
	}
}

// dropClaims forgets the claims whose leases had ended at now.
func (r *replica) dropClaims(now int64) {
	for token, c := range r.claims {
		if c.until <= now {
			r.table.forget(c.known)
			delete(r.claims, token)
		}
	}
}
