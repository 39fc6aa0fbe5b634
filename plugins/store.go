// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
)

// Store is a store in a plugin. It outlives the processes that serve it: one
// that ends, is killed, or no longer answers is replaced by another, which opens
// the store with the same configuration. Safe for concurrent use.
//
// The calls in flight when a process is lost end at once, as on the wire: see
// [wire.Client]. A call that meets no process, or whose request has certainly not
// left, waits for the next one, no longer than Spec.WaitTimeout: a restart takes
// some ten milliseconds, and a call that waits for it needs no retry. While the
// plugin has failed (see [Failed]) calls are refused at once with Unavailable.
//
// What the store held only in memory is gone with the process, as its marks
// tell.
type Store struct {
	spec    Spec
	sockets *socketDir
	policy  restartPolicy

	life context.Context // done when the store is closed
	end  context.CancelFunc
	done chan struct{} // closed when nothing of the store is left
	look chan struct{} // asks for a ping now

	current atomic.Pointer[instance] // nil while there is none

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed at each change of current or status
	closing bool
}

var _ driver.Store = (*Store)(nil)

// Describe implements [driver.Store].
func (s *Store) Describe(ctx context.Context, req driver.DescribeRequest) (driver.DescribeResponse, error) {
	return call(ctx, s, "describe", req, (*wire.Client).Describe)
}

// Commit implements [driver.Store].
func (s *Store) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return call(ctx, s, "commit", req, (*wire.Client).Commit)
}

// Claim implements [driver.Store].
func (s *Store) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	return call(ctx, s, "claim", req, (*wire.Client).Claim)
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return call(ctx, s, "get", req, (*wire.Client).Get)
}

// List implements [driver.Store].
func (s *Store) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	return call(ctx, s, "list", req, (*wire.Client).List)
}

// Merge implements [driver.Store].
func (s *Store) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	return call(ctx, s, "merge", req, (*wire.Client).Merge)
}

// Epoch implements [driver.Store].
func (s *Store) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	return call(ctx, s, "epoch", req, (*wire.Client).Epoch)
}

// Advance implements [driver.Store].
func (s *Store) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return call(ctx, s, "advance", req, (*wire.Client).Advance)
}

// Probe implements [driver.Store].
func (s *Store) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	return call(ctx, s, "probe", req, (*wire.Client).Probe)
}

// Changes implements [driver.Store]. A feed does not go over to the next process:
// it breaks off with Unavailable.
func (s *Store) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	var refused error // by emit, which may use stores itself: not an error of this one
	_, err := call(ctx, s, "changes", req, func(c *wire.Client, ctx context.Context, req driver.ChangesRequest) (struct{}, error) {
		err := c.Changes(ctx, req, func(b driver.ChangeBatch) error {
			refused = emit(b)
			return refused
		})
		if refused != nil {
			err = nil
		}
		return struct{}{}, err
	})
	if refused != nil {
		return refused
	}
	return err
}

// Close implements [driver.Store]: it closes the store and ends the process,
// within ctx.
func (s *Store) Close(ctx context.Context) error {
	var err error
	if s.startClosing() {
		if i := s.current.Load(); i != nil {
			err = i.client.Close(ctx)
			if err != nil && ctx.Err() == nil && (errors.Is(err, wire.ErrNotSent) || i.gone(closeGrace)) {
				err = nil // the process has just gone, perhaps killed as it was frozen, and with it the store
			}
		}
		s.end()
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		s.end()
		if i := s.current.Load(); i != nil {
			_ = i.process.Kill(ctx)
		}
		wait(s.done, closeGrace)
	}
	return err
}

// closeGrace is how long Close waits for a process that it had to kill.
const closeGrace = 80 * time.Millisecond

// startClosing reports whether the caller is the one who closes the store.
func (s *Store) startClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.closing
	s.closing = true
	return !was
}

// Status returns how it stands with the plugin's process.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// call makes one call to the process there is, or the next.
func call[Req, Resp any](
	ctx context.Context, s *Store, op string, req Req, method func(*wire.Client, context.Context, Req) (Resp, error),
) (Resp, error) {
	var none Resp
	var lost *instance
	var limit <-chan time.Time
	for {
		i := s.current.Load()
		if i == nil || i == lost || s.life.Err() != nil {
			if limit == nil {
				limit = time.After(s.spec.WaitTimeout)
			}
			var err error
			if i, err = s.next(ctx, lost, limit); err != nil {
				return none, driver.In(err, s.spec.Link, op)
			}
		}
		resp, err := method(i.client, ctx, req)
		switch {
		case err == nil:
			return resp, nil
		case ctx.Err() != nil:
			s.lookNow() // it may be that the process no longer answers
		case errors.Is(err, wire.ErrNotSent) && errors.Is(err, driver.Unavailable):
			lost = i
			s.lookNow()
			continue
		}
		return none, err
	}
}

// lookNow makes the supervisor look after the process.
func (s *Store) lookNow() {
	select {
	case s.look <- struct{}{}:
	default: // it has been asked already
	}
}

// next waits for another process than lost.
func (s *Store) next(ctx context.Context, lost *instance, limit <-chan time.Time) (*instance, error) {
	for {
		s.mu.Lock()
		i, status, changed, closing := s.current.Load(), s.status, s.changed, s.closing
		s.mu.Unlock()
		switch {
		case closing:
			return nil, &driver.Error{Class: driver.Unavailable, Detail: "the store is closed"}
		case i != nil && i != lost:
			return i, nil
		case status.State == Failed:
			return nil, unavailable(status, "the plugin has failed too often; the next process is started at %s", status.Retry.Format(time.TimeOnly))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, driver.ContextError(ctx, false)
		case <-limit:
			return nil, unavailable(status, "no process of the plugin serves (%s)", status.State)
		}
	}
}

// unavailable is the error of a call that met no process. It tells why there is
// none, but the class of that is not the call's.
func unavailable(status Status, format string, args ...any) error {
	e := &driver.Error{Class: driver.Unavailable, Detail: fmt.Sprintf(format, args...)}
	if status.Err != nil {
		e.Cause = errors.New(status.Err.Error())
	}
	return e
}
