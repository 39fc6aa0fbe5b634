// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// refusal tells an answer to one write from a failure of the file.
func refusal(err error) bool {
	_, wrong := errors.AsType[*WrongVersionError](err)
	_, deleted := errors.AsType[*DeletedError](err)
	_, request := errors.AsType[*RequestError](err)
	return wrong || deleted || request
}

// repeat is a write whose events are known: nothing is to be written, and last is the revision of its last event.
type repeat struct{ last int64 }

// check decides whether a write with these event ids may go on. It returns the repeat if it is one, an error if it
// is refused, and neither if the events are to be written after the stream's last one.
func (w *writeTx) check(st *stream, expected int64, ids []uuid.UUID) (*repeat, error) {
	if st.tombstoned {
		return nil, &DeletedError{Stream: st.name}
	}
	if expected == StreamExists {
		if st.softDeleted() {
			return nil, &DeletedError{Stream: st.name}
		}
		if st.last < 0 && !st.hasMetadata {
			return nil, wrongVersion(st, expected)
		}
	}
	switch {
	case expected == Any || expected == StreamExists:
		return w.checkAny(st, expected, ids)
	case expected < st.last:
		return w.checkOlder(st, expected, ids)
	case expected > st.last:
		return nil, wrongVersion(st, expected)
	}
	return nil, nil
}

func wrongVersion(st *stream, expected int64) error {
	return &WrongVersionError{Stream: st.name, Expected: expected, Current: st.last}
}

// checkAny looks the ids up in the cache of recent ones. It is a repeat if all are known in this stream, whatever
// their order. If the first is unknown, everything is written, known ids too.
func (w *writeTx) checkAny(st *stream, expected int64, ids []uuid.UUID) (*repeat, error) {
	var first, last int64
	for i, id := range ids {
		revision, ok := w.seen(st.number, id)
		switch {
		case ok && i == 0:
			first, last = revision, revision
		case ok:
			last = revision
		case i == 0:
			return nil, nil
		default:
			return nil, wrongVersion(st, expected)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if last < first-1 {
		return nil, &RequestError{Reason: fmt.Sprintf("the events are known, but the last of them (revision %d) lies two or more before the first (revision %d); "+
			"an EventStoreDB 23.10.6 never answers this: repeat an append exactly as it was", last, first)}
	}
	return &repeat{last: last}, nil
}

// checkOlder compares the ids with those of the events after the expected revision, which is below the last one.
func (w *writeTx) checkOlder(st *stream, expected int64, ids []uuid.UUID) (*repeat, error) {
	for i, id := range ids {
		_, b := w.record(st.number, expected+1+int64(i))
		if b != nil && uuid.UUID(b[offsetID:offsetID+16]) == id {
			continue
		}
		if i == 0 && expected == NoStream && st.softDeleted() {
			return nil, nil
		}
		return nil, wrongVersion(st, expected)
	}
	if len(ids) == 0 {
		return nil, wrongVersion(st, expected)
	}
	return &repeat{last: expected + int64(len(ids))}, nil
}

// repeated is the answer to a repeat: that of the first write, without a position if the event cannot be read now.
func (w *writeTx) repeated(st *stream, r *repeat) Result {
	res := Result{Revision: r.last}
	if !st.softDeleted() && r.last >= w.lowerBound(st, time.Now()) {
		res.Position, _ = w.record(st.number, r.last)
		res.HasPosition = res.Position != 0
	}
	return res
}
