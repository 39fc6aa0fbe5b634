// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Model is the reference: the simplest store that keeps the contract. It is one
// mutex around one map, shares no code with the drivers, and writes out the
// decisions that drivers take from helper functions of package driver, so that
// it does not share their faults. It is a memory of the process, and slow for
// many records.
//
// Several connections to the same data come from [Model.Connect]. It declares
// [driver.CapChanges] and [driver.CapShared]. All methods are safe for
// concurrent use.
type Model struct {
	now func() time.Time

	mu      sync.Mutex
	state   *state
	changed chan struct{} // closed and replaced at each change
}

// NewModel returns an empty Model that takes its time from now; nil means
// time.Now. now is called with a lock held and must not call the Model.
func NewModel(now func() time.Time) *Model {
	if now == nil {
		now = time.Now
	}
	return &Model{now: now, state: newState(), changed: make(chan struct{})}
}

// Connect returns a new connection to the data of m. Closing it leaves the data
// and the other connections as they are.
func (m *Model) Connect() driver.Store {
	return &connection{model: m, closed: make(chan struct{})}
}

// TrimChanges forgets the history of changes: every cursor given before is
// [driver.CursorLost] from now on, except those at the present end.
func (m *Model) TrimChanges() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.trimmed += len(m.state.changes)
	m.state.changes = nil
}

// Snapshot returns a function that puts the data back to what it is now, as a
// store does that restarts from an old copy. Connections stay open.
func (m *Model) Snapshot() (restore func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	saved := m.state.fork()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.state = saved.fork()
		m.signal()
	}
}

// Restart begins another incarnation with the data as it is, as a store does that
// may have gone back when it restarted: whoever has seen more of a former
// incarnation than is there now gets [driver.Lost], others go on. Cursors given
// before are [driver.CursorLost]. Connections stay open.
func (m *Model) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.former = append(m.state.former, m.state.mark)
	m.state.mark.Incarnation = rand.Uint64() | 1
	m.signal()
}

// Erase empties the store, as one does that restarts without its data: all
// records, the epoch and the marks are gone. Connections stay open.
func (m *Model) Erase() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = newState()
	m.signal()
}

// signal wakes the feeds; m.mu is held.
func (m *Model) signal() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// connection is one opened store on a Model.
type connection struct {
	model  *Model
	closed chan struct{}
	mu     sync.Mutex     // orders the begin of a feed against Close
	feeds  sync.WaitGroup // in flight
}

var _ driver.Store = (*connection)(nil)

// call runs do on the state, with the time of the call, unless the connection is
// closed or ctx done. It is where all methods but Changes meet ctx and Close:
// do never waits.
func call[R any](ctx context.Context, c *connection, op string, do func(s *state, now time.Time) (R, error)) (R, error) {
	var none R
	if err := c.refuses(ctx); err != nil {
		return none, driver.In(err, "model", op)
	}
	m := c.model
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.state.sweep(now)
	before := m.state.mark.Sequence
	resp, err := do(m.state, now)
	if m.state.mark.Sequence != before {
		m.signal()
	}
	if err != nil {
		return none, driver.In(err, "model", op)
	}
	return resp, nil
}

// refuses returns why c takes no call: it is closed, or ctx is done.
func (c *connection) refuses(ctx context.Context) error {
	select {
	case <-c.closed:
		return errClosed()
	default:
	}
	if ctx.Err() != nil {
		return driver.ContextError(ctx, false)
	}
	return nil
}

func errClosed() error { return refused(driver.Unavailable, "the store is closed") }

// Describe implements [driver.Store].
func (c *connection) Describe(ctx context.Context, _ driver.DescribeRequest) (driver.DescribeResponse, error) {
	return call(ctx, c, "describe", func(*state, time.Time) (driver.DescribeResponse, error) {
		return driver.DescribeResponse{
			Driver: "model", Version: "1", Contract: driver.Contract,
			Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared}, Protection: driver.Local,
		}, nil
	})
}

// Commit implements [driver.Store].
func (c *connection) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return call(ctx, c, "commit", func(s *state, now time.Time) (driver.CommitResponse, error) {
		return s.commit(req, now)
	})
}

// Claim implements [driver.Store].
func (c *connection) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	return call(ctx, c, "claim", func(s *state, now time.Time) (driver.ClaimResponse, error) {
		return s.claim(req, now, earliest)
	})
}

// Get implements [driver.Store].
func (c *connection) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return call(ctx, c, "get", func(s *state, now time.Time) (driver.GetResponse, error) {
		return s.get(req, now)
	})
}

// List implements [driver.Store].
func (c *connection) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	return call(ctx, c, "list", func(s *state, now time.Time) (driver.ListResponse, error) {
		return s.list(req, now)
	})
}

// Merge implements [driver.Store].
func (c *connection) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	return call(ctx, c, "merge", func(s *state, now time.Time) (driver.MergeResponse, error) {
		return s.merge(req, now)
	})
}

// Epoch implements [driver.Store].
func (c *connection) Epoch(ctx context.Context, _ driver.EpochRequest) (driver.EpochResponse, error) {
	return call(ctx, c, "epoch", func(s *state, now time.Time) (driver.EpochResponse, error) {
		return driver.EpochResponse{Receipt: s.receipt(now), Epoch: s.epoch.Clone()}, nil
	})
}

// Advance implements [driver.Store].
func (c *connection) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return call(ctx, c, "advance", func(s *state, now time.Time) (driver.AdvanceResponse, error) {
		return s.advance(req, now)
	})
}

// Probe implements [driver.Store].
func (c *connection) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	return call(ctx, c, "probe", func(s *state, now time.Time) (driver.ProbeResponse, error) {
		if err := s.seen(req.Seen); err != nil {
			return driver.ProbeResponse{}, err
		}
		s.probe = driver.NewToken()
		return driver.ProbeResponse{
			Receipt: s.receipt(now), Role: "model", Generation: fmt.Sprintf("%x", s.mark.Incarnation),
			Durability: "nothing survives the end of the process",
			Records:    int64(len(s.records)), UsedBytes: -1, LimitBytes: -1,
		}, nil
	})
}

// Close implements [driver.Store].
func (c *connection) Close(ctx context.Context) error {
	c.mu.Lock()
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	c.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		c.feeds.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return driver.In(driver.ContextError(ctx, true), "model", "close")
	}
}
