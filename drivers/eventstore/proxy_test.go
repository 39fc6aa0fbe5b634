// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/internal/freeport"
)

// proxy stands between a store and a server and does what networks do.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	conns   map[net.Conn]bool
	held    bool // nothing passes
	refuses bool // connections are closed at once
	closed  bool
	// budgets: how many more bytes pass until all connections are cut, or held; below
	// zero: any number.
	up, down   int
	holdAtZero bool
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: target, conns: map[net.Conn]bool{}, up: -1, down: -1}
	p.changed = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.set(func() { p.closed, p.held = true, false })
		require.NoError(t, p.listener.Close())
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuses := p.refuses
		p.mu.Unlock()
		if refuses {
			_ = client.Close()
			continue
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	p.wait()
	server, err := net.Dial("tcp", p.target) //nolint:noctx // refused at once if nobody listens
	if err != nil {
		return
	}
	defer server.Close()
	p.set(func() { p.conns[client], p.conns[server] = true, true })
	defer p.set(func() { delete(p.conns, client); delete(p.conns, server) })
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, &p.up) })
	both.Go(func() { p.copy(client, server, &p.down) })
	both.Wait()
}

// copy passes bytes on while the network lets them.
func (p *proxy) copy(to, from net.Conn, budget *int) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		p.wait()
		if n > 0 {
			n = p.spend(n, budget)
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
			p.exhausted(budget)
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) spend(n int, budget *int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *budget < 0 || p.holdAtZero {
		return n
	}
	n = min(n, *budget)
	*budget -= n
	return n
}

// exhausted cuts or holds everything if the budget is used up.
func (p *proxy) exhausted(budget *int) {
	p.mu.Lock()
	if p.holdAtZero && *budget > 0 {
		if *budget -= 16 << 10; *budget <= 0 {
			*budget, p.held = -1, true
		}
	}
	spent := *budget == 0
	if spent {
		*budget = -1
	}
	p.mu.Unlock()
	if spent {
		p.cut()
	}
}

func (p *proxy) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held && !p.closed {
		p.changed.Wait()
	}
}

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// process is a server in a process of its own, to be killed and frozen.
type process struct {
	t             testing.TB
	address, data string
	cmd           *exec.Cmd
	stdin         io.Closer
}

func launch(t testing.TB) *process {
	t.Helper()
	return launchOn(t, t.TempDir())
}

// launchOn runs a server on a data directory.
func launchOn(t testing.TB, data string) *process {
	t.Helper()
	p := &process{t: t, address: freeport.Address(t), data: data}
	p.start()
	t.Cleanup(p.kill)
	return p
}

// start runs the server at the address that it had before.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.CommandContext(p.t.Context(), self(p.t), "server", p.address, p.data)
	stdin, err := p.cmd.StdinPipe()
	require.NoError(p.t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	line := make([]byte, 256)
	n, err := stdout.Read(line)
	require.NoError(p.t, err)
	p.address, p.stdin = strings.TrimSpace(string(line[:n])), stdin
}

// kill ends the server without warning.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	_ = p.cmd.Wait() // that it was killed
	_ = p.stdin.Close()
	p.cmd = nil
}

// end lets the server end by itself.
func (p *process) end() {
	p.t.Helper()
	require.NoError(p.t, p.stdin.Close())
	require.NoError(p.t, p.cmd.Wait())
	p.cmd = nil
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}
