// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long the package waits for a server to do something.
const patience = time.Minute

// process is one redis-server, as a server or as a Sentinel.
type process struct {
	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	output *bytes.Buffer
}

// start runs redis-server with a configuration file in dir.
func (p *process) start(t T, dir string, args ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	binary, err := exec.LookPath("redis-server")
	require.NoError(t, err, "redis-server is not installed: make deps")
	p.output = new(bytes.Buffer)
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	require.NoError(t, p.cmd.Start())
	exited, cmd := make(chan struct{}), p.cmd
	p.exited = exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is of no interest: it is killed more often than not
	}()
}

// signal sends a signal to the process.
func (p *process) signal(t T, s syscall.Signal) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotNil(t, p.cmd, "the server was never started")
	if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
}

// end sends a signal and waits until the process is gone.
func (p *process) end(t T, s syscall.Signal) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	p.signal(t, s)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.signal(t, syscall.SIGKILL)
		<-p.exited
		require.FailNow(t, "redis-server did not end on "+s.String())
	}
}

// log returns what the process has printed; only after it has ended.
func (p *process) log() string {
	select {
	case <-p.exited:
		return p.output.String()
	default:
		return "(running)"
	}
}

// Eventually waits until the condition gives nil.
func Eventually(t T, what string, condition func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			require.NoError(t, err, "waited %s: %s", patience, what)
		}
	}
}

// KillChild kills the process that saves the data of s.
func (s *Server) KillChild(t T) {
	t.Helper()
	s.process.mu.Lock()
	pid := s.process.cmd.Process.Pid
	s.process.mu.Unlock()
	Eventually(t, "the server has a child", func() error {
		list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			return err
		}
		var child int
		if _, err := fmt.Sscan(string(list), &child); err != nil {
			return err
		}
		return syscall.Kill(child, syscall.SIGKILL)
	})
}
