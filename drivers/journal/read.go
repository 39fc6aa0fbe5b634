// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"slices"

	"github.com/understudy-dev/understudy/driver"
)

// Get implements [driver.Store].
func (m *Machine) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := m.see(ctx, req.Seen, req.Validate); err != nil {
		return driver.GetResponse{}, m.label(err, "get")
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	resp := driver.GetResponse{Receipt: m.receipt(), Records: make([]driver.Record, 0, len(req.IDs))}
	for _, id := range req.IDs {
		if slot, _ := m.replica.table.get(id); slot != noSlot {
			resp.Records = append(resp.Records, owned(m.replica.table.at(slot).data))
		}
	}
	return resp, nil
}

// see makes the checks before a read, and lets the replica see all that was
// acknowledged before.
func (m *Machine) see(ctx context.Context, seen driver.Marks, validate func() error) error {
	if err := m.sync(ctx); err != nil {
		return err
	}
	if err := m.seen(ctx, seen); err != nil {
		return err
	}
	return validate()
}

// scan is how many slots one page of a list looks at.
const scan = 1 << 16

// List implements [driver.Store].
func (m *Machine) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	if err := m.see(ctx, req.Seen, req.Validate); err != nil {
		return driver.ListResponse{}, m.label(err, "list")
	}
	slot, err := m.parseListCursor(req.Cursor)
	if err != nil {
		return driver.ListResponse{}, m.label(err, "list")
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.replica.table
	resp := driver.ListResponse{Receipt: m.receipt()}
	kinds := make(map[uint32]bool, len(req.Kinds))
	for _, name := range req.Kinds {
		if k, ok := t.kinds[name]; ok {
			kinds[k] = true
		}
	}
	size := 0
	end := min(t.used, slot+scan)
	for ; slot < end && len(resp.Records) < req.Limit; slot++ {
		e := t.at(slot)
		if e.data == nil || len(req.Kinds) > 0 && !kinds[e.kind] || len(req.Statuses) > 0 && !slices.Contains(req.Statuses, e.status) {
			continue
		}
		if size += len(e.data); size > driver.MaxBatchBytes {
			break
		}
		resp.Records = append(resp.Records, owned(e.data))
	}
	if slot < t.used {
		resp.Next = m.formatListCursor(slot)
	}
	return resp, nil
}

// A cursor of List names the machine and the next slot: slots differ between
// replicas.
func (m *Machine) formatListCursor(slot uint32) string {
	return fmt.Sprintf("l1-%016x-%x", m.nonce, slot)
}

func (m *Machine) parseListCursor(cursor string) (uint32, error) {
	if cursor == "" {
		return 0, nil
	}
	var nonce uint64
	var slot uint32
	_, err := fmt.Sscanf(cursor, "l1-%016x-%x", &nonce, &slot)
	if err != nil || nonce != m.nonce || m.formatListCursor(slot) != cursor {
		return 0, &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf(
			"cursor %.40q is not one of this connection's: list from the beginning", cursor)}
	}
	return slot, nil
}

// Changes implements [driver.Store].
func (m *Machine) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	if err := m.see(ctx, req.Seen, func() error { return nil }); err != nil {
		return m.label(err, "changes")
	}
	from, end, incarnation, err := m.begin(req.Cursor)
	if err != nil {
		return m.label(err, "changes")
	}
	for first := true; ; first = false {
		changed := m.changed.wait()
		if err := m.follows(incarnation); err != nil {
			return m.label(err, "changes")
		}
		batch, next, err := m.batch(from, req.Records)
		if err != nil {
			return m.label(err, "changes")
		}
		if first || len(batch.Changes) > 0 {
			if err := emit(batch); err != nil {
				return err
			}
		}
		more := Position(m.next.Load()) > next
		from = next
		if req.ToEnd && from >= end {
			return nil
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return m.label(driver.ContextError(ctx, false), "changes")
		}
	}
}

// begin returns where a feed begins, the present end of the log, and in which
// incarnation of it.
func (m *Machine) begin(cursor string) (from, end Position, incarnation uint64, err error) {
	m.mu.RLock()
	end, incarnation = m.replica.next, m.replica.incarnation
	m.mu.RUnlock()
	if cursor == "" {
		return end, end, incarnation, nil
	}
	of, from, err := parseCursor(cursor)
	if err != nil {
		return 0, 0, 0, err
	}
	if of != incarnation || from > end {
		return 0, 0, 0, &driver.Error{Class: driver.CursorLost, Detail: "the journal is another one than that of the cursor: begin anew with a list"}
	}
	return from, end, incarnation, nil
}

// follows reports why a feed in the given incarnation cannot go on.
func (m *Machine) follows(incarnation uint64) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.unfit(); err != nil {
		return err
	}
	if m.replica.incarnation != incarnation {
		return &driver.Error{Class: driver.CursorLost, Detail: "the journal was replaced: begin anew with a list"}
	}
	return nil
}
