// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"strconv"
	"strings"
	"time"
)

// Page is a part of a stream. An empty page is not always the last one: the next may start at the lower bound.
type Page struct {
	Missing bool // the stream does not exist, or is soft-deleted
	Events  []Event
	Next    int64 // where the next page starts; -1 after a backward read
	End     bool  // there is no next page
	Last    int64 // revision of the stream's last event
}

// LastEvent is where a backward read starts that begins with the last event of the stream.
const LastEvent int64 = -1

// ReadForward reads at most count events of a stream from a revision on. A tombstoned stream is a *DeletedError.
func (v View) ReadForward(name string, from int64, count int) (Page, error) {
	var p Page
	err := v.view(func(s *snapshot) error {
		st, err := s.readable(name, &p)
		if err != nil || p.Missing {
			return err
		}
		last := from + int64(count) - 1
		if last < from {
			last = DeletedRevision
		}
		lower := s.lowerBound(&st, time.Now())
		if last < lower {
			p.Next = lower
			return nil
		}
		if first, until := max(from, lower), min(last, st.last); first <= until {
			if p.Events, err = s.events(st.number, first, until); err != nil {
				return err
			}
		}
		p.Next, p.End = st.last+1, last >= st.last
		if last < st.last {
			p.Next = last + 1
		}
		return nil
	})
	return p, err
}

// ReadBackward reads at most count events of a stream from a revision, or from LastEvent, towards its start. A
// tombstoned stream is a *DeletedError.
func (v View) ReadBackward(name string, from int64, count int) (Page, error) {
	var p Page
	err := v.view(func(s *snapshot) error {
		st, err := s.readable(name, &p)
		if err != nil || p.Missing {
			return err
		}
		if from == LastEvent {
			from = st.last
		}
		lower := s.lowerBound(&st, time.Now())
		first := max(from-int64(count)+1, lower)
		if until := min(from, st.last); first <= until {
			if p.Events, err = s.events(st.number, until, first); err != nil {
				return err
			}
		}
		p.Next, p.End = min(first-1, st.last), first <= lower
		return nil
	})
	return p, err
}

// readable fills in what every page of a stream says, and refuses a tombstoned one.
func (s *snapshot) readable(name string, p *Page) (stream, error) {
	st, err := s.stream(name)
	switch {
	case err != nil:
		return st, err
	case st.tombstoned:
		return st, &DeletedError{Stream: name}
	case st.last < 0 || st.softDeleted():
		p.Missing, p.Next, p.End = true, -1, true
	}
	p.Last = st.last
	return st, nil
}

// Live is what was appended to a stream, without regard to its metadata.
type Live struct {
	Events    []Event
	Last      int64  // revision of the last event, or NoStream
	Tombstone *Event // the $streamDeleted event, if the stream has one
}

// ReadLive reads at most count events of a stream from a revision on, visible or not: what a live subscription has
// to send was appended while it was live.
func (v View) ReadLive(name string, from int64, count int) (Live, error) {
	var live Live
	err := v.view(func(s *snapshot) error {
		st, err := s.stream(name)
		if err != nil {
			return err
		}
		live.Last = st.last
		if last := min(from+int64(count)-1, st.last); from <= last {
			if live.Events, err = s.events(st.number, from, last); err != nil {
				return err
			}
		}
		if st.ownDeletion != 0 {
			e, err := decodeEvent(st.ownDeletion, s.log.Get(key(st.ownDeletion)))
			live.Tombstone = &e
			return err
		}
		return nil
	})
	return live, err
}

// Metadata returns the metadata that hold for a stream.
func (v View) Metadata(name string) (Metadata, error) {
	var m Metadata
	err := v.view(func(s *snapshot) error {
		st, err := s.stream(name)
		m = st.meta
		return err
	})
	return m, err
}

// Resolved is the event that a link points to. Event is nil if there is none to be seen.
type Resolved struct {
	IsLink bool
	Event  *Event
}

// ResolveLinks finds the events that the links among events point to, in the same order. An event of type $> whose
// data do not begin with a number is no link. readable says whether the reader may see a stream.
func (v View) ResolveLinks(events []Event, readable func(stream string, acl *ACL) bool) ([]Resolved, error) {
	out := make([]Resolved, len(events))
	err := v.view(func(s *snapshot) error {
		for i := range events {
			number, name, ok := parseLink(&events[i])
			if !ok {
				continue
			}
			out[i].IsLink = true
			target, err := s.target(name, number, readable)
			if err != nil {
				return err
			}
			out[i].Event = target
		}
		return nil
	})
	return out, err
}

// parseLink reads number@stream. A number alone is a link to nowhere.
func parseLink(e *Event) (number int64, name string, ok bool) {
	if e.Type != TypeLink {
		return 0, "", false
	}
	first, name, _ := strings.Cut(string(e.Data), "@")
	number, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	return number, name, err == nil
}

// target returns the event that a link names, nil if it cannot be seen. LastEvent is the last one.
func (s *snapshot) target(name string, number int64, readable func(string, *ACL) bool) (*Event, error) {
	if name == "" {
		return nil, nil
	}
	st, err := s.stream(name)
	if err != nil {
		return nil, err
	}
	if number == LastEvent {
		number = st.last
	}
	if st.tombstoned || st.softDeleted() || number > st.last || number < s.lowerBound(&st, time.Now()) || !readable(name, st.meta.ACL) {
		return nil, nil
	}
	events, err := s.events(st.number, number, number)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return &events[0], nil
}
