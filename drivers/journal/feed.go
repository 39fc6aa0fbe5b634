// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// feed is the ring of the last changes. It is guarded by the machine's lock.
type feed struct {
	limit   int // changes kept
	from    Position
	changes []changeAt // a ring once it has limit entries
	oldest  int
}

type changeAt struct {
	at     Position
	change driver.Change
}

// reset makes the feed reach back to from only.
func (f *feed) reset(from Position) { *f = feed{limit: f.limit, from: from} }

// add notes that the event at pos stored r.
func (f *feed) add(pos Position, r *driver.Record) {
	c := changeAt{pos, driver.Change{
		// The strings of r share the memory of the whole record.
		ID: strings.Clone(r.ID), Kind: strings.Clone(r.Kind),
		Revision: r.Revision, Epoch: r.Epoch, Status: r.Status, Due: r.Due,
	}}
	if len(f.changes) < f.limit {
		f.changes = append(f.changes, c)
		return
	}
	f.from = f.changes[f.oldest].at + 1
	f.changes[f.oldest] = c
	f.oldest = (f.oldest + 1) % f.limit
}

// since returns up to limit changes at from and later, in their order, and whether
// the feed reaches back that far.
func (f *feed) since(from Position, limit int) ([]changeAt, bool) {
	if from < f.from {
		return nil, false
	}
	n := len(f.changes)
	i := sort.Search(n, func(i int) bool { return f.changes[(f.oldest+i)%n].at >= from })
	found := make([]changeAt, 0, min(n-i, limit))
	for ; i < n && len(found) < limit; i++ {
		found = append(found, f.changes[(f.oldest+i)%n])
	}
	return found, true
}

// A cursor of the feed names the incarnation of the log and the position of the
// next change, so that it is good on every replica.
func formatCursor(incarnation uint64, next Position) string {
	return fmt.Sprintf("j1-%016x-%x", incarnation, uint64(next))
}

func parseCursor(cursor string) (incarnation uint64, next Position, err error) {
	var p uint64
	_, err = fmt.Sscanf(cursor, "j1-%016x-%x", &incarnation, &p)
	if err != nil || formatCursor(incarnation, Position(p)) != cursor {
		return 0, 0, &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf("cursor %.40q is not one of this store's", cursor)}
	}
	return incarnation, Position(p), nil
}

// batch makes what the feed tells from a position on: the changes, the cursor
// after them, and whether there are more.
func (m *Machine) batch(from Position, records bool) (driver.ChangeBatch, Position, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r := m.replica
	found, reached := r.feed.since(from, driver.MaxBatch)
	if !reached {
		return driver.ChangeBatch{}, 0, &driver.Error{Class: driver.CursorLost,
			Detail: fmt.Sprintf("the feed reaches back to %d, the cursor to %d: begin anew with a list", r.feed.from, from)}
	}
	b := driver.ChangeBatch{Receipt: m.receipt(), Changes: make([]driver.Change, 0, len(found))}
	next, size := r.next, 0
	if len(found) == driver.MaxBatch {
		next = found[len(found)-1].at + 1
	}
	for _, c := range found {
		if records {
			slot, stored := r.table.get(c.change.ID)
			if slot == noSlot {
				continue
			}
			if size += driver.EncodedSize(&stored); size > driver.MaxBatchBytes && len(b.Changes) > 0 {
				next = c.at
				break
			}
			own := owned(r.table.at(slot).data)
			c.change.Record = &own
		}
		b.Changes = append(b.Changes, c.change)
	}
	b.Changes = slices.Clip(b.Changes)
	b.Cursor = formatCursor(r.incarnation, next)
	return b, next, nil
}
