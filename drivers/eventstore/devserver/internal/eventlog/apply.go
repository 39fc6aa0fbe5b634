// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// append does one append within the transaction.
func (w *writeTx) append(name string, expected int64, events []Proposed) (Result, error) {
	st, err := w.stream(name)
	if err != nil {
		return Result{}, err
	}
	ids := make([]uuid.UUID, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	known, err := w.check(&st, expected, ids)
	if err != nil {
		return Result{}, err
	}
	if known != nil {
		return w.repeated(&st, known), nil
	}
	revivesOriginal, err := w.holdsMetadataOfDeleted(name)
	if err != nil {
		return Result{}, err
	}
	res := Result{Revision: st.last + int64(len(events)), HasPosition: true}
	if len(events) == 0 {
		res.Position, err = w.putEmpty()
	} else {
		res.Position, err = w.write(name, st.last+1, events)
	}
	if err == nil && st.softDeleted() {
		err = w.revive(name, st.last+1)
	}
	if err == nil && revivesOriginal {
		err = w.reviveOriginal(name)
	}
	return res, err
}

// write stores events under consecutive revisions, returns the position of the last one, and remembers the ids.
func (w *writeTx) write(name string, first int64, events []Proposed) (uint64, error) {
	h, err := w.change(name)
	if err != nil {
		return 0, err
	}
	var position uint64
	for i := range events {
		p := &events[i]
		e := Event{Stream: name, Revision: first + int64(i), ID: p.ID, Type: p.Type, JSON: p.JSON, Data: p.Data, Custom: p.Custom}
		if position, err = w.put(h.number, &e); err != nil {
			return 0, err
		}
	}
	h.last = first + int64(len(events)) - 1
	w.remember(h.number, first, events)
	return position, w.noteMetadata(name, position)
}

// noteMetadata tells a stream where its metadata stand now, if name is its metadata stream.
func (w *writeTx) noteMetadata(name string, position uint64) error {
	if !IsMetadataStream(name) {
		return nil
	}
	original, err := w.change(OriginalStream(name))
	if err == nil {
		original.metadata = position
	}
	return err
}

// change returns the head of a stream for changing, and makes one for a new stream.
func (w *writeTx) change(name string) (*head, error) {
	h, err := w.head(name)
	if err != nil {
		return nil, err
	}
	if h == nil {
		w.streams++
		h = &head{number: w.streams, last: NoStream}
		w.cached[name] = h
	}
	w.dirty[name] = true
	return h, nil
}

// put adds an event to the log and to the index.
func (w *writeTx) put(number uint64, e *Event) (uint64, error) {
	w.created = max(w.created, ticks(time.Now()))
	e.Created = w.created
	at := w.next
	k := key(at)
	if err := w.putRecord(k, encodeEvent(e)); err != nil {
		return 0, err
	}
	return at, w.index.Put(indexKey(number, e.Revision), k)
}

// putEmpty marks the place of an append without events, which has a position like any other.
func (w *writeTx) putEmpty() (uint64, error) {
	at := w.next
	return at, w.putRecord(key(at), []byte{kindEmpty, 0})
}

func (w *writeTx) putRecord(k, record []byte) error {
	if err := w.log.Put(k, record); err != nil {
		return fmt.Errorf("record at position %d: %w", w.next, err)
	}
	w.next = nextPosition(k, record)
	return nil
}

// nextPosition is that of the record after one: positions count bytes, so that most numbers are no position.
func nextPosition(k, record []byte) uint64 {
	return binary.BigEndian.Uint64(k) + uint64(len(record))
}

// softDelete writes metadata that hide everything, in place of those there were.
func (w *writeTx) softDelete(name string, expected int64) (Result, error) {
	st, err := w.stream(name)
	if err != nil {
		return Result{}, err
	}
	if _, err := w.check(&st, expected, []uuid.UUID{uuid.New()}); err != nil {
		return Result{}, err
	}
	if st.last < 0 && !st.hasMetadata {
		return Result{}, wrongVersion(&st, expected)
	}
	position, err := w.writeMetadata(name, fmt.Appendf(nil, `{"$tb":%d}`, DeletedRevision))
	return Result{Revision: st.last, Position: position, HasPosition: true}, err
}

// tombstone writes the event after which nothing can be done with the stream and its metadata.
func (w *writeTx) tombstone(name string, expected int64) (Result, error) {
	st, err := w.stream(name)
	if err != nil {
		return Result{}, err
	}
	if _, err := w.check(&st, expected, []uuid.UUID{uuid.New()}); err != nil {
		return Result{}, err
	}
	h, err := w.change(name)
	if err != nil {
		return Result{}, err
	}
	e := Event{Stream: name, Revision: DeletedRevision, ID: uuid.New(), Type: TypeStreamDeleted}
	if h.tombstone, err = w.put(h.number, &e); err != nil {
		return Result{}, err
	}
	return Result{Revision: DeletedRevision, Position: h.tombstone, HasPosition: true}, w.noteMetadata(name, h.tombstone)
}

// writeMetadata appends a metadata event to the metadata stream of a stream.
func (w *writeTx) writeMetadata(name string, doc []byte) (uint64, error) {
	metadata, err := w.stream(MetadataStream(name))
	if err != nil {
		return 0, err
	}
	return w.write(metadata.name, metadata.last+1, []Proposed{{ID: uuid.New(), Type: TypeMetadata, JSON: true, Data: doc}})
}

// revive ends a soft deletion: the stream's events from first on become visible.
func (w *writeTx) revive(name string, first int64) error {
	h, err := w.head(name)
	if err != nil {
		return err
	}
	e, ok := w.metadataEvent(h)
	if !ok {
		return nil
	}
	doc, ok := withTruncateBefore(e.Data, first)
	if !ok {
		return nil
	}
	_, err = w.writeMetadata(name, doc)
	return err
}

func (w *writeTx) holdsMetadataOfDeleted(name string) (bool, error) {
	if !IsMetadataStream(name) {
		return false, nil
	}
	original, err := w.stream(OriginalStream(name))
	return original.softDeleted(), err
}

// reviveOriginal ends the soft deletion of a stream whose metadata were written.
func (w *writeTx) reviveOriginal(metadataStream string) error {
	original, err := w.stream(OriginalStream(metadataStream))
	if err != nil {
		return err
	}
	return w.revive(original.name, original.last+1)
}
