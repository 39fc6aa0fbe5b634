// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// streamMetadata are the metadata of the journal stream. The server replaces them
// as a whole, so all keys are kept as they were found.
type streamMetadata struct {
	keys     map[string]json.RawMessage
	revision uint64
	exists   bool
}

// readMetadata reads the metadata. Those that are not a JSON object count as none,
// as they do for the server.
func (l *log) readMetadata(ctx context.Context) (streamMetadata, error) {
	p, err := l.handle.readOne(ctx, "$$"+l.stream, backwardsFromEnd)
	if err != nil || len(p.events) == 0 {
		return streamMetadata{revision: p.last, exists: p.known}, err
	}
	m := streamMetadata{revision: p.events[0].GetStreamRevision(), exists: true}
	if err := json.Unmarshal(p.events[0].GetData(), &m.keys); err != nil {
		m.keys = nil
	}
	return m, nil
}

// truncateBefore returns the truncation point, 0 if there is none.
func (m *streamMetadata) truncateBefore() journal.Position {
	n, err := strconv.ParseUint(string(m.keys["$tb"]), 10, 63)
	if err != nil {
		return 0
	}
	return journal.Position(n)
}

// softDeleted is the truncation point of a stream that was deleted.
const softDeleted = 1<<63 - 1

// retention returns what is wrong with the metadata for a journal that ends at
// end, nil if nothing is.
func (m *streamMetadata) retention(stream string, end journal.Position) error {
	var found []string
	for _, key := range []string{"$maxAge", "$maxCount"} {
		if _, set := m.keys[key]; set {
			found = append(found, key)
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("the metadata of the stream %q have %s, which removes workflows that are still open: "+
			"remove it, the driver truncates the stream by itself", stream, strings.Join(found, " and "))
	}
	if tb := m.truncateBefore(); tb > end && tb != softDeleted {
		return fmt.Errorf("the metadata of the stream %q have $tb %d and it ends at %d, so that new events cannot be read: lower $tb", stream, tb, end)
	}
	return nil
}

// refuseRetention returns an error unless the server keeps all of the journal.
func (l *log) refuseRetention(ctx context.Context, end journal.Position) error {
	m, err := l.readMetadata(ctx)
	if err != nil {
		return err
	}
	if err := m.retention(l.stream, end); err != nil {
		return &driver.Error{Class: driver.Unavailable, Detail: err.Error()}
	}
	return nil
}

// truncateTries is how often a truncation is tried anew because somebody else has
// written the metadata meanwhile.
const truncateTries = 5

// Truncate implements [journal.Log]: it raises $tb and keeps all else.
func (l *log) Truncate(ctx context.Context, before journal.Position) error {
	for range truncateTries {
		m, err := l.readMetadata(ctx)
		if err != nil {
			return err
		}
		if m.truncateBefore() >= before {
			return nil
		}
		request, err := m.with(before)
		if err != nil {
			return err
		}
		expect := noStream
		if m.exists {
			expect = exactly(m.revision)
		}
		err = l.handle.append(ctx, "$$"+l.stream, expect, []frame{request})
		if _, wrong := errors.AsType[*wrongRevision](err); !wrong {
			return err
		}
	}
	return &driver.Error{Class: driver.Unavailable, Detail: fmt.Sprintf(
		"the metadata of the stream %q changed %d times while they were to be written", l.stream, truncateTries)}
}

// with makes the event that sets the truncation point.
func (m *streamMetadata) with(before journal.Position) (frame, error) {
	keys := map[string]json.RawMessage{}
	maps.Copy(keys, m.keys)
	keys["$tb"] = json.RawMessage(strconv.FormatUint(uint64(before), 10))
	data, err := json.Marshal(keys)
	if err != nil {
		return frame{}, &driver.Error{Class: driver.Internal, Op: "encode stream metadata", Cause: err}
	}
	return proposed(newIDs(1)[0], "$metadata", nil, data), nil
}
