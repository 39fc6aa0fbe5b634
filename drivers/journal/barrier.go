// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"sync"

	"github.com/understudy-dev/understudy/driver"
)

// barrier finds the end of the log for calls that must see what others have
// appended. Calls share a look at the log, but only one that begins after them.
type barrier struct {
	machine *Machine

	mu      sync.Mutex
	waiting *look // calls that came while the running look was under way
	running bool
}

type look struct {
	done   chan struct{}
	end    Position
	err    error
	ctx    context.Context
	cancel context.CancelFunc
	users  int
}

// end returns the end of the log at some time after the call began.
func (b *barrier) end(ctx context.Context) (Position, error) {
	if b.machine.limits.Local {
		_, end, err := b.machine.log.Bounds(ctx)
		return end, err
	}
	l := b.join()
	if l == nil {
		return 0, errClosed()
	}
	select {
	case <-l.done:
		return l.end, l.err
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		if l.users--; l.users == 0 {
			l.cancel()
			if b.waiting == l {
				b.waiting = nil
			}
		}
		return 0, driver.ContextError(ctx, false)
	}
}

// join returns the look that the caller shares, nil once the machine is closed.
func (b *barrier) join() *look {
	b.machine.mu.RLock() // so that nothing is started once closing has begun
	defer b.machine.mu.RUnlock()
	if b.machine.state.phase == closed {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = &look{done: make(chan struct{})}
		b.waiting.ctx, b.waiting.cancel = context.WithCancel(b.machine.ctx)
		if !b.running {
			b.running = true
			b.machine.wg.Go(b.run)
		}
	}
	b.waiting.users++
	return b.waiting
}

func (b *barrier) run() {
	for {
		b.mu.Lock()
		l := b.waiting
		b.waiting = nil
		if l == nil {
			b.running = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		_, l.end, l.err = b.machine.log.Bounds(l.ctx)
		l.cancel()
		close(l.done)
	}
}

// sync waits until the replica has applied all that was appended before the call.
func (m *Machine) sync(ctx context.Context) error {
	if err := m.serve(ctx); err != nil {
		return err
	}
	end, err := m.barrier.end(ctx)
	if err != nil {
		return err
	}
	return m.reach(ctx, end)
}

// reach waits until the replica has applied all before a position.
func (m *Machine) reach(ctx context.Context, end Position) error {
	for Position(m.next.Load()) < end {
		changed := m.changed.wait()
		m.mu.RLock()
		err := m.unfit()
		m.mu.RUnlock()
		if err != nil {
			return err
		}
		if Position(m.next.Load()) >= end {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return driver.ContextError(ctx, false)
		}
	}
	return nil
}

// settle waits until it is clear whether the log shows an append of unknown
// outcome: until the replica has come to an end of the log found after it, the
// follower has failed since, or ctx is done.
func (m *Machine) settle(ctx context.Context) {
	for ctx.Err() == nil {
		changed := m.changed.wait()
		m.mu.RLock()
		phase, failures := m.state.phase, m.state.failures
		m.mu.RUnlock()
		if phase == closed || phase == broken && failures > 1 {
			return
		}
		if phase == serving && m.sync(ctx) == nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}
