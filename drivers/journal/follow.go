// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// phase says how a machine stands to its log.
type phase uint8

const (
	starting phase = iota // not yet caught up
	serving               // caught up, following
	broken                // the follower broke off and is being resumed
	closed
)

// state is guarded by the machine's lock.
type state struct {
	phase    phase
	opened   time.Time
	err      error    // why it is broken
	failures int      // follower attempts that failed since the last event
	first    Position // of the log, as last heard
	target   Position // end of the log when the follower last began
	from     Position // where it began
	branched uint64   // the incarnation whose history was replaced under us
	logged   time.Time
	expiry   int64 // what the keeper waits for, in milliseconds since 1970; 0: nothing
	// compacting: the keeper is at it, or has failed and waits for its next attempt.
	compacting bool
}

const (
	firstBackoff = 20 * time.Millisecond
	lastBackoff  = 400 * time.Millisecond // so that service resumes within a second
	steady       = 5 * time.Second        // a follower that lasted so long begins its back-off anew
	logEvery     = 2 * time.Second
)

// follow keeps the replica up to date until the machine is closed: a follower that
// breaks off is resumed where it stopped.
func (m *Machine) follow() {
	for m.ctx.Err() == nil {
		began := time.Now()
		err := m.followOnce()
		if m.ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			m.mu.Lock()
			m.state.failures = 0
			m.mu.Unlock()
		}
		lost := driver.ClassOf(err) == driver.Lost
		if lost {
			m.rebuild(m.next.Load() > 0, err)
		}
		wait := m.broke(err)
		if wait == 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-m.ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// broke notes that the follower broke off and returns how long to wait before the
// next attempt: not at all after the first failure, then longer and longer.
func (m *Machine) broke(err error) time.Duration {
	m.mu.Lock()
	if m.state.phase != closed {
		m.state.phase, m.state.err = broken, err
	}
	m.state.failures++
	n := m.state.failures
	m.mu.Unlock()
	m.sender.disprove()
	m.changed.broadcast()
	m.logger.Warn("the follower of the journal broke off", "attempt", n, "error", err)
	if n == 1 {
		return 0
	}
	wait := min(lastBackoff, firstBackoff<<min(n-2, 10))
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter
}

// followOnce follows the log until it breaks off.
func (m *Machine) followOnce() error {
	first, end, err := m.log.Bounds(m.ctx)
	if err != nil {
		return err
	}
	m.mu.RLock()
	from, begun := m.replica.last, m.replica.begun
	m.mu.RUnlock()
	if begun && end < from.Next {
		return &driver.Error{Class: driver.Lost, Detail: fmt.Sprintf("the journal ends at %d and was seen at %d", end, from.Next)}
	}
	if !begun && first == end {
		if err := m.create(end); err != nil {
			return err
		}
		end++
	}
	m.mu.Lock()
	m.state.first, m.state.target, m.state.from = first, end, max(first, from.Next)
	m.state.logged = time.Now()
	m.arrive()
	m.mu.Unlock()
	m.changed.broadcast()
	err = m.log.Follow(m.ctx, from, m.emit)
	if err == nil {
		err = &driver.Error{Class: driver.Unavailable, Detail: "the journal ended its feed"}
	}
	return err
}

// create begins an empty log. Of several machines that do so the first wins.
func (m *Machine) create(end Position) error {
	e, err := carrying(Created, Creation{Incarnation: newIncarnation()})
	if err != nil {
		return err
	}
	e.Origin = &Origin{After: end, Batch: &Batch{ID: driver.NewToken(), Time: driver.Millis(m.clock.Now())}}
	if _, err := m.log.Size(&e); err != nil {
		return err
	}
	return m.log.Append(m.ctx, []Event{e})
}

// newIncarnation returns a random number above 0.
func newIncarnation() uint64 {
	return rand.Uint64()>>1 + 1 //nolint:gosec // must be distinct, not secret
}

// emit applies events that the log tells.
func (m *Machine) emit(at Position, events []Event) error {
	m.mu.Lock()
	defer m.changed.broadcast()
	defer m.mu.Unlock()
	r := m.replica
	if r.begun && at < r.next {
		known := min(r.next-at, Position(len(events)))
		at, events = at+known, events[known:]
	}
	if len(events) == 0 {
		return nil
	}
	if expected := m.expected(); at > expected {
		// What is alive may have been repeated beyond the end of the log that the
		// follower aims at, so it begins anew with another look at that.
		if r.begun {
			m.logger.Warn("the journal was truncated past the follower: the table is built anew", "at", at, "next", expected)
			m.reset()
		}
		return &driver.Error{Class: driver.Unavailable, Detail: fmt.Sprintf("the journal was truncated to %d, and %d was to come next", at, expected)}
	}
	m.applyAll(at, events)
	m.next.Store(uint64(r.next))
	m.state.failures = 0
	if m.state.phase != serving {
		m.arrive()
	}
	m.wakeKeeper()
	if r.next >= m.state.target && !r.exact {
		return m.incomplete()
	}
	return nil
}

// expected returns the position that the log must tell next unless its head was
// truncated since the follower began. The caller holds m.mu.
func (m *Machine) expected() Position {
	if m.replica.begun {
		return m.replica.next
	}
	return m.state.first
}

// applyAll applies events and leads the verdicts to the calls that wait. The
// caller holds m.mu.
func (m *Machine) applyAll(at Position, events []Event) {
	s := &m.sender
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch *Batch
	var f *flight
	for i := range events {
		e := &events[i]
		if e.Origin.Batch != batch {
			batch = e.Origin.Batch
			f = s.flights[batch.ID]
		}
		v := m.replica.apply(at+Position(i), e)
		if f != nil {
			s.decided(f, e.Index, v)
		}
	}
}

// arrive makes the machine serve if it has caught up. The caller holds m.mu.
func (m *Machine) arrive() {
	s, r := &m.state, m.replica
	switch {
	case s.phase == closed:
	case r.begun && r.next >= s.target && r.exact && (s.branched == 0 || s.branched != r.incarnation):
		if s.phase != serving {
			m.logger.Info("the journal is applied", "events", s.target-s.from, "records", r.table.live, "position", r.next)
		}
		s.phase, s.err, s.branched = serving, nil, 0
		r.settled = true
	case s.phase != broken || r.next < s.target:
		s.phase = starting
		if now := time.Now(); now.Sub(s.logged) >= logEvery {
			s.logged = now
			done, total := s.replay(r.next)
			m.logger.Info("the journal is being applied", "replayed", done, "of", total)
		}
	}
}

// replay tells how far the replay has come.
func (s *state) replay(next Position) (done, total int64) {
	total = int64(s.target - min(s.target, s.from))
	return min(total, int64(next-min(next, s.from))), total
}

// incomplete is the error of a log that was cut where records were still needed.
// The caller holds m.mu.
func (m *Machine) incomplete() error {
	r := m.replica
	return &driver.Error{Class: driver.Internal, Detail: fmt.Sprintf(
		"the journal begins at %d although it was never compacted up to there: records are missing. "+
			"Something else than this program has truncated it", r.start)}
}

// reset begins the replica anew. The caller holds m.mu.
func (m *Machine) reset() {
	m.replica = newReplica(m.opts.window, m.opts.Feed)
	m.next.Store(0)
	m.state.phase = starting
	m.sender.mu.Lock()
	defer m.sender.mu.Unlock()
	m.sender.failAll("the journal was truncated or replaced before the answer came")
}

// rebuild begins the replica anew because the history of the log was replaced.
func (m *Machine) rebuild(branched bool, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logger.Error("the history of the journal was replaced: the table is built anew", "error", cause)
	if branched && m.replica.ready {
		m.state.branched = m.replica.incarnation
	}
	m.reset()
}
