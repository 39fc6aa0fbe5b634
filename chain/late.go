// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// late is the store of a link whose driver could not be started, or did not say
// what it is, while a chain with Config.StartDegraded was opened. Until it has, each
// call is refused, so that the link is to the chain like one that is down.
type late struct {
	ready atomic.Pointer[driver.Store] // nil until the driver has said what it is

	mu     sync.Mutex
	store  driver.Store // nil until it is open
	why    error        // it is not ready
	closed bool
}

// present returns the store if it is ready, else why it is not. The class of that
// is not the class of the refusal, which can pass.
func (s *late) present() (driver.Store, error) {
	if store := s.ready.Load(); store != nil {
		return *store, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return nil, &driver.Error{Class: driver.Unavailable, Cause: errors.New(s.why.Error()),
		Detail: "its driver has not been started yet, or has not said what it is; it is tried again"}
}

// onLate makes a call if the store is ready.
func onLate[Q, R any](ctx context.Context, s *late, call func(driver.Store, context.Context, Q) (R, error), req Q) (R, error) {
	store, err := s.present()
	if err != nil {
		var none R
		return none, err
	}
	return call(store, ctx, req)
}

func (s *late) Describe(ctx context.Context, req driver.DescribeRequest) (driver.DescribeResponse, error) {
	return onLate(ctx, s, driver.Store.Describe, req)
}

func (s *late) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return onLate(ctx, s, driver.Store.Commit, req)
}

func (s *late) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	return onLate(ctx, s, driver.Store.Claim, req)
}

func (s *late) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return onLate(ctx, s, driver.Store.Get, req)
}

func (s *late) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	return onLate(ctx, s, driver.Store.List, req)
}

func (s *late) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	return onLate(ctx, s, driver.Store.Merge, req)
}

func (s *late) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	return onLate(ctx, s, driver.Store.Epoch, req)
}

func (s *late) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return onLate(ctx, s, driver.Store.Advance, req)
}

func (s *late) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	return onLate(ctx, s, driver.Store.Probe, req)
}

func (s *late) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	store, err := s.present()
	if err != nil {
		return err
	}
	return store.Changes(ctx, req, emit)
}

// Close closes the store if it is open, also one that is not ready. One that is
// opened afterwards is closed at once.
func (s *late) Close(ctx context.Context) error {
	s.mu.Lock()
	store := s.store
	s.closed = true
	s.mu.Unlock()
	if store == nil {
		return nil
	}
	return store.Close(ctx)
}

// opened takes the store in, and returns false if nobody wants it any more.
func (s *late) opened(store driver.Store) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.store = store
	return true
}

// failed keeps why the store is not ready, and returns whether that is news: of
// another class than before.
func (s *late) failed(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := driver.ClassOf(err) != driver.ClassOf(s.why)
	s.why = err
	return news
}

// mayPass reports whether err, of a driver that could not be started or did not
// say what it is, is of the kind that another attempt may mend. What remains is
// a mistake in the configuration or the installation.
func mayPass(err error) bool {
	class := driver.ClassOf(err)
	return class == driver.Unavailable || class == driver.Unknown
}

// awaitDriver lets the chain open without the driver of l, which failed with err,
// and goes on trying. The store of l is nil if it could not even be opened.
func (c *Chain) awaitDriver(l *link, config Link, err error) {
	s := &late{store: l.store, why: err}
	l.store, l.owned = s, config.Store == nil
	l.failed(err)
	c.log.Error("a driver cannot be started, or does not say what it is: its link counts as down, and it is tried again",
		zap.String("link", l.name), zap.Error(err))
	c.background(func() { c.introduce(l, config, s) })
}

// introduce tries until the driver of l has said what it is, or the chain is
// closed. A driver that hangs is waited for: another call would hang as well.
func (c *Chain) introduce(l *link, config Link, s *late) {
	for n, wait := 1, c.policy().pause(0); ; n++ {
		if pause(c.ctx, c.ctx, wait); c.ctx.Err() != nil {
			return
		}
		wait = c.policy().pause(n)
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			err = c.introduceOnce(l, config, s)
		}()
		select {
		case <-done:
			switch {
			case err == nil:
				c.log.Info("the driver has been started: its link can be used", zap.String("link", l.name),
					zap.String("driver", l.about().Driver), zap.String("version", l.about().Version))
				return
			case c.ctx.Err() != nil:
			case s.failed(err) && !mayPass(err):
				c.log.Error("a link cannot be used: correct its configuration or its installation; it is tried again",
					zap.String("link", l.name), zap.Error(err))
			}
			if !mayPass(err) {
				wait = jitter(openTime) // nobody corrects that within a second
			}
		case <-c.ctx.Done():
			select { // it may be about to close what it has opened
			case <-done:
			case <-time.After(2 * grace):
			}
			return
		}
	}
}

// introduceOnce opens the store unless it is open, and asks it what it is.
func (c *Chain) introduceOnce(l *link, config Link, s *late) error {
	ctx, cancel := context.WithTimeout(c.ctx, openTime)
	defer cancel()
	store := s.store // nobody else sets it
	if store == nil {
		opened, err := c.openStore(ctx, config)
		if err != nil {
			return driver.In(err, l.name, "open")
		}
		if !s.opened(opened) {
			c.closeStore(opened)
			return ErrClosed
		}
		store = opened
	}
	about, err := store.Describe(ctx, driver.DescribeRequest{})
	if err != nil {
		return driver.In(err, l.name, "describe")
	}
	if err := c.admit(l, &about); err != nil {
		return err
	}
	s.ready.Store(&store)
	return nil
}

// admit makes l a link that can be used, unless it does not suit the chain. Where
// the protection of two links does not go together, the later one to say what it
// is is refused.
func (c *Chain) admit(l *link, about *driver.DescribeResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := []error{c.suits(l, about)}
	for _, other := range c.links {
		if l == c.links[0] && other.described() {
			errs = append(errs, c.protects(other, other.about(), about))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	l.said.Store(about)
	return nil
}
