// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"sync"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// suffixBytes is the sequence that follows a stored record.
const suffixBytes = 8

// arena holds the values and index entries of a batch in one piece of memory,
// which is taken when the first is added and must be reserved for all before.
type arena struct {
	size int
	buf  []byte
	from *[]byte // where buf came from
}

// pieces has the memory of arenas that are no longer used.
var pieces sync.Pool

// maxPiece is the size of the largest piece that is kept.
const maxPiece = 1 << 20

// take gets memory for all that was reserved.
func (a *arena) take() {
	piece, ok := pieces.Get().(*[]byte)
	if !ok || cap(*piece) < a.size {
		b := make([]byte, 0, a.size)
		piece = &b
	}
	a.from, a.buf = piece, (*piece)[:0]
}

// free gives the memory back. Nothing that was added may be used any more: the
// server has answered, so the client has sent it all.
func (a *arena) free() {
	if a.from != nil && cap(*a.from) <= maxPiece {
		pieces.Put(a.from)
	}
	*a = arena{}
}

// reserve makes room for a record.
func (a *arena) reserve(r *driver.Record) {
	a.size += driver.EncodedSize(r) + suffixBytes + 8 + len(r.Kind) + len(r.ID)
}

// add returns what f appends.
func (a *arena) add(f func([]byte) []byte) string {
	if a.buf == nil {
		a.take()
	}
	from := len(a.buf)
	a.buf = f(a.buf)
	return rueidis.BinaryString(a.buf[from:])
}

// value returns the encoding of r; complete adds the zeros that end the value of a
// record that was never changed.
func (a *arena) value(r *driver.Record, complete bool) string {
	return a.add(func(b []byte) []byte {
		b = driver.AppendRecord(b, r)
		if complete {
			b = append(b, make([]byte, suffixBytes)...)
		}
		return b
	})
}

// indexEntry returns the entry of a record in the index of its shard: status,
// kind, a zero byte, due in milliseconds (six bytes, big-endian), id. Sorted by
// bytes, the records of one kind and status stand in the order in which they are
// due.
func (a *arena) indexEntry(r *driver.Record) string {
	return a.add(func(b []byte) []byte {
		var ms int64
		if !r.Due.IsZero() {
			ms = r.Due.UnixMilli()
		}
		b = append(b, byte(r.Status))
		b = append(b, r.Kind...)
		b = append(b, 0, byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms))
		return append(b, r.ID...)
	})
}
