// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// direction is a way through a proxy.
type direction int

const (
	up         direction = iota // from the host to the server
	down                        // back
	directions                  // how many there are
)

// proxy is the network between one host and one server. What it is given while
// that is cut arrives when it is mended, as with TCP, also when the sender has
// given up long since.
type proxy struct {
	addr, to string

	mu    sync.Mutex
	gates [directions]chan struct{} // closed: open
	delay time.Duration
	conns map[net.Conn]bool
	over  chan struct{}
}

func startProxy(t testing.TB, to string) *proxy {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: l.Addr().String(), to: to, conns: map[net.Conn]bool{}, over: make(chan struct{})}
	for i := range p.gates {
		p.gates[i] = make(chan struct{})
		close(p.gates[i])
	}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { p.connect(in, &passing) })
		}
	})
	t.Cleanup(func() {
		close(p.over)
		_ = l.Close()
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		passing.Wait()
	})
	return p
}

// cut holds back what goes in the given directions (none: both) until mend.
func (p *proxy) cut(ways ...direction) {
	if len(ways) == 0 {
		ways = []direction{up, down}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, way := range ways {
		if isOpen(p.gates[way]) {
			p.gates[way] = make(chan struct{})
		}
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, gate := range p.gates {
		if !isOpen(gate) {
			close(gate)
		}
	}
}

func isOpen(gate <-chan struct{}) bool {
	select {
	case <-gate:
		return true
	default:
		return false
	}
}

// pass waits until the way is open, and reports false at the end of the test.
func (p *proxy) pass(way direction) bool {
	p.mu.Lock()
	gate, delay := p.gates[way], p.delay
	p.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.over:
			return false
		}
	}
	select {
	case <-gate:
		return true
	case <-p.over:
		return false
	}
}

func (p *proxy) connect(in net.Conn, passing *sync.WaitGroup) {
	defer in.Close()
	if !p.keep(in) || !p.pass(up) || !p.pass(down) {
		return
	}
	out, err := net.DialTimeout("tcp", p.to, 5*time.Second) //nolint:noctx // it ends by itself
	if err != nil {
		return
	}
	defer out.Close()
	if !p.keep(out) {
		return
	}
	back := make(chan struct{})
	passing.Go(func() {
		defer close(back)
		p.copy(out, in, down)
	})
	p.copy(in, out, up)
	<-back
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, in)
	delete(p.conns, out)
}

// keep notes a connection to be closed at the end, and reports false if that has
// come.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.over:
		return false
	default:
		p.conns[c] = true
		return true
	}
}

func (p *proxy) copy(from, to net.Conn, way direction) {
	defer func() { _, _ = from.Close(), to.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if !p.pass(way) { // that the sender has hung up is not known over there either
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}
