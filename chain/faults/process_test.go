// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/internal/freeport"
)

// process is this binary in another role.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; set before exited is closed
}

// prepare returns a command that ends with this process.
func prepare(role, stderr string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(stderr, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...) //nolint:noctx // it is ended by a signal
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

func (p *process) start() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.exited = make(chan struct{})
	go func() {
		p.err = p.cmd.Wait()
		if out, ok := p.cmd.Stderr.(io.Closer); ok {
			_ = out.Close()
		}
		close(p.exited)
	}()
	return nil
}

func (p *process) lives() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(s))
}

// kill ends the process at once and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// eventStore is the development Event Store as a process of its own.
type eventStore struct {
	*process
	addr, dir string
}

func startEventStore(t testing.TB, dir string) *eventStore {
	t.Helper()
	e := &eventStore{addr: freeport.Address(t), dir: dir}
	e.start(t)
	t.Cleanup(func() { e.kill() })
	return e
}

// start starts the server with the data it has, at the address it had.
func (e *eventStore) start(t testing.TB) {
	t.Helper()
	cmd, err := prepare("eventstore", filepath.Join(e.dir, "eventstore.log"), "-listen", e.addr, "-data", filepath.Join(e.dir, "eventstore"))
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	e.process = &process{cmd: cmd}
	// What it prints is read before Wait closes the pipe.
	require.NoError(t, cmd.Start())
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	e.exited = make(chan struct{})
	go func() {
		e.err = cmd.Wait()
		close(e.exited)
	}()
	require.NoError(t, readErr, "the Event Store has not started: see %s", filepath.Join(e.dir, "eventstore.log"))
	addr, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "esdb://"), "?")
	e.addr = addr
}

// hostProcess is a host, with the network it sees.
type hostProcess struct {
	*process
	name          string
	stdin         io.WriteCloser
	journal, log  string
	redis, events *proxy // nil: it reaches the server itself

	read int64
	told []entry
}

func (h *hostProcess) start(t testing.TB, config *hostConfig) {
	t.Helper()
	cmd, err := prepare("host", h.log)
	require.NoError(t, err)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	h.process, h.stdin = &process{cmd: cmd}, stdin
	require.NoError(t, h.process.start())
	t.Cleanup(h.kill)
	text, err := json.Marshal(config)
	require.NoError(t, err)
	_, err = stdin.Write(append(text, '\n'))
	require.NoError(t, err)
}

// entries returns what the host has written so far. A last line that was cut off
// by a kill is left out.
func (h *hostProcess) entries(t testing.TB) []entry {
	t.Helper()
	file, err := os.Open(h.journal)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	defer file.Close()
	_, err = file.Seek(h.read, io.SeekStart)
	require.NoError(t, err)
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return h.told
		}
		require.NoError(t, err)
		h.read += int64(len(line))
		e := entry{host: h.name}
		require.NoError(t, json.Unmarshal(line, &e), "%s: %s", h.name, line)
		h.told = append(h.told, e)
	}
}

// plugin returns the process id of the host's plugin for a product.
func (h *hostProcess) plugin(t testing.TB, product string) int {
	t.Helper()
	for pid, name := range h.plugins(t) {
		if name == "understudy-"+product {
			return pid
		}
	}
	require.FailNow(t, h.name+" has no plugin for "+product)
	return 0
}

// plugins returns the names of the host's plugins by process id.
func (h *hostProcess) plugins(t testing.TB) map[int]string {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid))
	require.NoError(t, err)
	names := map[int]string{}
	for _, task := range tasks {
		list, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has just ended
		}
		for field := range strings.FieldsSeq(string(list)) {
			var pid int
			_, err := fmt.Sscan(field, &pid)
			require.NoError(t, err)
			if path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
				names[pid] = filepath.Base(path)
			}
		}
	}
	return names
}

// freeze stops the host and its plugins, as a machine that is paused.
func (h *hostProcess) freeze(t testing.TB) (thaw func()) {
	t.Helper()
	h.signal(t, syscall.SIGSTOP)
	plugins := h.plugins(t)
	for pid := range plugins {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	}
	return func() {
		for pid := range plugins {
			require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		}
		h.signal(t, syscall.SIGCONT)
	}
}

// command tells the host something.
func (h *hostProcess) command(t testing.TB, line string) {
	t.Helper()
	_, err := io.WriteString(h.stdin, line+"\n")
	require.NoError(t, err)
}

// stop lets the host end by itself.
func (h *hostProcess) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, h.stdin.Close())
	select {
	case <-h.exited:
		require.NoError(t, h.err, "%s", h.name)
	case <-time.After(patience):
		require.FailNow(t, h.name+" does not end")
	}
}
