// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// errForeign is the error of an event that this driver did not write.
var errForeign = errors.New("not an event of the journal")

// laterFormat is the error of an event that a later version of this driver wrote.
type laterFormat struct{ format uint64 }

func (l laterFormat) Error() string {
	return fmt.Sprintf("the journal holds events of format %d and this program knows format %d: use a later version of it", l.format, format)
}

// envelope is what the metadata of an event say.
type envelope struct {
	kind         journal.Kind
	batch, base  driver.Token
	time         time.Time
	after, epoch uint64
	index        uint64
	partial      bool
}

// decoder decodes events in the order of the journal. Events of one append share
// their origin.
type decoder struct {
	origin *journal.Origin
	kinds  map[string]journal.Kind
	states map[string]driver.Status
}

func newDecoder() *decoder {
	d := &decoder{kinds: map[string]journal.Kind{}, states: map[string]driver.Status{}}
	for k := journal.Created; k <= journal.Probed; k++ {
		d.kinds[k.String()] = k
	}
	for s := driver.Ready; s <= driver.Held; s++ {
		d.states[s.String()] = s
	}
	return d
}

// decode is the inverse of encode and envelopeOf. Errors are errForeign and
// laterFormat.
func (d *decoder) decode(r recorded) (journal.Event, error) {
	env, err := d.envelope(r.metadata)
	if err != nil {
		return journal.Event{}, err
	}
	e := journal.Event{Kind: env.kind, Partial: env.partial, Index: uint32(env.index), Base: env.base, Origin: d.originOf(&env)} //nolint:gosec // checked by envelope
	switch {
	case env.kind.HasRecord():
		e.Data, err = d.record(r.data)
	case env.kind == journal.Expired:
		e.Data, err = d.expired(r.data)
	default:
		e.Data = slices.Clone(r.data)
	}
	if err != nil {
		return journal.Event{}, fmt.Errorf("%w: data: %w", errForeign, err)
	}
	return e, nil
}

// foreign is what stands in for an event that this driver did not write: it takes
// up a position and means nothing.
func (d *decoder) foreign() journal.Event {
	d.origin = &journal.Origin{Batch: &journal.Batch{}}
	return journal.Event{Origin: d.origin}
}

func (d *decoder) envelope(b []byte) (envelope, error) {
	s := scanner{b: b}
	var env envelope
	var version uint64
	for key := s.next(true); key != nil; key = s.next(false) {
		switch string(key) {
		case "format":
			version = s.number()
		case "event":
			env.kind = d.kinds[string(s.text())]
		case "batch":
			env.batch = s.token()
		case "index":
			env.index = s.number()
		case "time":
			env.time = s.time()
		case "after":
			env.after = s.number()
		case "epoch":
			env.epoch = s.number()
		case "base":
			env.base = s.token()
		case "partial":
			env.partial = string(s.raw()) == "true"
		default:
			s.raw()
		}
	}
	err := s.end()
	switch {
	case err == nil && version > format:
		return env, laterFormat{version}
	case err != nil:
		return env, fmt.Errorf("%w: metadata: %w", errForeign, err)
	case version == 0 || env.kind == 0 || env.batch.IsZero() || env.index > 1<<31:
		return env, errForeign
	}
	return env, nil
}

func (d *decoder) originOf(env *envelope) *journal.Origin {
	o := d.origin
	if o != nil && o.Batch.ID == env.batch && uint64(o.After) == env.after && o.Epoch == env.epoch {
		return o
	}
	d.origin = &journal.Origin{After: journal.Position(env.after), Epoch: env.epoch}
	if o != nil && o.Batch.ID == env.batch {
		d.origin.Batch = o.Batch
	} else {
		d.origin.Batch = &journal.Batch{ID: env.batch, Time: env.time}
	}
	return d.origin
}

// record returns the encoding of a record that stands in JSON.
func (d *decoder) record(b []byte) ([]byte, error) {
	s := scanner{b: b}
	var r driver.Record // shares the memory of b
	for key := s.next(true); key != nil; key = s.next(false) {
		switch string(key) {
		case "id":
			r.ID = view(s.text())
		case "kind":
			r.Kind = view(s.text())
		case "revision":
			r.Revision = s.number()
		case "status":
			r.Status = d.states[string(s.text())]
		case "epoch":
			r.Epoch = s.number()
		case "token":
			r.Token = s.token()
		case "step":
			r.Step = view(s.text())
		case "attempt":
			r.Attempt = uint32(s.number()) //nolint:gosec // written from 32 bits
		case "due":
			r.Due = s.time()
		case "lease":
			s.lease(&r.Lease)
		case "failure":
			r.Failure = view(s.text())
		case "updated":
			r.Updated = s.time()
		case "expires":
			r.Expires = s.time()
		case "created":
			r.Created = s.time()
		case "labels":
			r.Labels = s.labels()
		default:
			s.payload(&r, key)
		}
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if r.ID == "" || r.Revision == 0 || r.Status == driver.Absent {
		return nil, errJSON
	}
	return driver.AppendRecord(make([]byte, 0, driver.EncodedSize(&r)), &r), nil
}

// payload reads a key of the bytes that the application has given.
func (s *scanner) payload(r *driver.Record, key []byte) {
	switch string(key) {
	case "input":
		r.Input = s.raw()
	case "state":
		r.State = s.raw()
	case "output":
		r.Output = s.raw()
	case "input" + base64Suffix:
		r.Input = s.base64()
	case "state" + base64Suffix:
		r.State = s.base64()
	case "output" + base64Suffix:
		r.Output = s.base64()
	default:
		s.fail() // a record of which something is not understood is not that record
	}
}

func (s *scanner) lease(l *driver.Lease) {
	for key := s.next(true); key != nil; key = s.next(false) {
		switch string(key) {
		case "owner":
			l.Owner = view(s.text())
		case "token":
			l.Token = s.token()
		default:
			s.fail()
		}
	}
}

func (s *scanner) labels() map[string]string {
	labels := map[string]string{}
	for key := s.next(true); key != nil; key = s.next(false) {
		labels[view(key)] = view(s.text())
	}
	return labels
}

func (d *decoder) expired(b []byte) ([]byte, error) {
	s := scanner{b: b}
	var id []byte
	for key := s.next(true); key != nil; key = s.next(false) {
		if string(key) != "id" {
			s.fail()
		}
		id = slices.Clone(s.text())
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if len(id) == 0 {
		return nil, errJSON
	}
	return id, nil
}

// view returns b as a string that shares its memory, which nobody changes.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
