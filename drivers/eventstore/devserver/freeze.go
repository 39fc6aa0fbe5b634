// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// gate stands between a node and the network. While it is shut, nothing passes and no connection ends, as with a process
// that was stopped: clients can still connect and send, and get no answer.
type gate struct {
	shut atomic.Pointer[chan struct{}] // closed when the gate opens; nil: it is open
}

func (g *gate) close() {
	c := make(chan struct{})
	g.shut.CompareAndSwap(nil, &c)
}

func (g *gate) open() {
	if c := g.shut.Swap(nil); c != nil {
		close(*c)
	}
}

// gatedListener leads the connections of a listener through a gate.
type gatedListener struct {
	net.Listener
	gate   *gate
	once   sync.Once
	closed chan struct{}
}

func (l *gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatedConn{Conn: conn, listener: l, closed: make(chan struct{})}, nil
}

func (l *gatedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type gatedConn struct {
	net.Conn
	listener *gatedListener
	once     sync.Once
	closed   chan struct{}
}

// pass waits until the gate is open. It fails if the connection, or the node, ends before.
func (c *gatedConn) pass() error {
	shut := c.listener.gate.shut.Load()
	if shut == nil {
		return nil
	}
	select {
	case <-*shut:
		return nil
	case <-c.closed:
	case <-c.listener.closed:
	}
	return net.ErrClosed
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if shut := c.pass(); shut != nil {
		return 0, shut
	}
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// FreezeNode makes a node stop answering without ending a connection, as a process that got SIGSTOP. In a cluster the
// others notice as if it had been stopped. Freezing a node that is frozen or stopped does nothing.
func (s *Server) FreezeNode(number int) error {
	n, err := s.lockedNode(number)
	defer s.mu.Unlock()
	if err != nil || n.grpc == nil {
		return err
	}
	end, err := s.log.End()
	if err != nil {
		return err
	}
	leader, _ := s.cluster.currentLeader()
	n.gate.close()
	s.cluster.change(number, func(m *member) {
		if !m.frozen {
			m.frozen, m.led, m.seen = true, leader == number, end
		}
	})
	return nil
}

// ThawNode lets a frozen node go on. One that led when it froze, in a cluster that has another leader by now, takes
// itself for the leader during half of the election time: it knows nothing of what was written meanwhile, says so to
// whoever reads, and never answers a write. Then it names the leader, and after the election time it restarts itself.
func (s *Server) ThawNode(number int) error {
	n, err := s.lockedNode(number)
	defer s.mu.Unlock()
	if err != nil || n.grpc == nil {
		return err
	}
	leader, _ := s.cluster.currentLeader()
	s.cluster.change(number, func(m *member) {
		if m.frozen && m.led && leader != number {
			m.deposed = time.Now()
			s.restart(n)
		}
		m.frozen = false
	})
	n.gate.open()
	return nil
}

// ResignLeader makes the leader of a cluster step down: after an election another node leads, and this one follows.
// Nothing is done while there is no leader.
func (s *Server) ResignLeader() error {
	_, err := s.lockedNode(0)
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	s.cluster.resign()
	return nil
}

// restart ends and starts a node that finds out that it was deposed. The caller holds s.mu.
func (s *Server) restart(n *node) {
	s.restarts.Go(func() {
		timer := time.NewTimer(s.options.ElectionTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closing:
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || n.grpc == nil {
			return
		}
		n.stop()
		if err := s.resume(n); err != nil {
			s.options.Logger.Error("development server: a node did not come back", zap.String("address", n.address), zap.Error(err))
		}
	})
}

// resume starts a node that was stopped, at its address and as a new instance. The caller holds s.mu.
func (s *Server) resume(n *node) error {
	l, err := n.listen("")
	if err != nil {
		return err
	}
	s.cluster.change(n.number, func(m *member) {
		*m = member{node: n}
		n.id = uuid.New()
	})
	n.serve(s, l)
	return nil
}
