// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"
)

// The encoding of a record is a header of fixed width followed by the fields of
// variable length. All integers are little-endian. It is what crosses the
// process boundary, what the size limits count, and what a driver may store. The
// offsets are fixed for ever within format 1, so that a script inside a store
// can read the header.
//
// Times are milliseconds since 1970 (int64), 0 for none. The variable part is id,
// kind, lease owner, step, failure, state, input and output, each behind its
// length as a uvarint; then the number of labels as a uvarint, and key and value
// of each, sorted by key.
const (
	recordFormat = 1 // the byte at offset 0

	offStatus   = 1  // uint8
	offRevision = 2  // uint64
	offEpoch    = 10 // uint64
	offToken    = 18 // 16 bytes
	offDue      = 34 // time
	offLease    = 42 // 16 bytes
	offAttempt  = 58 // uint32
	offCreated  = 62 // time
	offUpdated  = 70 // time
	offExpires  = 78 // time
	headerBytes = 86
)

// EncodedSize returns the number of bytes that [AppendRecord] appends for r.
func EncodedSize(r *Record) int {
	n := headerBytes + uvarintSize(uint64(len(r.Labels)))
	for _, s := range [...]int{len(r.ID), len(r.Kind), len(r.Lease.Owner), len(r.Step), len(r.Failure),
		len(r.State), len(r.Input), len(r.Output)} {
		n += uvarintSize(uint64(s)) + s
	}
	for k, v := range r.Labels {
		n += uvarintSize(uint64(len(k))) + len(k) + uvarintSize(uint64(len(v))) + len(v)
	}
	return n
}

// AppendRecord appends the encoding of r to dst and returns the extended slice.
// Records that are [Equal] have the same encoding. r is not checked; see
// [Record.Validate].
func AppendRecord(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, headerBytes)...)
	h := dst[start:]
	h[0] = recordFormat
	h[offStatus] = byte(r.Status)
	binary.LittleEndian.PutUint64(h[offRevision:], r.Revision)
	binary.LittleEndian.PutUint64(h[offEpoch:], r.Epoch)
	copy(h[offToken:], r.Token[:])
	putTime(h[offDue:], r.Due)
	copy(h[offLease:], r.Lease.Token[:])
	binary.LittleEndian.PutUint32(h[offAttempt:], r.Attempt)
	putTime(h[offCreated:], r.Created)
	putTime(h[offUpdated:], r.Updated)
	putTime(h[offExpires:], r.Expires)

	for _, s := range [...]string{r.ID, r.Kind, r.Lease.Owner, r.Step, r.Failure} {
		dst = appendField(dst, s)
	}
	for _, b := range [...][]byte{r.State, r.Input, r.Output} {
		dst = appendField(dst, b)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Labels)))
	if len(r.Labels) > 0 {
		for _, k := range sortedLabels(r.Labels) {
			dst = appendField(dst, k)
			dst = appendField(dst, r.Labels[k])
		}
	}
	return dst
}

// DecodeRecord is the inverse of [AppendRecord]. The strings and slices of the
// record share b's memory: b must not be changed afterwards. An error is
// [Internal] and names the field; the bytes are then not an encoding of a
// record, or of a later format. The record is not otherwise checked; see
// [Record.Validate].
func DecodeRecord(b []byte) (Record, error) {
	if len(b) < headerBytes {
		return Record{}, undecodable("header", "%d bytes of %d", len(b), headerBytes)
	}
	if b[0] != recordFormat {
		return Record{}, undecodable("format", "%d, want %d", b[0], recordFormat)
	}
	r := Record{
		Status:   Status(b[offStatus]),
		Revision: binary.LittleEndian.Uint64(b[offRevision:]),
		Epoch:    binary.LittleEndian.Uint64(b[offEpoch:]),
		Token:    Token(b[offToken:]),
		Due:      getTime(b[offDue:]),
		Lease:    Lease{Token: Token(b[offLease:])},
		Attempt:  binary.LittleEndian.Uint32(b[offAttempt:]),
		Created:  getTime(b[offCreated:]),
		Updated:  getTime(b[offUpdated:]),
		Expires:  getTime(b[offExpires:]),
	}
	d := decoder{rest: b[headerBytes:]}
	r.ID = d.text("id")
	r.Kind = d.text("kind")
	r.Lease.Owner = d.text("lease owner")
	r.Step = d.text("step")
	r.Failure = d.text("failure")
	r.State = d.field("state")
	r.Input = d.field("input")
	r.Output = d.field("output")
	r.Labels = d.labels()
	if d.err == nil && len(d.rest) > 0 {
		d.err = undecodable("end", "%d bytes too many", len(d.rest))
	}
	if d.err != nil {
		return Record{}, d.err
	}
	return r, nil
}

// decoder reads the variable part; after the first error it returns zero values.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) number(name string) uint64 {
	if d.err != nil {
		return 0
	}
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.err = undecodable(name, "no length")
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) field(name string) []byte {
	n := d.number(name)
	if d.err != nil || n == 0 {
		return nil
	}
	if n > uint64(len(d.rest)) {
		d.err = undecodable(name, "%d bytes of %d", len(d.rest), n)
		return nil
	}
	f := d.rest[:n:n]
	d.rest = d.rest[n:]
	return f
}

func (d *decoder) text(name string) string {
	f := d.field(name)
	// The caller has promised not to change the bytes, so the string may share them.
	return unsafe.String(unsafe.SliceData(f), len(f))
}

func (d *decoder) labels() map[string]string {
	n := d.number("labels")
	if d.err != nil || n == 0 {
		return nil
	}
	if n > uint64(len(d.rest)) {
		d.err = undecodable("labels", "%d entries in %d bytes", n, len(d.rest))
		return nil
	}
	labels := make(map[string]string, min(n, MaxLabels))
	for range n {
		key := d.text("label key")
		labels[key] = d.text("label value")
		if d.err != nil {
			return nil
		}
	}
	return labels
}

func undecodable(field, format string, args ...any) error {
	return &Error{Class: Internal, Op: "decode record", Detail: field + ": " + fmt.Sprintf(format, args...)}
}

func appendField[T string | []byte](dst []byte, field T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(field)))
	return append(dst, field...)
}

func uvarintSize(n uint64) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func putTime(b []byte, t time.Time) {
	if !t.IsZero() {
		binary.LittleEndian.PutUint64(b, uint64(t.UnixMilli()))
	}
}

func getTime(b []byte) time.Time {
	ms := int64(binary.LittleEndian.Uint64(b))
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
