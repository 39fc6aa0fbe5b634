// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes connections on. It can be frozen, like a stopped process, or swallow
// what it is given while both ends believe in the connection.
type proxy struct {
	addr    string
	swallow atomic.Bool

	mu    sync.Mutex
	gate  chan struct{} // closed: open
	conns []net.Conn
	over  chan struct{}
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: l.Addr().String(), gate: make(chan struct{}), over: make(chan struct{})}
	close(p.gate)
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			var dialer net.Dialer
			out, err := dialer.DialContext(t.Context(), "tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			passing.Go(func() { p.pass(in, out) })
			passing.Go(func() { p.pass(out, in) })
		}
	})
	t.Cleanup(func() {
		close(p.over)
		require.NoError(t, l.Close())
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		passing.Wait()
	})
	return p
}

// freeze holds everything back until thaw is called.
func (p *proxy) freeze() (thaw func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gate := make(chan struct{})
	p.gate = gate
	return sync.OnceFunc(func() { close(gate) })
}

func (p *proxy) pass(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		select {
		case <-gate:
		case <-p.over:
			return
		}
		if p.swallow.Load() {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}
