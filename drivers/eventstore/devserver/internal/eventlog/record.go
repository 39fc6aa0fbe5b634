// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Event is a stored event.
type Event struct {
	Position uint64 // of the event in the log
	Stream   string
	Revision int64
	ID       uuid.UUID
	Type     string
	JSON     bool
	Created  int64 // in 100 ns since the Unix epoch
	Data     []byte
	Custom   []byte // the event's metadata as the client sent them
}

// Proposed is an event that is to be appended. The log keeps a copy of all of it.
type Proposed struct {
	ID     uuid.UUID
	Type   string
	JSON   bool
	Data   []byte
	Custom []byte
}

// A record of the log is: kind, flags, id (16), created (8), revision (8), then stream, type and custom metadata
// with their lengths before them, then the data. A record of kindEmpty marks the place of an append without events.
const (
	kindEvent byte = 1
	kindEmpty byte = 2

	flagJSON byte = 1

	offsetID      = 2
	offsetCreated = offsetID + 16
	offsetNumber  = offsetCreated + 8
	offsetText    = offsetNumber + 8
)

var errCorrupt = errors.New("record cannot be read; the data file is damaged")

func encodeEvent(e *Event) []byte {
	n := offsetText + 3*binary.MaxVarintLen32 + len(e.Stream) + len(e.Type) + len(e.Custom) + len(e.Data)
	b := make([]byte, offsetText, n)
	b[0] = kindEvent
	if e.JSON {
		b[1] = flagJSON
	}
	copy(b[offsetID:], e.ID[:])
	binary.BigEndian.PutUint64(b[offsetCreated:], uint64(e.Created))
	binary.BigEndian.PutUint64(b[offsetNumber:], uint64(e.Revision))
	b = append(binary.AppendUvarint(b, uint64(len(e.Stream))), e.Stream...)
	b = append(binary.AppendUvarint(b, uint64(len(e.Type))), e.Type...)
	b = append(binary.AppendUvarint(b, uint64(len(e.Custom))), e.Custom...)
	return append(b, e.Data...)
}

// decodeEvent copies the event out of b, which belongs to a transaction.
func decodeEvent(position uint64, b []byte) (Event, error) {
	e := Event{Position: position}
	stream, eventType, rest, err := decodeNames(position, b)
	if err != nil {
		return e, err
	}
	e.JSON = b[1]&flagJSON != 0
	copy(e.ID[:], b[offsetID:])
	e.Created = created(b)
	e.Revision = int64(binary.BigEndian.Uint64(b[offsetNumber:]))
	e.Stream, e.Type = string(stream), string(eventType)
	custom, data, ok := cut(rest)
	if !ok {
		return e, fmt.Errorf("event at position %d: %w", position, errCorrupt)
	}
	both := append(append(make([]byte, 0, len(custom)+len(data)), custom...), data...)
	e.Custom, e.Data = both[:len(custom):len(custom)], both[len(custom):]
	return e, nil
}

// decodeNames reads what filters look at, without copying, and returns the rest.
func decodeNames(position uint64, b []byte) (stream, eventType, rest []byte, err error) {
	if len(b) >= offsetText && b[0] == kindEvent {
		var ok bool
		if stream, rest, ok = cut(b[offsetText:]); ok {
			if eventType, rest, ok = cut(rest); ok {
				return stream, eventType, rest, nil
			}
		}
	}
	return nil, nil, nil, fmt.Errorf("event at position %d: %w", position, errCorrupt)
}

// cut splits off a field that has its length before it.
func cut(b []byte) (field, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}

// created reads only the time of a record.
func created(b []byte) int64 { return int64(binary.BigEndian.Uint64(b[offsetCreated:])) }

func key(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// ticks is the time in 100 ns since the Unix epoch.
func ticks(t time.Time) int64 { return t.UnixNano() / 100 }
