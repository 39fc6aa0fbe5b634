// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"

	"github.com/understudy-dev/understudy/driver"
)

// change applies a Committed, Claimed or Merged event.
func (r *replica) change(pos Position, e *Event) driver.Verdict {
	rec, err := driver.DecodeRecord(e.Data)
	if err != nil {
		return driver.Verdict{Err: err}
	}
	slot, stored := r.table.get(rec.ID)
	if slot != noSlot {
		r.table.at(slot).touch = pos + 1
	}
	store, err := r.admit(pos, e, &rec, slot, &stored)
	switch {
	case slot == noSlot && store:
		r.table.insert(&rec, e.Data, min(e.Origin.After, r.checkpoint), pos+1)
	case slot == noSlot:
		r.ghosts.touch(rec.ID, pos+1, false)
	case store:
		data := e.Data
		if e.Partial {
			data = complete(&rec, &stored)
		}
		r.table.replace(slot, &stored, &rec, data)
	}
	if store {
		r.feed.add(pos, &rec)
	}
	return driver.Verdict{Err: err, Applied: store}
}

// admit decides whether an event changes the table, which holds stored in slot or,
// where slot is noSlot, nothing with the id of rec.
func (r *replica) admit(pos Position, e *Event, rec *driver.Record, slot uint32, stored *driver.Record) (store bool, err error) {
	if slot == noSlot {
		stored = nil
	}
	var repeated error
	if e.Kind == Claimed { // its token is remembered in any case
		repeated = r.claimant(pos, e, rec)
	}
	if !r.ready {
		return false, errUndecided
	}
	if e.Kind == Merged {
		err = r.epoch.AdmitMerge(e.Origin.Epoch)
		if stored != nil {
			// Not if the stored record has its id from another that left since the author knew.
			r.doubt(pos, e, slot)
			err = cmp.Or(err, r.revived(pos, e, rec.ID))
		}
		store = err == nil && (stored == nil || driver.Compare(rec, stored) > 0)
	} else {
		err = r.epoch.Admit(e.Origin.Epoch)
		if e.Kind == Claimed && err == nil {
			r.doubt(pos, e, slot)
			err = repeated
		}
		if err == nil {
			t := driver.Transition{Base: e.Base, Record: *rec}
			store, err = t.Admit(stored)
		}
	}
	if !store || stored != nil {
		return store, err
	}
	if err = r.revived(pos, e, rec.ID); err == nil && !r.decidable(e) {
		err = errUndecided
	}
	return err == nil, err
}

// revived reports an event that may not count because its id may have been freed
// since the author knew: it may be an old one that stands twice.
func (r *replica) revived(pos Position, e *Event, id string) error {
	if r.stale(pos, e) || r.ghosts.expired(id) > e.Origin.After {
		return errStale
	}
	return nil
}

// doubt notes that an event on the record in slot is decided by what else stands
// between what its author knew and the event. A replica that started in between may
// decide otherwise, so it no longer knows the record.
func (r *replica) doubt(pos Position, e *Event, slot uint32) {
	if slot != noSlot && !r.stale(pos, e) {
		entry := r.table.at(slot)
		r.table.setKnown(entry, min(entry.known, e.Origin.After))
	}
}

// complete fills in what a partial event leaves out and returns the encoding.
func complete(rec, base *driver.Record) []byte {
	rec.Kind, rec.Input, rec.Labels, rec.Created = base.Kind, base.Input, base.Labels, base.Created
	data := driver.AppendRecord(make([]byte, 0, driver.EncodedSize(rec)), rec)
	*rec = decoded(data) // in one piece of memory, so that base can be freed
	return data
}

// repeat applies a Compacted event. It changes no record of a replica that knows
// what is stored; to one that started too late for that it brings the record.
func (r *replica) repeat(pos Position, e *Event) driver.Verdict {
	rec, err := driver.DecodeRecord(e.Data)
	switch {
	case err != nil:
		return driver.Verdict{Err: err}
	case r.stale(pos, e):
		return driver.Verdict{Err: errStale}
	case !r.ready || !r.decidable(e):
		return driver.Verdict{Err: errUndecided}
	}
	known := min(e.Origin.After, r.checkpoint)
	slot, stored := r.table.get(rec.ID)
	if slot == noSlot {
		if r.ghosts.touched(rec.ID) > e.Origin.After {
			return driver.Verdict{Err: errStale}
		}
		r.table.insert(&rec, e.Data, known, e.Origin.After)
		return driver.Verdict{Applied: true}
	}
	entry := r.table.at(slot)
	if entry.touch > e.Origin.After {
		return driver.Verdict{Err: errStale}
	}
	if driver.Compare(&rec, &stored) != 0 { // only while it is not certain what is stored
		r.table.replace(slot, &stored, &rec, e.Data)
	}
	r.table.setKnown(entry, max(entry.known, known))
	entry.touch = e.Origin.After
	return driver.Verdict{Applied: true}
}

// expire applies an Expired event.
func (r *replica) expire(pos Position, e *Event) driver.Verdict {
	id := string(e.Data)
	r.ghosts.touch(id, pos+1, true)
	slot, stored := r.table.get(id)
	if slot == noSlot {
		return driver.Verdict{}
	}
	entry := r.table.at(slot)
	touched := entry.touch > e.Origin.After
	entry.touch = pos + 1
	if touched || r.stale(pos, e) {
		return driver.Verdict{Err: errStale}
	}
	r.table.remove(slot, &stored)
	return driver.Verdict{Applied: true}
}
