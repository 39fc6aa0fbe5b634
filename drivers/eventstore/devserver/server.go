// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// Server is a running development server. Its methods may be called at the same time.
type Server struct {
	options   Options
	log       *eventlog.Log
	users     users
	tls       *tls.Config
	ca        []byte
	faults    faultState
	cluster   cluster
	temporary string       // data directory to remove
	reported  atomic.Int64 // when a failure was logged, in nanoseconds since 1970

	restarts sync.WaitGroup
	closing  chan struct{}

	mu     sync.Mutex // guards starting and stopping of nodes
	closed bool
}

// ErrClosed is the error of calls on a server after Close.
var ErrClosed = errors.New("development server is closed")

// Start runs a server until Close. An error names what is wrong with the options, the address or the data directory.
func Start(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("start development server: %w", err)
	}
	s := &Server{options: o, users: newUsers(o), closing: make(chan struct{})}
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start development server: %w", err), s.Close())
	}
	o.Logger.Warn("EventStoreDB development server is running: for development and tests, not for production",
		zap.Strings("addresses", s.Addresses()), zap.String("data", o.Data), zap.Bool("tls", o.TLS), zap.String("imitates", Version))
	return s, nil
}

func (s *Server) start() (err error) {
	if s.tls, s.ca, err = serverTLS(s.options); err != nil {
		return err
	}
	dir := s.options.Data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "eventstore-dev-"); err != nil {
			return fmt.Errorf("make a data directory: %w", err)
		}
		s.temporary = dir
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if s.log, err = eventlog.Open(dir, s.options.RecentIDs); err != nil {
		return err
	}
	s.faults.set(s.options.Faults)
	return s.startNodes()
}

// startNodes takes all addresses before the first node answers, so that its gossip is complete.
func (s *Server) startNodes() error {
	s.cluster.electionTime = s.options.ElectionTime
	var listeners []net.Listener
	for i := range s.options.Nodes {
		n := &node{number: i, id: uuid.New()}
		address, err := nodeAddress(s.options.Listen, i)
		if err != nil {
			return err
		}
		l, err := n.listen(address)
		if err != nil {
			for _, l := range listeners {
				err = errors.Join(err, l.Close())
			}
			return err
		}
		listeners = append(listeners, l)
		s.cluster.add(n)
	}
	for i, m := range s.cluster.members {
		m.serve(s, listeners[i])
	}
	return nil
}

// Close cuts all connections, finishes the writes that were accepted, and closes the data file. Further calls do
// nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.closing)
	s.mu.Unlock()
	s.restarts.Wait()
	for _, m := range s.cluster.members {
		m.stop()
	}
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.temporary != "" {
		errs = append(errs, os.RemoveAll(s.temporary))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close development server: %w", err)
	}
	return nil
}

// URL is the connection string of the server: of its address, or of all of them if there are several nodes. For a
// server with TLS it holds neither credentials nor the certificate to trust; see CA.
func (s *Server) URL() string {
	return fmt.Sprintf("esdb://%s?tls=%t", strings.Join(s.Addresses(), ","), s.options.TLS)
}

// Addresses are those of the nodes, host:port, in the order of their numbers.
func (s *Server) Addresses() []string {
	var out []string
	for _, m := range s.cluster.members {
		out = append(out, m.address)
	}
	return out
}

// CA is in PEM what a client must trust, nil without TLS.
func (s *Server) CA() []byte { return slices.Clone(s.ca) }

// SetFaults replaces the faults in force.
func (s *Server) SetFaults(f Faults) error {
	if err := f.validate(); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	s.faults.set(f)
	return nil
}

// Leader is the number of the node that leads, false while none does.
func (s *Server) Leader() (int, bool) { return s.cluster.currentLeader() }

// StopNode makes a node vanish as if it were killed: its connections are cut, its address refuses new ones, and the
// others notice as described in the documentation. Stopping a stopped node does nothing.
func (s *Server) StopNode(number int) error {
	n, err := s.lockedNode(number)
	defer s.mu.Unlock()
	if err != nil || n.grpc == nil {
		return err
	}
	s.cluster.change(number, func(m *member) { m.stopped = true })
	n.stop()
	return nil
}

// StartNode brings a stopped node back at the same address, as a new instance and a follower if there is a leader.
// Starting a node that runs does nothing.
func (s *Server) StartNode(number int) error {
	n, err := s.lockedNode(number)
	defer s.mu.Unlock()
	if err != nil || n.grpc != nil {
		return err
	}
	return s.resume(n)
}

// lockedNode returns a node with s.mu locked, also on an error.
func (s *Server) lockedNode(number int) (*node, error) {
	s.mu.Lock()
	if s.closed {
		return nil, ErrClosed
	}
	if number < 0 || number >= len(s.cluster.members) {
		return nil, fmt.Errorf("there is no node %d: the nodes are 0 to %d", number, len(s.cluster.members)-1)
	}
	return s.cluster.members[number].node, nil
}
