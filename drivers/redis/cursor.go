// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/understudy-dev/understudy/driver"
)

// Cursors are bytes with a checksum, in base64 for URLs, so that one that was cut
// or made up is recognised.

const (
	listCursorKind = 1
	feedCursorKind = 2
)

func checksum(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }

func seal(b []byte) string {
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

func unseal(cursor string, kind byte) (*cursorReader, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 5 {
		return nil, badCursor("it is cut or made up")
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum || body[0] != kind {
		return nil, badCursor("it is cut or made up")
	}
	return &cursorReader{rest: body[1:]}, nil
}

func badCursor(why string) error {
	return &driver.Error{Class: driver.Invalid, Detail: "cursor: this store did not give it: " + why}
}

// cursorReader reads the parts of a cursor; after the first error it gives zeros.
type cursorReader struct {
	rest []byte
	bad  bool
}

func (r *cursorReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *cursorReader) fixed() uint64 {
	if len(r.rest) < 8 {
		r.bad = true
		return 0
	}
	n := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return n
}

func (r *cursorReader) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *cursorReader) end() error {
	if r.bad || len(r.rest) > 0 {
		return badCursor("it is cut or made up")
	}
	return nil
}

// listCursor is a place in a list.
type listCursor struct {
	shard       int
	incarnation uint64 // of the shard when its first page was read
	snapshot    int64  // sequence of that page; -1: it is still to be read
	interval    int    // which of the ranges
	last        string // entry of the index looked at last; empty: the range begins
}

func (c listCursor) next(m driver.Mark, p page) listCursor {
	if !p.more {
		return listCursor{shard: c.shard + 1, snapshot: -1}
	}
	if c.snapshot < 0 {
		c.incarnation = m.Incarnation
	}
	c.snapshot, c.interval, c.last = p.snapshot, c.interval+p.interval, p.last
	return c
}

// goesOn reports whether a page at m can follow. After a restart the shard has a
// new incarnation; its sequence then tells whether it went back.
func (c listCursor) goesOn(m driver.Mark) bool {
	return m.Incarnation == c.incarnation || m.Sequence >= uint64(c.snapshot)
}

func (c listCursor) encode(filter uint32) string {
	b := []byte{listCursorKind}
	b = binary.AppendUvarint(b, uint64(filter))
	b = binary.AppendUvarint(b, uint64(c.shard))
	b = binary.LittleEndian.AppendUint64(b, c.incarnation)
	b = binary.AppendUvarint(b, uint64(c.snapshot+1))
	b = binary.AppendUvarint(b, uint64(c.interval))
	b = binary.AppendUvarint(b, uint64(len(c.last)))
	return seal(append(b, c.last...))
}

func parseListCursor(cursor string, filter uint32, shards, ranges int) (listCursor, error) {
	if cursor == "" {
		return listCursor{snapshot: -1}, nil
	}
	r, err := unseal(cursor, listCursorKind)
	if err != nil {
		return listCursor{}, err
	}
	given := r.number()
	c := listCursor{shard: int(r.number()), incarnation: r.fixed(), snapshot: int64(r.number()) - 1, interval: int(r.number()), last: r.text()}
	if err := r.end(); err != nil {
		return listCursor{}, err
	}
	switch {
	case given != uint64(filter):
		return listCursor{}, badCursor("it belongs to a list of other kinds or statuses")
	case c.shard < 0 || c.shard >= shards || c.interval < 0 || c.interval >= ranges:
		return listCursor{}, badCursor("it belongs to another layout")
	}
	return c, nil
}

// feedPlace is a place in the feed of one shard: after the entry whose sequence
// mark has, and after skip changes of the entry that follows it.
type feedPlace struct {
	mark driver.Mark
	skip int
}

// feedCursor is the place in the feed of each shard.
type feedCursor []feedPlace

func (c feedCursor) encode() string {
	b := []byte{feedCursorKind}
	b = binary.AppendUvarint(b, uint64(len(c)))
	for _, p := range c {
		b = binary.LittleEndian.AppendUint64(b, p.mark.Incarnation)
		b = binary.AppendUvarint(b, p.mark.Sequence)
		b = binary.AppendUvarint(b, uint64(p.skip))
	}
	return seal(b)
}

func parseFeedCursor(cursor string, shards int) (feedCursor, error) {
	r, err := unseal(cursor, feedCursorKind)
	if err != nil {
		return nil, err
	}
	if n := r.number(); n != uint64(shards) {
		return nil, badCursor("it belongs to another layout")
	}
	c := make(feedCursor, shards)
	for i := range c {
		c[i].mark = driver.Mark{Partition: uint32(i), Incarnation: r.fixed(), Sequence: r.number()}
		c[i].skip = int(min(r.number(), driver.MaxBatch))
	}
	return c, r.end()
}
