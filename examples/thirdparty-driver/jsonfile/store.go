// SPDX-License-Identifier: Apache-2.0

package jsonfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Store is an opened file. One goroutine makes all changes: it takes whatever
// waits, applies it to a copy, saves the copy, and only then shows it. So what
// anybody has seen is on the disk, and many callers share one write.
type Store struct {
	driver.NoChanges // Changes is Unsupported: CapChanges is not declared

	file    *file
	content atomic.Pointer[content] // never changed in place
	changes chan *change
	closing chan struct{}
	close   sync.Once
	closed  chan struct{} // the goroutine has ended
}

var _ driver.Store = (*Store)(nil)

// change is a mutation that waits for its turn.
type change struct {
	ctx   context.Context
	apply func(c *content, now time.Time) error
	done  chan error // gets one error, or nil
}

func start(f *file, held *content) *Store {
	s := &Store{file: f, changes: make(chan *change), closing: make(chan struct{}), closed: make(chan struct{})}
	s.content.Store(held)
	go s.serve()
	return s
}

// serve makes changes until the store is closed.
func (s *Store) serve() {
	defer close(s.closed)
	defer s.file.release()
	for {
		select {
		case first := <-s.changes:
			s.make(append([]*change{first}, s.waiting()...))
		case <-s.closing:
			return
		}
	}
}

// waiting returns the changes that wait already.
func (s *Store) waiting() []*change {
	var all []*change
	for {
		select {
		case c := <-s.changes:
			all = append(all, c)
		default:
			return all
		}
	}
}

// make applies changes and saves the result, once for all of them.
func (s *Store) make(all []*change) {
	now := time.Now()
	next := s.content.Load().copy(now)
	begun := next.Sequence
	errs := make([]error, len(all))
	for i, c := range all {
		if c.ctx.Err() != nil { // its caller has gone
			errs[i] = driver.ContextError(c.ctx, false)
			continue
		}
		errs[i] = c.apply(next, now)
	}
	if next.Sequence != begun {
		if err := s.file.save(next); err != nil {
			for _, c := range all {
				c.done <- err
			}
			return
		}
	}
	s.content.Store(next)
	for i, c := range all {
		c.done <- errs[i]
	}
}

// mutate has a change made and waits for it. It keeps to ctx: what has not been
// handed over has no effect, what has may have one. apply may run on when mutate
// has returned, so it must hold nothing that is the caller's.
func mutate[R any](ctx context.Context, s *Store, op string, apply func(c *content, now time.Time) (R, error)) (R, error) {
	var none R
	if err := s.refuses(ctx); err != nil {
		return none, driver.In(err, name, op)
	}
	resp := new(R)
	c := &change{ctx: ctx, done: make(chan error, 1), apply: func(c *content, now time.Time) (err error) {
		*resp, err = apply(c, now)
		return err
	}}
	select {
	case s.changes <- c:
	case <-s.closing:
		return none, driver.In(errClosed(), name, op)
	case <-ctx.Done():
		return none, driver.In(driver.ContextError(ctx, false), name, op)
	}
	select {
	case err := <-c.done:
		if err != nil {
			return none, driver.In(err, name, op)
		}
		return *resp, nil
	case <-ctx.Done():
		return none, driver.In(driver.ContextError(ctx, true), name, op)
	}
}

// refuses says why the store takes no call.
func (s *Store) refuses(ctx context.Context) error {
	select {
	case <-s.closing:
		return errClosed()
	default:
	}
	if ctx.Err() != nil {
		return driver.ContextError(ctx, false)
	}
	return nil
}

func errClosed() error {
	return &driver.Error{Class: driver.Unavailable, Detail: "the store is closed"}
}

// Close implements driver.Store. The change that is being made comes to its end;
// those that wait are refused.
func (s *Store) Close(ctx context.Context) error {
	s.close.Do(func() { close(s.closing) })
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return driver.In(driver.ContextError(ctx, true), name, "close")
	}
}

// Probe implements driver.Store.
func (s *Store) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	if err := s.refuses(ctx); err != nil {
		return driver.ProbeResponse{}, driver.In(err, name, "probe")
	}
	held, now := s.content.Load(), time.Now()
	if err := held.marks().Check(req.Seen); err != nil {
		return driver.ProbeResponse{}, driver.In(err, name, "probe")
	}
	if err := s.writeAndRead(); err != nil {
		return driver.ProbeResponse{}, ioError(err, "probe")
	}
	resp := driver.ProbeResponse{
		Receipt: held.receipt(now), Role: "file", Generation: "1",
		Durability: "every change is on the disk, as far as the disk keeps what was synced",
		Records:    int64(held.count(now)), LimitBytes: -1, UsedBytes: -1,
	}
	if info, err := os.Stat(s.file.path); err == nil {
		resp.UsedBytes = info.Size()
	}
	return resp, nil
}

// writeAndRead writes a value beside the file and reads it back.
func (s *Store) writeAndRead() error {
	f, err := os.CreateTemp(filepath.Dir(s.file.path), "probe-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := f.Close(); err != nil {
		return err
	}
	wrote := []byte(driver.NewToken().String())
	if err := writeSynced(f.Name(), wrote); err != nil {
		return err
	}
	read, err := os.ReadFile(f.Name())
	if err == nil && !bytes.Equal(read, wrote) {
		err = os.ErrInvalid
	}
	return err
}
