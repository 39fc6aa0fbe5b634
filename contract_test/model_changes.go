// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Changes implements [driver.Store].
func (c *connection) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	c.mu.Lock()
	if err := c.refuses(ctx); err != nil {
		c.mu.Unlock()
		return driver.In(err, "model", "changes")
	}
	c.feeds.Add(1)
	c.mu.Unlock()
	defer c.feeds.Done()
	cursor, end := req.Cursor, 0
	for first := true; ; first = false {
		var more <-chan struct{}
		done := false
		batch, err := call(ctx, c, "changes", func(s *state, now time.Time) (driver.ChangeBatch, error) {
			if first {
				if err := s.seen(req.Seen); err != nil {
					return driver.ChangeBatch{}, err
				}
				end = s.trimmed + len(s.changes)
			}
			more = c.model.changed
			batch, err := s.changesAfter(cursor, req.Records, now)
			if err == nil && req.ToEnd {
				at, _ := s.position(batch.Cursor)
				done = at >= end
			}
			return batch, err
		})
		if err != nil {
			return err
		}
		ended := batch.Cursor == cursor
		if first || !ended {
			cursor = batch.Cursor
			if err := emit(batch); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		if !ended {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
		case <-c.closed:
		}
	}
}

// changesPerBatch bounds a batch of the feed.
const changesPerBatch = 256

// changesAfter returns the next stretch after cursor; one with the same cursor if
// nothing follows it. An empty cursor is the end.
func (s *state) changesAfter(cursor string, records bool, now time.Time) (driver.ChangeBatch, error) {
	at := s.trimmed + len(s.changes)
	if cursor != "" {
		var err error
		if at, err = s.position(cursor); err != nil {
			return driver.ChangeBatch{}, err
		}
	}
	batch := driver.ChangeBatch{Receipt: s.receipt(now)}
	size := 0
	for ; at < s.trimmed+len(s.changes) && len(batch.Changes) < changesPerBatch && size < driver.MaxBatchBytes; at++ {
		change := s.changes[at-s.trimmed]
		if records {
			r, found := s.records[change.ID]
			if !found {
				continue
			}
			r = r.Clone()
			change.Record = &r
			size += driver.EncodedSize(&r)
		}
		batch.Changes = append(batch.Changes, change)
	}
	batch.Cursor = s.cursor(at)
	return batch, nil
}

func (s *state) cursor(at int) string { return fmt.Sprintf("%016x.%d", s.mark.Incarnation, at) }

// position is the inverse of cursor.
func (s *state) position(cursor string) (int, error) {
	var incarnation uint64
	var at int
	if _, err := fmt.Sscanf(cursor, "%016x.%d", &incarnation, &at); err != nil || fmt.Sprintf("%016x.%d", incarnation, at) != cursor {
		return 0, refused(driver.Invalid, "changes: the cursor is not of this store")
	}
	if incarnation != s.mark.Incarnation || at < s.trimmed || at > s.trimmed+len(s.changes) {
		return 0, refused(driver.CursorLost, "changes: the feed begins at %d", s.trimmed)
	}
	return at, nil
}
