// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"math/rand/v2"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// idle is how long the keeper waits when nothing is to be expected; it is woken
// when something changes.
const idle = time.Hour

// keep does what nobody asks for: it lets finished records expire, compacts the
// log, and names a new incarnation when the history was replaced.
func (m *Machine) keep() {
	for m.ctx.Err() == nil {
		wait := m.chores()
		if wait > 0 && wait < idle {
			wait += rand.N(m.opts.Tidy) //nolint:gosec // spreads the machines of a log
		}
		stop := m.clock.AfterFunc(wait, m.nudge)
		select {
		case <-m.ctx.Done():
		case <-m.tidy:
		}
		stop()
	}
}

// nudge wakes the keeper.
func (m *Machine) nudge() {
	select {
	case m.tidy <- struct{}{}:
	default:
	}
}

// chores does what is due and returns when to look again.
func (m *Machine) chores() time.Duration {
	if err := m.rename(); err != nil {
		m.logger.Warn("the new incarnation of the journal was not written", "error", err)
		return time.Second
	}
	next, err := m.expire()
	if err != nil {
		m.logger.Warn("finished records were not let go", "error", err)
		return time.Second
	}
	if err := m.compact(m.ctx); err != nil {
		m.logger.Warn("the journal was not compacted", "error", err)
		return min(next, compactAgain)
	}
	return next
}

// wakeKeeper wakes the keeper if it has something new to do. The caller holds m.mu.
func (m *Machine) wakeKeeper() {
	q := m.replica.table.expiry.items
	sooner := len(q) > 0 && (m.state.expiry == 0 || q[0].at < m.state.expiry)
	if sooner || m.state.branched != 0 || m.stage() != nothing && !m.state.compacting {
		m.nudge()
	}
}

// rename gives a log whose history was replaced another incarnation, so that
// callers who have seen the former one notice for ever.
func (m *Machine) rename() error {
	m.mu.RLock()
	branched := m.state.branched
	needed := branched != 0 && m.replica.ready && m.replica.incarnation == branched
	m.mu.RUnlock()
	if !needed {
		return nil
	}
	e, err := carrying(Created, Creation{Incarnation: newIncarnation(), Replaces: branched})
	if err != nil {
		return err
	}
	if _, err := m.log.Size(&e); err != nil {
		return err
	}
	e.Origin = &Origin{After: Position(m.next.Load()), Batch: &Batch{ID: driver.NewToken(), Time: driver.Millis(m.clock.Now())}}
	return m.log.Append(m.ctx, []Event{e})
}

// expire lets records go whose retention has ended, and returns when the next
// one's ends.
func (m *Machine) expire() (time.Duration, error) {
	for {
		events, after, wait := m.expired()
		if len(events) == 0 {
			return wait, nil
		}
		if _, err := m.take(m.ctx, Origin{After: after}, events); err != nil {
			return 0, err
		}
	}
}

// expired returns the events for the next records that have expired; if there are
// none, how long until there are.
func (m *Machine) expired() (events []Event, after Position, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.phase != serving {
		m.state.expiry = 0
		return nil, 0, idle
	}
	now := m.clock.Now()
	wait = idle
	m.state.expiry = now.Add(idle).UnixMilli()
	t := m.replica.table
	earliest([]*queue{t.expiry}, func(it item) bool {
		if it.at > now.UnixMilli() || len(events) == driver.MaxBatch {
			wait = min(idle, time.UnixMilli(it.at).Sub(now))
			m.state.expiry = it.at
			return false
		}
		events = append(events, Event{Kind: Expired, Data: []byte(decoded(t.at(it.slot).data).ID)})
		return true
	})
	return events, m.replica.next, wait
}
