// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// Match tells whether a filter lets an event through. It must not keep its arguments. A nil Match lets all through.
type Match func(stream, eventType []byte) bool

// AllQuery asks for a part of the log.
type AllQuery struct {
	From     uint64 // forward: of the first record; backward: records before it
	Backward bool
	Exact    bool // From must be where a record starts; otherwise a forward read starts with the first one after it
	Match    Match
	Events   int // at most so many events are returned, at least 1
	Consider int // at most so many are looked at, matching or not, at least 1
}

// AllPage is a part of the log.
type AllPage struct {
	Events     []Event
	First      uint64 // where the page begins: at a record, or at 0, the start of the log
	Last       uint64 // position of the last event considered
	Considered int
	Next       uint64 // where the next page starts
	End        bool   // the page reached the end of the log, or its start
}

// ReadAll reads events of all streams in the order of the log, also those that are no longer visible in their
// stream. Where a position must be exact and no record starts there, the error is ErrPosition; 0 is the start of the
// log, and a forward read may start beyond its end.
func (v View) ReadAll(q AllQuery) (AllPage, error) {
	p := AllPage{First: q.From, Next: q.From}
	err := v.view(func(s *snapshot) error {
		c := s.log.Cursor()
		k, record, err := start(c, q)
		step := c.Next
		if q.Backward {
			step = c.Prev
		}
		if k != nil && q.From != 0 {
			p.First = binary.BigEndian.Uint64(k)
		}
		for ; err == nil && s.sees(k) && len(p.Events) < q.Events && p.Considered < q.Consider; k, record = step() {
			err = p.consider(q, k, record)
		}
		p.End = !s.sees(k)
		return err
	})
	return p, err
}

// sees tells whether a record stands at a position and belongs to the view.
func (s *snapshot) sees(k []byte) bool {
	return k != nil && (s.before == 0 || binary.BigEndian.Uint64(k) < s.before)
}

// start puts the cursor on the first record to look at.
func start(c *bbolt.Cursor, q AllQuery) (k, v []byte, err error) {
	k, v = c.Seek(key(q.From))
	found := k != nil && binary.BigEndian.Uint64(k) == q.From
	if q.Exact && q.From != 0 && !found {
		if last := end(c); q.From < last || q.Backward && q.From > last {
			return nil, nil, ErrPosition
		}
		k, v = nil, nil // the search for the end has moved the cursor
	}
	if !q.Backward {
		return k, v, nil
	}
	if q.From == 0 {
		return nil, nil, nil
	}
	if !found {
		k, v = c.Last()
		return k, v, nil
	}
	k, v = c.Prev()
	return k, v, nil
}

// end is the position after the last record.
func end(c *bbolt.Cursor) uint64 {
	k, v := c.Last()
	if k == nil {
		return firstPosition
	}
	return nextPosition(k, v)
}

func (p *AllPage) consider(q AllQuery, k, v []byte) error {
	at := binary.BigEndian.Uint64(k)
	p.Next = at
	if !q.Backward {
		p.Next = nextPosition(k, v)
	}
	if v[0] == kindEmpty {
		return nil
	}
	p.Last = at
	p.Considered++
	if q.Match != nil {
		stream, eventType, _, err := decodeNames(at, v)
		if err != nil || !q.Match(stream, eventType) {
			return err
		}
	}
	e, err := decodeEvent(at, v)
	p.Events = append(p.Events, e)
	return err
}

// End is the position after the last record: where the next one will stand.
func (v View) End() (uint64, error) {
	var at uint64
	err := v.view(func(s *snapshot) error {
		if at = end(s.log.Cursor()); s.before != 0 {
			at = min(at, s.before)
		}
		return nil
	})
	return at, err
}

// CheckPosition tells whether a forward read may start after a position: a record starts there, or it is 0, or it
// lies beyond the end of the log. Otherwise the error is ErrPosition.
func (v View) CheckPosition(position uint64) error {
	return v.view(func(s *snapshot) error {
		_, _, err := start(s.log.Cursor(), AllQuery{From: position, Exact: true})
		return err
	})
}
