// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"crypto/rand"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// An event of the journal has two JSON documents. The data say what happened to
// the workflow, for people and projections. The metadata say how it came into the
// journal, for the state machine; format is the version of both, and what it does
// not know a driver leaves alone.

// format is the version of the form of the events.
const format = 1

// encoded is the form of an event between Size and Append.
type encoded struct {
	eventType string
	id        string // of the workflow, if it concerns one
	partial   bool
	data      []byte
}

// envelopeMost is the size of the largest envelope without the id of the workflow.
const envelopeMost = 320

// size returns the most that a server counts the event with.
func (enc *encoded) size() int {
	var scratch [driver.MaxIDBytes + 2]byte
	return len(enc.data) + 2*len(enc.eventType) + envelopeMost + len(appendText(scratch[:0], enc.id))
}

// encode makes the data of an event.
func encode(e *journal.Event) (*encoded, error) {
	enc := &encoded{}
	var rec driver.Record
	switch {
	case e.Kind.HasRecord():
		var err error
		if rec, err = driver.DecodeRecord(e.Data); err != nil {
			return nil, err
		}
		// What never changes stands in the first revision; of the base of a commit it is
		// known that it is there.
		enc.partial = rec.Revision > 1 && (e.Kind == journal.Committed || e.Kind == journal.Claimed)
		enc.id = rec.ID
		w := writer{make([]byte, 0, len(e.Data)+320)} // enough for the keys; base64 takes more
		w.record(&rec, enc.partial)
		enc.data = w.b
	case e.Kind == journal.Expired:
		enc.id = string(e.Data)
		w := writer{append(make([]byte, 0, len(e.Data)+16), '{')}
		w.text("id", enc.id)
		w.b = append(w.b, '}')
		enc.data = w.b
	case len(e.Data) == 0:
		enc.data = []byte("{}")
	default:
		enc.data = e.Data
	}
	enc.eventType = typeOf(e, &rec)
	return enc, nil
}

// record writes a record; partial leaves out what never changes, except the id.
func (w *writer) record(r *driver.Record, partial bool) {
	w.b = append(w.b, '{')
	w.text("id", r.ID)
	if !partial {
		w.text("kind", r.Kind)
	}
	w.number("revision", r.Revision)
	w.text("status", r.Status.String())
	w.number("epoch", r.Epoch)
	w.token("token", r.Token)
	w.text("step", r.Step)
	w.number("attempt", uint64(r.Attempt))
	w.time("due", r.Due)
	if r.Lease != (driver.Lease{}) {
		w.key("lease")
		w.b = append(w.b, '{')
		w.text("owner", r.Lease.Owner)
		w.token("token", r.Lease.Token)
		w.b = append(w.b, '}')
	}
	w.text("failure", r.Failure)
	w.time("updated", r.Updated)
	w.time("expires", r.Expires)
	if !partial {
		w.time("created", r.Created)
		w.labels(r.Labels)
		w.bytes("input", r.Input)
	}
	w.bytes("state", r.State)
	w.bytes("output", r.Output)
	w.b = append(w.b, '}')
}

func (w *writer) labels(labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	w.key("labels")
	w.b = append(w.b, '{')
	for i, k := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(appendText(w.b, k), ':')
		w.b = appendText(w.b, labels[k])
	}
	w.b = append(w.b, '}')
}

// envelopeOf makes the metadata of an event that is about to be appended.
func envelopeOf(e *journal.Event, enc *encoded) []byte {
	w := writer{append(make([]byte, 0, 288), '{')}
	w.text("$correlationId", enc.id)
	w.number("format", format)
	w.text("event", e.Kind.String())
	w.token("batch", e.Origin.Batch.ID)
	w.number("index", uint64(e.Index))
	w.time("time", e.Origin.Batch.Time)
	w.number("after", uint64(e.Origin.After))
	w.number("epoch", e.Origin.Epoch)
	w.token("base", e.Base)
	if enc.partial {
		w.key("partial")
		w.b = append(w.b, "true"...)
	}
	return append(w.b, '}')
}

// volume is what appends bring, in bytes of data and metadata.
type volume struct {
	transitions int // how many
	own         int // bytes of the transitions
	others      int // bytes of all else, such as compaction
}

// messages makes what an append sends, and returns how much it is. Each call gives
// the events other ids: EventStoreDB takes an id that it knows for a repeat, refuses
// a mix of known and new ones, or never answers.
func messages(events []journal.Event) ([]frame, volume, error) {
	ids := newIDs(len(events))
	frames := make([]frame, len(events))
	var v volume
	for i := range events {
		e := &events[i]
		enc, ok := e.Encoded.(*encoded)
		if !ok {
			var err error
			if enc, err = encode(e); err != nil {
				return nil, v, err
			}
		}
		envelope := envelopeOf(e, enc)
		size := len(enc.data) + len(envelope)
		switch e.Kind {
		case journal.Committed, journal.Claimed, journal.Merged:
			v.transitions, v.own = v.transitions+1, v.own+size
		default:
			v.others += size
		}
		frames[i] = proposed(ids[i], enc.eventType, envelope, enc.data)
	}
	return frames, v, nil
}

// newIDs returns random UUIDs, version 4.
func newIDs(n int) []uuid.UUID {
	random := make([]byte, 16*n)
	_, _ = rand.Read(random) // never fails
	ids := make([]uuid.UUID, n)
	for i := range ids {
		copy(ids[i][:], random[16*i:])
		ids[i][6] = ids[i][6]&0x0f | 0x40
		ids[i][8] = ids[i][8]&0x3f | 0x80
	}
	return ids
}
