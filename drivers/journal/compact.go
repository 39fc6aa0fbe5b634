// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// keptClaims is how many tokens of claims one event repeats.
const keptClaims = 2048

// compactRounds bounds how often a compaction goes through the table again for
// records that were changed while they were repeated.
const compactRounds = 64

// compact repeats what a replica needs at the end of the log and truncates the
// rest. Several machines may do so at once: each event decides by its position
// whether it counts.
func (m *Machine) compact(ctx context.Context) error {
	began := time.Now()
	target, err := m.checkpoint(ctx)
	if err != nil || target == 0 {
		return err
	}
	repeated := 0
	for range compactRounds {
		n, err := m.repeatClaims(ctx, target)
		if err != nil {
			return err
		}
		more, err := m.repeatRecords(ctx, target)
		repeated += n + more
		if err != nil {
			return err
		}
		e, err := carrying(Truncated, Truncation{Before: target})
		if err != nil {
			return err
		}
		verdicts, err := m.take(ctx, Origin{}, []Event{e})
		if err != nil {
			return err
		}
		if verdicts[0].Applied {
			if err := m.log.Truncate(ctx, target); err != nil {
				return err
			}
			m.logger.Info("the journal was compacted", "before", target, "repeated", repeated, "took", time.Since(began))
			return nil
		}
	}
	return &driver.Error{Class: driver.Unavailable, Op: "compact", Detail: "records changed faster than they could be repeated"}
}

// checkpoint begins a compaction and returns the position that the log may be
// truncated before once everything is repeated; 0 if somebody else came between.
func (m *Machine) checkpoint(ctx context.Context) (Position, error) {
	m.mu.RLock()
	after := m.replica.next
	e, err := carrying(Checkpointed, Checkpoint{Incarnation: m.replica.incarnation, Epoch: m.replica.epoch})
	m.mu.RUnlock()
	if err != nil {
		return 0, err
	}
	verdicts, err := m.take(ctx, Origin{After: after}, []Event{e})
	if err != nil || !verdicts[0].Applied {
		return 0, err
	}
	return after, nil
}

// repeatRecords repeats the records that are not known from target on.
func (m *Machine) repeatRecords(ctx context.Context, target Position) (int, error) {
	repeated := 0
	for slot := uint32(0); ; {
		events, after, next := m.stragglers(slot, target)
		if len(events) > 0 {
			if _, err := m.take(ctx, Origin{After: after}, events); err != nil {
				return repeated, err
			}
			repeated += len(events)
		}
		if next == noSlot {
			return repeated, nil
		}
		slot = next
	}
}

// stragglers returns events that repeat records from a slot on which are not known
// from target on, and the slot to go on from; noSlot after the last.
func (m *Machine) stragglers(slot uint32, target Position) (events []Event, after Position, next uint32) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.replica.table
	size := 0
	for end := min(t.used, slot+scan); slot < end; slot++ {
		e := t.at(slot)
		if e.data == nil || e.known >= target {
			continue
		}
		if size += len(e.data); len(events) == driver.MaxBatch || size > driver.MaxBatchBytes {
			return events, m.replica.next, slot
		}
		events = append(events, Event{Kind: Compacted, Data: e.data})
	}
	if slot >= t.used {
		slot = noSlot
	}
	return events, m.replica.next, slot
}

// repeatClaims repeats the tokens of claims that are not known from target on.
func (m *Machine) repeatClaims(ctx context.Context, target Position) (int, error) {
	m.mu.RLock()
	after := m.replica.next
	var kept []KeptClaim
	for token, c := range m.replica.claims {
		if c.known < target {
			kept = append(kept, KeptClaim{Token: token, Until: c.until})
		}
	}
	m.mu.RUnlock()
	for start := 0; start < len(kept); start += keptClaims {
		e, err := carrying(ClaimsKept, Claims{Claims: kept[start:min(len(kept), start+keptClaims)]})
		if err != nil {
			return start, err
		}
		if _, err := m.take(ctx, Origin{After: after}, []Event{e}); err != nil {
			return start, err
		}
	}
	return len(kept), nil
}
