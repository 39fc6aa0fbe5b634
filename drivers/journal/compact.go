// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// keptClaims is how many tokens of claims one event repeats.
const keptClaims = 2048

// compactRounds bounds how often a compaction goes through the table again for
// records that were changed while they were repeated.
const compactRounds = 64

// compactAgain is how long a machine waits after a compaction that failed.
const compactAgain = 2 * time.Second

// stage is what the log needs next. A compaction begins with a checkpoint; once
// the window has passed, all that is needed is repeated and the rest cut off.
// Whichever machine comes first does each part, so none has to outlive it.
type stage uint8

const (
	nothing stage = iota
	begin
	finish
	cut
)

// stage returns what the log needs. The caller holds m.mu.
func (m *Machine) stage() stage {
	r := m.replica
	first := m.state.first
	switch {
	case m.state.phase != serving:
		return nothing
	case r.truncated > first:
		return cut
	case r.checkpoint > first && r.next > r.checkpoint+r.window:
		return finish
	case r.checkpoint <= first && r.next > first+Position(2*r.table.live+m.opts.Slack):
		return begin
	}
	return nothing
}

// compact does what the log needs. Several machines may do so at once: each event
// decides by its position whether it counts.
func (m *Machine) compact(ctx context.Context) error {
	for {
		m.mu.Lock()
		stage, target := m.stage(), m.replica.checkpoint
		m.state.compacting = stage != nothing
		m.mu.Unlock()
		if stage == nothing {
			return nil
		}
		if !m.pause(ctx) {
			return nil
		}
		m.mu.RLock()
		still := m.stage() == stage && m.replica.checkpoint == target
		m.mu.RUnlock()
		var err error
		switch {
		case !still: // another machine was faster
		case stage == begin:
			err = m.beginCompaction(ctx)
		case stage == finish:
			err = m.finishCompaction(ctx, target)
		default:
			err = m.cut(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// pause waits for a moment, so that of several machines mostly one goes on.
func (m *Machine) pause(ctx context.Context) bool {
	timer := time.NewTimer(rand.N(m.opts.Tidy)) //nolint:gosec // spreads the machines of a log
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// beginCompaction writes a checkpoint.
func (m *Machine) beginCompaction(ctx context.Context) error {
	m.mu.RLock()
	after := m.replica.next
	e, err := carrying(Checkpointed, Checkpoint{Incarnation: m.replica.incarnation, Epoch: m.replica.epoch})
	m.mu.RUnlock()
	if err != nil {
		return err
	}
	_, err = m.take(ctx, Origin{After: after}, []Event{e})
	return err
}

// finishCompaction repeats what is not known from target on and truncates the log
// there.
func (m *Machine) finishCompaction(ctx context.Context, target Position) error {
	began := time.Now()
	repeated := 0
	for range compactRounds {
		claims, err := m.repeatClaims(ctx, target)
		if err != nil {
			return err
		}
		records, err := m.repeatRecords(ctx, target)
		repeated += claims + records
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
			m.logger.Info("the journal was compacted", "before", target, "repeated", repeated, "took", time.Since(began))
			return nil
		}
	}
	return &driver.Error{Class: driver.Unavailable, Op: "compact", Detail: "records changed faster than they could be repeated"}
}

// cut removes from the log what is no longer needed.
func (m *Machine) cut(ctx context.Context) error {
	m.mu.RLock()
	before := m.replica.truncated
	m.mu.RUnlock()
	if err := m.log.Truncate(ctx, before); err != nil {
		return err
	}
	m.mu.Lock()
	m.state.first = max(m.state.first, before)
	m.mu.Unlock()
	return nil
}

// repeatRecords repeats the records that are not known from target on. It begins
// anywhere, so that several machines share the work rather than doing it twice.
func (m *Machine) repeatRecords(ctx context.Context, target Position) (int, error) {
	m.mu.RLock()
	slots := m.replica.table.used
	m.mu.RUnlock()
	if slots == 0 {
		return 0, nil
	}
	repeated := 0
	middle := rand.N(slots) //nolint:gosec // spreads the machines of a log
	for _, part := range [][2]uint32{{middle, noSlot}, {0, middle}} {
		for slot := part[0]; slot < part[1]; {
			events, after, next := m.stragglers(slot, part[1], target)
			if len(events) > 0 {
				if _, err := m.take(ctx, Origin{After: after}, events); err != nil {
					return repeated, err
				}
				repeated += len(events)
			}
			slot = next
		}
	}
	return repeated, nil
}

// stragglers returns events that repeat records in the slots from slot to end which
// are not known from target on, and the slot to go on from; noSlot after the last.
func (m *Machine) stragglers(slot, end uint32, target Position) (events []Event, after Position, next uint32) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.replica.table
	end = min(end, t.used)
	size := 0
	for stop := min(end, slot+scan); slot < stop; slot++ {
		e := t.at(slot)
		if e.data == nil || e.known >= target {
			continue
		}
		if size += len(e.data); len(events) == driver.MaxBatch || size > driver.MaxBatchBytes {
			return events, m.replica.next, slot
		}
		events = append(events, Event{Kind: Compacted, Data: e.data})
	}
	if slot >= end {
		slot = noSlot
	}
	return events, m.replica.next, slot
}

// repeatClaims repeats the tokens of claims that are not known from target on.
func (m *Machine) repeatClaims(ctx context.Context, target Position) (int, error) {
	kept, after := m.claimsBefore(target)
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

// claimsBefore returns the claims that are not known from target on, as of a
// position.
func (m *Machine) claimsBefore(target Position) (kept []KeptClaim, after Position) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for token, c := range m.replica.claims {
		if c.known < target {
			kept = append(kept, KeptClaim{Token: token, Until: c.until})
		}
	}
	return kept, m.replica.next
}
