// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// sender combines the events of concurrent calls into appends: a lone call is sent
// at once, and what comes while as many appends as allowed are under way goes
// together once a place is free. It also leads the verdicts back to the calls.
type sender struct {
	machine *Machine

	mu       sync.Mutex
	queue    []*call
	inFlight int
	flights  map[driver.Token]*flight // by batch
	closed   bool
	proven   time.Time // when an append was last read back; zero: none was since one failed

	// local lets appends to a local log go one by one, so that what they know of the
	// log is fresh when they arrive.
	local sync.Mutex
}

// call is one append's worth of events on its way through the log. Its fields are
// guarded by sender.mu until done is closed.
type call struct {
	events   []Event
	size     int
	flight   *flight // nil while it waits in the queue
	gone     bool    // nobody waits for it any more
	verdicts []driver.Verdict
	err      error // instead of verdicts
	done     chan struct{}
}

// flight is an append that was sent.
type flight struct {
	id      driver.Token // of its batch
	calls   []*call
	waiting int             // calls somebody waits for
	ctx     context.Context // done once nobody waits
	cancel  context.CancelFunc
	next    uint32 // index of the next event to be decided
	current int    // the call that it belongs to
}

// cancellable makes the flight one that ends when nobody waits for it.
func (f *flight) cancellable(ctx context.Context) { f.ctx, f.cancel = context.WithCancel(ctx) }

// send takes events through the log and returns their verdicts. The error is
// [driver.Unknown] if the events may yet be applied; any other says they
// certainly were not.
func (s *sender) send(ctx context.Context, events []Event, size int) ([]driver.Verdict, error) {
	c := &call{events: events, size: size, done: make(chan struct{})}
	limits := &s.machine.limits
	if limits.Local {
		s.local.Lock()
		defer s.local.Unlock()
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed()
	}
	switch {
	case limits.Local:
		flight, batch := s.depart([]*call{c})
		s.mu.Unlock()
		s.append(flight, batch)
	case s.inFlight < limits.InFlight:
		s.inFlight++
		s.queue = append(s.queue, c)
		s.machine.wg.Go(s.run)
		s.mu.Unlock()
	default:
		s.queue = append(s.queue, c)
		s.mu.Unlock()
	}
	select {
	case <-c.done:
		return c.verdicts, c.err
	case <-ctx.Done():
		return s.leave(ctx, c)
	}
}

// leave ends the wait for a call whose ctx is done.
func (s *sender) leave(ctx context.Context, c *call) ([]driver.Verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-c.done:
		return c.verdicts, c.err
	default:
	}
	c.gone = true
	if c.flight == nil {
		return nil, driver.ContextError(ctx, false)
	}
	s.proven = time.Time{} // it has taken too long
	if c.flight.waiting--; c.flight.waiting == 0 {
		c.flight.cancel()
		delete(s.flights, c.flight.id)
	}
	return nil, driver.ContextError(ctx, true)
}

// run sends what is queued, one append after the other, until nothing is left.
func (s *sender) run() {
	for {
		s.mu.Lock()
		calls := s.take()
		if len(calls) == 0 {
			s.inFlight--
			s.mu.Unlock()
			return
		}
		f, events := s.depart(calls)
		f.cancellable(s.machine.ctx)
		s.mu.Unlock()
		s.append(f, events)
	}
}

// take takes the calls of one append from the queue. The caller holds s.mu.
func (s *sender) take() []*call {
	events, size, n := 0, 0, 0
	var calls []*call
	for _, c := range s.queue {
		if !c.gone {
			if len(calls) > 0 && (events+len(c.events) > s.machine.limits.Events || size+c.size > s.machine.limits.Bytes) {
				break
			}
			events, size = events+len(c.events), size+c.size
			calls = append(calls, c)
		}
		s.queue[n] = nil
		n++
	}
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
	return calls
}

// depart makes calls one flight and returns its events. The caller holds s.mu.
func (s *sender) depart(calls []*call) (*flight, []Event) {
	batch := &Batch{ID: driver.NewToken(), Time: driver.Millis(s.machine.clock.Now())}
	f := &flight{id: batch.ID, calls: calls, waiting: len(calls), ctx: s.machine.ctx, cancel: func() {}}
	events := calls[0].events
	if len(calls) > 1 {
		events = nil
	}
	for _, c := range calls {
		c.flight = f
		if origin := c.events[0].Origin; origin.After == 0 { // all events of a call share it
			origin.After = Position(s.machine.next.Load())
		}
		if len(calls) > 1 {
			events = append(events, c.events...)
		}
	}
	for i := range events {
		events[i].Index = uint32(i)
		events[i].Origin.Batch = batch
	}
	s.flights[batch.ID] = f
	return f, events
}

// append sends a flight and sees to it that its calls end also when the events
// never arrive.
func (s *sender) append(f *flight, events []Event) {
	err := s.machine.log.Append(f.ctx, events)
	switch {
	case err == nil:
	case driver.ClassOf(err) != driver.Unknown:
		s.fail(f, err)
	default:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.machine.wg.Go(func() {
				s.machine.settle(f.ctx)
				s.fail(f, err)
			})
		}
	}
}

// fail ends those calls of a flight that have no verdict yet.
func (s *sender) fail(f *flight, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(f, err)
}

// end is fail for a caller that holds s.mu.
func (s *sender) end(f *flight, err error) {
	s.proven = time.Time{}
	if err == nil {
		s.proven = time.Now()
	}
	delete(s.flights, f.id)
	for _, c := range f.calls[f.current:] {
		c.err = err
		close(c.done)
	}
	f.current = len(f.calls)
	f.cancel()
}

// decided leads the verdict of an event back to its call. The caller holds s.mu.
func (s *sender) decided(f *flight, index uint32, v driver.Verdict) {
	if index != f.next {
		return // it stands twice in the log
	}
	f.next++
	c := f.calls[f.current]
	if c.verdicts == nil {
		c.verdicts = make([]driver.Verdict, 0, len(c.events))
	}
	c.verdicts = append(c.verdicts, v)
	if len(c.verdicts) < len(c.events) {
		return
	}
	close(c.done)
	if f.current++; f.current == len(f.calls) {
		s.end(f, nil)
	}
}

// provenWithin reports whether an append was read back in the last d, and nothing
// has failed since.
func (s *sender) provenWithin(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.proven.IsZero() && time.Since(s.proven) < d
}

// disprove forgets that an append was read back.
func (s *sender) disprove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proven = time.Time{}
}

// close ends all calls: those that were sent may yet be applied.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.queue {
		if !c.gone {
			c.err = errClosed()
			close(c.done)
		}
	}
	s.queue = nil
	s.failAll("the store was closed before the answer came")
}

// failAll ends the calls of all flights as Unknown. The caller holds s.mu.
func (s *sender) failAll(detail string) {
	for _, f := range s.flights {
		s.end(f, &driver.Error{Class: driver.Unknown, Detail: detail})
	}
}

func errClosed() error {
	return &driver.Error{Class: driver.Unavailable, Detail: "the store is closed"}
}
