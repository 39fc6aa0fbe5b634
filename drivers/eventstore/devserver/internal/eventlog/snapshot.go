// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// View reads a log: all of it, or the events before a position, with the metadata that hold by now. Its methods may be
// called by any number of goroutines.
type View struct {
	db     *bbolt.DB
	before uint64 // 0: all
}

// Before is the view of who has not heard of what stands from a position on.
func (v View) Before(position uint64) View { return View{db: v.db, before: position} }

// snapshot is what one transaction sees.
type snapshot struct {
	log, index, heads *bbolt.Bucket
	before            uint64           // as in View
	cached            map[string]*head // of a writing transaction: heads read or changed in it
}

func newSnapshot(tx *bbolt.Tx) snapshot {
	return snapshot{log: tx.Bucket(bucketLog), index: tx.Bucket(bucketIndex), heads: tx.Bucket(bucketStreams)}
}

// view runs f on what is committed now. f must not keep anything of the snapshot, and must not block.
func (v View) view(f func(*snapshot) error) error {
	return v.db.View(func(tx *bbolt.Tx) error {
		s := newSnapshot(tx)
		s.before = v.before
		return f(&s)
	})
}

// head returns the state of a stream, nil if nothing is known of it.
func (s *snapshot) head(name string) (*head, error) {
	if h, ok := s.cached[name]; ok {
		return h, nil
	}
	b := s.heads.Get([]byte(name))
	if b == nil {
		return nil, nil
	}
	h, err := decodeHead(b)
	if err != nil {
		return nil, fmt.Errorf("stream %q: %w", name, err)
	}
	if s.cached != nil {
		s.cached[name] = &h
	}
	return &h, nil
}

// stream is the state of a stream as the rules see it.
type stream struct {
	name        string
	number      uint64
	last        int64 // NoStream if there is no event
	tombstoned  bool
	hasMetadata bool
	ownDeletion uint64 // position of the stream's own $streamDeleted event
	meta        Metadata
}

// softDeleted tells whether the stream was deleted and not written since.
func (s *stream) softDeleted() bool { return s.meta.softDeleted() }

var metadataOfMetadata = func() Metadata { one := int64(1); return Metadata{MaxCount: &one} }()

// stream looks a stream up. A metadata stream shares the tombstone of its stream and keeps one event.
func (s *snapshot) stream(name string) (stream, error) {
	st := stream{name: name, last: NoStream}
	h, err := s.head(name)
	if err != nil {
		return st, err
	}
	if h != nil {
		st.number, st.last = h.number, h.last
		st.ownDeletion = h.tombstone
		st.tombstoned = h.tombstone != 0
		st.hasMetadata = h.metadata != 0
		st.meta = s.metadata(h)
	}
	if IsMetadataStream(name) {
		st.meta = metadataOfMetadata
		original, err := s.head(OriginalStream(name))
		if err != nil {
			return st, err
		}
		st.tombstoned = st.tombstoned || original != nil && original.tombstone != 0
	}
	if s.before != 0 {
		st.last = s.lastBefore(&st)
	}
	return st, nil
}

// lastBefore finds the last revision of a stream that stands before the end of the view, by halving.
func (s *snapshot) lastBefore(st *stream) int64 {
	low, high := NoStream, st.last
	for low < high {
		mid := low + (high-low+1)/2
		if position, _ := s.record(st.number, mid); position >= s.before {
			high = mid - 1
		} else {
			low = mid
		}
	}
	return low
}

// metadata reads the metadata that hold for a stream. What cannot be understood counts as none.
func (s *snapshot) metadata(h *head) Metadata {
	e, ok := s.metadataEvent(h)
	if !ok || !e.JSON {
		return Metadata{}
	}
	m, err := ParseMetadata(e.Data)
	if err != nil {
		return Metadata{}
	}
	return m
}

func (s *snapshot) metadataEvent(h *head) (Event, bool) {
	if h == nil || h.metadata == 0 {
		return Event{}, false
	}
	e, err := decodeEvent(h.metadata, s.log.Get(key(h.metadata)))
	return e, err == nil
}

// record returns the raw record of an event, nil if there is none.
func (s *snapshot) record(number uint64, revision int64) (uint64, []byte) {
	b := s.index.Get(indexKey(number, revision))
	if b == nil {
		return 0, nil
	}
	position := binary.BigEndian.Uint64(b)
	return position, s.log.Get(b)
}

// events reads the events from first to last, both included, in that order; first may be the greater.
func (s *snapshot) events(number uint64, first, last int64) ([]Event, error) {
	if number == 0 {
		return nil, nil
	}
	step, move := int64(1), (*bbolt.Cursor).Next
	if first > last {
		step, move = -1, (*bbolt.Cursor).Prev
	}
	index, log := s.index.Cursor(), s.log.Cursor()
	var out []Event
	var at []byte // position under the log cursor
	k, v := index.Seek(indexKey(number, first))
	for r := first; bytes.Equal(k, indexKey(number, r)); r += step {
		var record []byte
		if at != nil { // events of one stream often stand side by side
			at, record = move(log)
		}
		if !bytes.Equal(at, v) {
			at, record = log.Seek(v)
		}
		e, err := decodeEvent(binary.BigEndian.Uint64(v), record)
		if err != nil || !bytes.Equal(at, v) {
			return nil, fmt.Errorf("event %d of a stream at position %x: %w", r, v, errCorrupt)
		}
		out = append(out, e)
		if r == last {
			break
		}
		k, v = move(index)
	}
	return out, nil
}

// lowerBound is the first revision that the metadata leave visible at a time; it may lie beyond the last event.
func (s *snapshot) lowerBound(st *stream, now time.Time) int64 {
	lower := int64(0)
	if c := st.meta.MaxCount; c != nil {
		lower = max(lower, st.last-*c+1)
	}
	if tb := st.meta.TruncateBefore; tb != nil {
		lower = max(lower, *tb)
	}
	if age := st.meta.MaxAge; age != nil && lower <= st.last {
		lower = s.firstSince(st, lower, ticks(now.Add(-*age)))
	}
	return lower
}

// firstSince finds the first revision from low on that was written at or after a time, by halving: the times of a
// stream never fall.
func (s *snapshot) firstSince(st *stream, low, since int64) int64 {
	high := st.last + 1
	for low < high {
		mid := low + (high-low)/2
		if _, b := s.record(st.number, mid); b != nil && created(b) < since {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
