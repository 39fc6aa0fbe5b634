// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	features "github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/driver"
)

// searchPause is the least time between two searches for the leader.
const searchPause = 100 * time.Millisecond

// handle gives calls a connection to the node that leads, and another one once
// that is no longer so.
//
// It speaks through the generated stubs of the official client and not through its
// Client, which is closed for good about a second after its server goes away,
// blocks callers for ever when that happens under load, leaks a connection each
// time, and looks for a server without regard to the callers' contexts. gRPC
// itself has none of these faults: it connects anew by itself, and the context of
// a call always wins.
type handle struct {
	config *Config
	logger *slog.Logger
	ctx    context.Context //nolint:containedctx // the life of the handle
	cancel context.CancelFunc
	wg     sync.WaitGroup
	lookup func(ctx context.Context, host string) ([]string, error) // the addresses of a name

	mu       sync.Mutex
	session  *session
	search   *search // under way
	searched time.Time
	reason   error // why there is no session
	gossip   bool  // the only host that is known was once not the leader
	closed   bool
}

// session is a connection to one node, which gRPC establishes and, while nothing but
// that is needed, anew after each break.
type session struct {
	address  string
	conn     *grpc.ClientConn
	streams  streams.StreamsClient
	features features.ServerFeaturesClient

	heard    atomic.Int64 // when the server was last heard, in nanoseconds since 1970
	checking atomic.Bool
}

// hear notes that the server is alive.
func (s *session) hear() { s.heard.Store(time.Now().UnixNano()) }

// search is a look for the leader that callers share.
type search struct {
	done    chan struct{}
	session *session
	err     error
}

func newHandle(c *Config, logger *slog.Logger) *handle {
	h := &handle{config: c, logger: logger, lookup: net.DefaultResolver.LookupHost, gossip: c.Discover || len(c.Hosts) > 1}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// acquire returns the session to use, looking for the leader if there is none.
func (h *handle) acquire(ctx context.Context) (*session, error) {
	h.mu.Lock()
	switch {
	case h.closed:
		h.mu.Unlock()
		return nil, &driver.Error{Class: driver.Unavailable, Detail: "the store is closed"}
	case h.session != nil:
		defer h.mu.Unlock()
		return h.session, nil
	case h.search == nil && time.Since(h.searched) < searchPause && h.reason != nil:
		defer h.mu.Unlock()
		return nil, h.reason
	case h.search == nil:
		h.search = &search{done: make(chan struct{})}
		h.searched = time.Now()
		h.wg.Go(h.find)
	}
	s := h.search
	h.mu.Unlock()
	select {
	case <-s.done:
		return s.session, s.err
	case <-ctx.Done():
		return nil, driver.ContextError(ctx, false)
	}
}

// find makes a session and ends the search.
func (h *handle) find() {
	h.mu.Lock()
	s, gossip := h.search, h.gossip
	h.mu.Unlock()
	address, err := h.config.Hosts[0], error(nil)
	if gossip {
		address, err = h.leader(h.ctx)
	}
	if err == nil {
		s.session, err = h.connect(address)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.err = err; err != nil {
		h.reason = err
	} else if h.closed {
		_ = s.session.conn.Close() // nothing was sent over it
		s.session, s.err = nil, &driver.Error{Class: driver.Unavailable, Detail: "the store is closed"}
	}
	h.session, h.search = s.session, nil
	close(s.done)
}

func (h *handle) connect(address string) (*session, error) {
	conn, err := h.config.dial(address, address)
	if err != nil {
		return nil, err
	}
	return &session{address: address, conn: conn, streams: streams.NewStreamsClient(conn), features: features.NewServerFeaturesClient(conn)}, nil
}

// discard ends a session: calls that still use it fail.
func (h *handle) discard(s *session, reason error) {
	h.mu.Lock()
	current := h.session == s
	if current {
		h.session, h.reason = nil, reason
	}
	h.mu.Unlock()
	if current {
		h.logger.Info("the connection to the server is given up", "address", s.address, "reason", reason)
		_ = s.conn.Close() // what it could say is known
	}
}

// failed makes the error of a call out of what it returned, and draws the
// consequences for the session. caller is the context that the call was asked for
// with, call the one it was made with.
func (h *handle) failed(caller, call context.Context, s *session, f *fault, mayHaveEffect bool) error {
	if e := ended(caller, call, f.late, mayHaveEffect); e != nil {
		return e.error
	}
	h.mu.Lock()
	if f.moved {
		h.gossip = true
	}
	// gRPC connects again by itself, but to the same node and with the certificates
	// that it was given.
	lasting := !h.gossip && h.config.TLS == nil
	h.mu.Unlock()
	if f.moved || f.rejected || f.broken && !lasting {
		h.discard(s, f.error)
	}
	return f.error
}

// watch asks the server for a sign of life once a call has waited too long, and
// again while it waits. The result ends that.
func (h *handle) watch(s *session) (stop func()) {
	patience := time.Duration(h.config.ResponseTimeout)
	var mu sync.Mutex
	stopped := false
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(patience, func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			h.check(s)
			timer.Reset(patience)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// check gives a session up unless its server answers in time, or is heard on
// another call meanwhile. Checks of one session are made one at a time.
func (h *handle) check(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.session != s || !s.checking.CompareAndSwap(false, true) {
		return
	}
	h.wg.Go(func() {
		defer s.checking.Store(false)
		began := time.Now()
		ctx, cancel := context.WithTimeout(h.ctx, time.Duration(h.config.ResponseTimeout))
		defer cancel()
		_, err := s.features.GetSupportedMethods(ctx, &shared.Empty{})
		if err != nil && ctx.Err() != nil && h.ctx.Err() == nil && s.heard.Load() < began.UnixNano() {
			h.discard(s, &driver.Error{Class: driver.Unavailable, Detail: "the server at " + s.address + " does not answer"})
		}
	})
}

// close ends all calls, and waits within ctx for what goes on in the background.
func (h *handle) close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	s := h.session
	h.session = nil
	h.mu.Unlock()
	h.cancel()
	var err error
	if s != nil {
		err = s.conn.Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return errors.Join(err, driver.ContextError(ctx, false))
	}
	if err != nil {
		return &driver.Error{Class: driver.Internal, Detail: "close the connection", Cause: err}
	}
	return nil
}
