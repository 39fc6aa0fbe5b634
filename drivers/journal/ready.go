// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// serve waits until the machine serves: not at all while it is broken, and only
// for a moment after it was opened.
func (m *Machine) serve(ctx context.Context) error {
	if ctx.Err() != nil {
		return driver.ContextError(ctx, false)
	}
	for {
		m.mu.RLock()
		err := m.unfit()
		m.mu.RUnlock()
		if err == nil {
			return nil
		}
		changed := m.changed.wait()
		m.mu.RLock()
		err = m.unfit()
		patience := grace - time.Since(m.state.opened)
		hopeful := m.state.phase == starting && patience > 0
		m.mu.RUnlock()
		if err == nil || !hopeful {
			return err
		}
		timer := time.NewTimer(patience)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return driver.ContextError(ctx, false)
		}
		timer.Stop()
	}
}

// Ready waits until the machine has caught up with its log; the error is that of
// ctx or [driver.Unavailable] once the machine is closed.
func (m *Machine) Ready(ctx context.Context) error {
	for {
		changed := m.changed.wait()
		m.mu.RLock()
		phase := m.state.phase
		m.mu.RUnlock()
		switch phase {
		case serving:
			return nil
		case closed:
			return m.label(errClosed(), "open")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return m.label(driver.ContextError(ctx, false), "open")
		}
	}
}

// unfit returns why the machine does not serve, nil if it does. The caller holds
// m.mu.
func (m *Machine) unfit() error {
	s := &m.state
	switch s.phase {
	case serving:
		return nil
	case closed:
		return errClosed()
	case broken:
		return &driver.Error{Class: driver.Unavailable, Detail: "the journal cannot be followed", Cause: s.err}
	}
	done, total := s.replay(m.replica.next)
	return &driver.Error{Class: driver.Unavailable,
		Detail: fmt.Sprintf("the journal is being applied: replayed %d of %d events", done, total)}
}
