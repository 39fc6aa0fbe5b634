// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"hash/maphash"
	"slices"

	"github.com/understudy-dev/understudy/driver"
)

// table holds the records. Each lies in a slot of its own for as long as it
// lives. The table is guarded by the machine's lock.
type table struct {
	seed  maphash.Seed
	index map[uint64]uint32 // hash of the id to the first slot of its chain
	pages [][]entry
	used  uint32 // slots ever used
	free  []uint32
	live  int

	kinds  map[string]uint32
	names  []string
	due    []*queue // by kind: claimable times
	expiry *queue
	held   map[driver.Token][]uint32 // by claim: the records as that claim left them
	known  map[Position]int          // how many records and claims are known from each position
}

// entry is a slot of the table.
type entry struct {
	data   []byte   // encoding of the record; nil: the slot is free
	known  Position // replicas that start here or before come to know the record
	touch  Position // all events that named the record stand before
	next   uint32   // the next slot with the same hash
	index  int32    // place in its queue; -1: none
	kind   uint32
	status driver.Status
	// reserved: a claim of this machine is under way.
	reserved bool
}

const (
	pageBits = 12
	pageSize = 1 << pageBits
	noSlot   = ^uint32(0)
)

func newTable() *table {
	t := &table{
		seed:  maphash.MakeSeed(),
		index: map[uint64]uint32{},
		kinds: map[string]uint32{},
		held:  map[driver.Token][]uint32{},
		known: map[Position]int{},
	}
	t.expiry = &queue{table: t}
	return t
}

func (t *table) at(slot uint32) *entry { return &t.pages[slot>>pageBits][slot&(pageSize-1)] }

// get returns the slot and the record with the given id, which shares the table's
// memory; noSlot if there is none.
func (t *table) get(id string) (uint32, driver.Record) {
	slot, ok := t.index[maphash.String(t.seed, id)]
	for ok && slot != noSlot {
		e := t.at(slot)
		if r := decoded(e.data); r.ID == id {
			return slot, r
		}
		slot = e.next
	}
	return noSlot, driver.Record{}
}

// insert takes a slot for r, whose encoding is data and whose id is not there.
func (t *table) insert(r *driver.Record, data []byte, known, touch Position) {
	var slot uint32
	if last := len(t.free) - 1; last >= 0 {
		slot = t.free[last]
		t.free = t.free[:last]
	} else {
		slot = t.used
		t.used++
		if slot>>pageBits == uint32(len(t.pages)) {
			t.pages = append(t.pages, make([]entry, pageSize))
		}
	}
	hash := maphash.String(t.seed, r.ID)
	next, ok := t.index[hash]
	if !ok {
		next = noSlot
	}
	t.index[hash] = slot
	*t.at(slot) = entry{known: known, touch: touch, next: next, index: -1, kind: t.kindOf(r.Kind)}
	t.learn(known)
	t.live++
	t.set(slot, r, data)
}

// replace puts r, whose encoding is data, where old was.
func (t *table) replace(slot uint32, old, r *driver.Record, data []byte) {
	t.letGo(slot, old)
	e := t.at(slot)
	if kind := t.kindOf(r.Kind); kind != e.kind { // a merge may bring another workflow of this id
		t.schedule(slot, e, &driver.Record{})
		e.kind = kind
	}
	t.set(slot, r, data)
}

// set fills a slot and its places in the queues.
func (t *table) set(slot uint32, r *driver.Record, data []byte) {
	e := t.at(slot)
	e.data, e.status = data, r.Status
	if claimed(r) {
		t.held[r.Lease.Token] = append(t.held[r.Lease.Token], slot)
	}
	t.schedule(slot, e, r)
}

// schedule puts an entry into the queue where r belongs.
func (t *table) schedule(slot uint32, e *entry, r *driver.Record) {
	// A record moves between the queues when it ends or is requeued.
	kind := t.due[e.kind]
	var queue *queue
	var at int64
	switch {
	case !r.Due.IsZero():
		queue, at = kind, r.Due.UnixMilli()
	case !r.Expires.IsZero():
		queue, at = t.expiry, r.Expires.UnixMilli()
	}
	if e.index >= 0 {
		present := t.expiry
		if !t.inQueue(present, slot, e.index) {
			present = kind
		}
		if present == queue {
			queue.move(e.index, at)
			return
		}
		present.remove(e.index)
	}
	if queue != nil {
		queue.add(slot, at)
	}
}

func (t *table) inQueue(q *queue, slot uint32, index int32) bool {
	return int(index) < len(q.items) && q.items[index].slot == slot
}

// remove frees a slot.
func (t *table) remove(slot uint32, old *driver.Record) {
	t.letGo(slot, old)
	e := t.at(slot)
	t.schedule(slot, e, &driver.Record{})
	t.forget(e.known)
	hash := maphash.String(t.seed, old.ID)
	if first := t.index[hash]; first == slot && e.next == noSlot {
		delete(t.index, hash)
	} else if first == slot {
		t.index[hash] = e.next
	} else {
		before := t.at(first)
		for before.next != slot {
			before = t.at(before.next)
		}
		before.next = e.next
	}
	*e = entry{index: -1}
	t.free = append(t.free, slot)
	t.live--
}

// letGo takes a slot out of the records that a claim holds.
func (t *table) letGo(slot uint32, old *driver.Record) {
	if !claimed(old) {
		return
	}
	slots := t.held[old.Lease.Token]
	if i := slices.Index(slots, slot); i >= 0 {
		slots = slices.Delete(slots, i, i+1)
	}
	if len(slots) == 0 {
		delete(t.held, old.Lease.Token)
	} else {
		t.held[old.Lease.Token] = slots
	}
}

// setKnown sets from where an entry is known.
func (t *table) setKnown(e *entry, known Position) {
	if e.known != known {
		t.forget(e.known)
		e.known = known
		t.learn(known)
	}
}

func (t *table) learn(known Position) { t.known[known]++ }

func (t *table) forget(known Position) {
	if t.known[known]--; t.known[known] == 0 {
		delete(t.known, known)
	}
}

func (t *table) kindOf(name string) uint32 {
	k, ok := t.kinds[name]
	if !ok {
		k = uint32(len(t.names))
		name = string([]byte(name)) // the caller's memory holds a whole record
		t.kinds[name] = k
		t.names = append(t.names, name)
		t.due = append(t.due, &queue{table: t})
	}
	return k
}

// claimed reports whether r is as a claim left it.
func claimed(r *driver.Record) bool {
	return r.Status == driver.Leased && r.Lease.Token == r.Token
}

// decoded returns the record of an encoding that this package has checked before;
// it shares the memory of data.
func decoded(data []byte) driver.Record {
	r, err := driver.DecodeRecord(data)
	if err != nil {
		panic("journal: the table holds bytes that are no record: " + err.Error()) //nolint:forbidigo // memory is corrupt
	}
	return r
}

// owned returns the record of an encoding, in memory of its own.
func owned(data []byte) driver.Record { return decoded(slices.Clone(data)) }
