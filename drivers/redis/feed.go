// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// feedEntry is what one call changed.
type feedEntry struct {
	sequence uint64 // of its last change
	changes  []driver.Change
}

// readFeed reads up to limit entries after a place; with now, none, only where the
// shard stands.
func (s *Store) readFeed(ctx context.Context, shard int, at driver.Mark, now bool, limit int, seen driver.Marks) (answer, []feedEntry, error) {
	place := ""
	if !now {
		b := binary.LittleEndian.AppendUint64(nil, at.Incarnation)
		place = string(binary.LittleEndian.AppendUint64(b, at.Sequence))
	}
	a, err := s.run(ctx, changesScript, shard, guard{seen: seen}, nil, place, itoa(limit))
	if err != nil {
		return a, nil, err
	}
	raw, err := first(a.rest).ToArray()
	if err != nil {
		return a, nil, misread("feed: %w", err)
	}
	entries := make([]feedEntry, len(raw))
	for i := range raw {
		if entries[i], err = parseEntry(&raw[i]); err != nil {
			return a, nil, misread("feed: %w", err)
		}
	}
	return a, entries, nil
}

// parseEntry reads [id, [name, payload]].
func parseEntry(m *rueidis.RedisMessage) (feedEntry, error) {
	var e feedEntry
	parts, err := m.ToArray()
	if err != nil || len(parts) != 2 {
		return e, fmt.Errorf("entry of %d parts", len(parts))
	}
	id, err := parts[0].ToString()
	if err != nil {
		return e, err
	}
	number, _, _ := strings.Cut(id, "-")
	if e.sequence, err = strconv.ParseUint(number, 10, 64); err != nil {
		return e, err
	}
	fields, err := parts[1].AsStrSlice()
	if err != nil || len(fields) != 2 {
		return e, fmt.Errorf("entry %s has %d fields", id, len(fields))
	}
	e.changes, err = parseChanges(fields[1])
	return e, err
}

// appendChange appends what a feed tells of a record to the payload of an entry,
// without the time, which the script puts before it.
func appendChange(b []byte, r *driver.Record, entry string) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.Revision)
	b = binary.LittleEndian.AppendUint64(b, r.Epoch)
	b = binary.BigEndian.AppendUint16(b, uint16(len(entry)))
	return append(b, entry...)
}

// parseChanges reads the payload of an entry: the time (eight bytes), then for each
// change revision and epoch (eight bytes each, little-endian), the length of the
// index entry (two bytes, big-endian) and the index entry.
func parseChanges(payload string) ([]driver.Change, error) {
	const head = 18
	if len(payload) < 8 {
		return nil, fmt.Errorf("payload of %d bytes", len(payload))
	}
	rest := payload[8:]
	var changes []driver.Change
	for len(rest) > 0 {
		if len(rest) < head {
			return nil, fmt.Errorf("change of %d bytes", len(rest))
		}
		b := []byte(rest[:head])
		n := int(binary.BigEndian.Uint16(b[16:]))
		if len(rest) < head+n {
			return nil, fmt.Errorf("index entry of %d bytes in %d", n, len(rest)-head)
		}
		c, err := parseIndexEntry(rest[head : head+n])
		if err != nil {
			return nil, err
		}
		c.Revision, c.Epoch = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		changes = append(changes, c)
		rest = rest[head+n:]
	}
	return changes, nil
}

// parseIndexEntry is the inverse of [arena.indexEntry].
func parseIndexEntry(entry string) (driver.Change, error) {
	kindEnd := strings.IndexByte(entry, 0)
	if kindEnd < 1 || len(entry) < kindEnd+7 {
		return driver.Change{}, fmt.Errorf("index entry %q", entry)
	}
	var ms int64
	for _, b := range []byte(entry[kindEnd+1 : kindEnd+7]) {
		ms = ms<<8 | int64(b)
	}
	c := driver.Change{Status: driver.Status(entry[0]), Kind: entry[1:kindEnd], ID: entry[kindEnd+7:]}
	if ms > 0 {
		c.Due = time.UnixMilli(ms).UTC()
	}
	return c, nil
}

// awaitFeed waits a while for the feed of a shard to grow. The client learns of the
// end of ctx, but not of its deadline, which would end its reads and writes a moment
// before ctx ends and look like a fault of the network.
func (s *Store) awaitFeed(ctx context.Context, shard int, at driver.Mark) error {
	_, err := begin(ctx, s, s.waits, false, func(own context.Context, session *session) (struct{}, error) {
		own, cancel := context.WithTimeout(own, feedBlock+time.Duration(s.config.ResponseTimeout))
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		key := newKeys(s.config.Prefix, s.chain, shard).feed()
		err := session.client.Do(own, session.client.B().Xread().Count(1).Block(feedBlock.Milliseconds()).
			Streams().Key(key).Id(strconv.FormatUint(at.Sequence, 10)+"-0").Build()).Error()
		if rueidis.IsRedisNil(err) {
			return struct{}{}, nil
		}
		return struct{}{}, err
	})()
	return err
}
