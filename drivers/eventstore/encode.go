// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

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
		w := writer{make([]byte, 0, len(e.Data)+len(e.Data)/2+256)}
		w.record(&rec, enc.partial)
		enc.data = w.b
	case e.Kind == journal.Expired:
		enc.id = string(e.Data)
		w := writer{append(make([]byte, 0, len(e.Data)+16), '{')}
		w.text("id", enc.id)
		enc.data = append(w.b, '}')
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

// messages makes what an append sends, and returns the bytes of data and metadata.
// Each call gives the events other ids: EventStoreDB takes an id that it knows for
// a repeat, refuses a mix of known and new ones, or never answers.
func messages(events []journal.Event) ([]*streams.AppendReq, int, error) {
	ids := make([]byte, 16*len(events))
	_, _ = rand.Read(ids) // never fails
	requests := make([]*streams.AppendReq, len(events))
	types := map[string]map[string]string{}
	size := 0
	for i := range events {
		e := &events[i]
		enc, ok := e.Encoded.(*encoded)
		if !ok {
			var err error
			if enc, err = encode(e); err != nil {
				return nil, 0, err
			}
		}
		if types[enc.eventType] == nil {
			types[enc.eventType] = map[string]string{"type": enc.eventType, "content-type": "application/json"}
		}
		m := &streams.AppendReq_ProposedMessage{
			Id: eventID(ids[16*i:]), Metadata: types[enc.eventType], CustomMetadata: envelopeOf(e, enc), Data: enc.data,
		}
		size += len(m.Data) + len(m.CustomMetadata)
		requests[i] = &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: m}}
	}
	return requests, size, nil
}

// eventID makes a random UUID, version 4, of 16 random bytes.
func eventID(b []byte) *shared.UUID {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(b)),     //nolint:gosec // the same bits
		LeastSignificantBits: int64(binary.BigEndian.Uint64(b[8:])), //nolint:gosec // the same bits
	}}}
}
