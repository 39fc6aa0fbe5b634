// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"time"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

const (
	lengthBytes = 4
	tokenBytes  = len(driver.Token{})
)

// toRecords encodes records as they cross the wire, n of them.
func toRecords(n int, record func(int) *driver.Record) []byte {
	size := 0
	for i := range n {
		size += lengthBytes + driver.EncodedSize(record(i))
	}
	if size == 0 {
		return nil
	}
	blob := (*blobs.Get(size))[:0]
	for i := range n {
		blob = appendRecord(blob, record(i))
	}
	return blob
}

func toTransitions(transitions []driver.Transition) []byte {
	size := 0
	for i := range transitions {
		size += tokenBytes + lengthBytes + driver.EncodedSize(&transitions[i].Record)
	}
	if size == 0 {
		return nil
	}
	blob := (*blobs.Get(size))[:0]
	for i := range transitions {
		blob = append(blob, transitions[i].Base[:]...)
		blob = appendRecord(blob, &transitions[i].Record)
	}
	return blob
}

func appendRecord(blob []byte, r *driver.Record) []byte {
	start := len(blob)
	blob = append(blob, make([]byte, lengthBytes)...)
	blob = driver.AppendRecord(blob, r)
	binary.LittleEndian.PutUint32(blob[start:], uint32(len(blob)-start-lengthBytes))
	return blob
}

// fromRecords decodes what [toRecords] made. The records share blob's memory.
func fromRecords(blob []byte) ([]driver.Record, error) {
	n, err := countRecords(blob, 0)
	if n == 0 || err != nil {
		return nil, err
	}
	records := make([]driver.Record, n)
	for i := range records {
		if records[i], blob, err = cutRecord(blob); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func fromTransitions(blob []byte) ([]driver.Transition, error) {
	n, err := countRecords(blob, tokenBytes)
	if n == 0 || err != nil {
		return nil, err
	}
	transitions := make([]driver.Transition, n)
	for i := range transitions {
		t := &transitions[i]
		t.Base = driver.Token(blob)
		if t.Record, blob, err = cutRecord(blob[tokenBytes:]); err != nil {
			return nil, err
		}
	}
	return transitions, nil
}

// countRecords returns the number of records in blob, each behind prefix bytes
// and its length, and that they fill it exactly.
func countRecords(blob []byte, prefix int) (int, error) {
	n := 0
	for len(blob) > 0 {
		if len(blob) < prefix+lengthBytes {
			return 0, undecodable("records: %d bytes too many", len(blob))
		}
		size := uint64(binary.LittleEndian.Uint32(blob[prefix:]))
		blob = blob[prefix+lengthBytes:]
		if size > uint64(len(blob)) {
			return 0, undecodable("records: %d bytes of %d", len(blob), size)
		}
		blob = blob[size:]
		n++
	}
	return n, nil
}

// cutRecord decodes the first record of a blob that [countRecords] found good.
func cutRecord(blob []byte) (driver.Record, []byte, error) {
	size := binary.LittleEndian.Uint32(blob)
	blob = blob[lengthBytes:]
	r, err := driver.DecodeRecord(blob[:size:size])
	return r, blob[size:], err
}

// recordTimes returns the times of r by their numbers in the protocol.
func recordTimes(r *driver.Record) [4]*time.Time {
	return [...]*time.Time{
		wirev1.Instant_DUE:     &r.Due,
		wirev1.Instant_CREATED: &r.Created,
		wirev1.Instant_UPDATED: &r.Updated,
		wirev1.Instant_EXPIRES: &r.Expires,
	}
}

// toInstants returns the times of n records that their encoding does not hold.
func toInstants(n int, record func(int) *driver.Record) []*wirev1.Instant {
	var out []*wirev1.Instant
	for i := range n {
		for field, t := range recordTimes(record(i)) {
			if !t.IsZero() && (t.Nanosecond()%int(time.Millisecond) != 0 || t.UnixMilli() == 0) {
				out = append(out, &wirev1.Instant{Index: uint32(i), Field: wirev1.Instant_Field(field), Time: toTime(*t)})
			}
		}
	}
	return out
}

// restoreInstants puts the times back that [toInstants] found.
func restoreInstants(instants []*wirev1.Instant, n int, record func(int) *driver.Record) error {
	for _, in := range instants {
		if int64(in.GetIndex()) >= int64(n) {
			return undecodable("instant of record %d of %d", in.GetIndex(), n)
		}
		times := recordTimes(record(int(in.GetIndex())))
		if in.GetField() < 0 || int(in.GetField()) >= len(times) {
			return undecodable("instant in field %d", in.GetField())
		}
		*times[in.GetField()] = fromTime(in.GetTime())
	}
	return nil
}
