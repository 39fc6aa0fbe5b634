// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// hostProcess is a process that takes in calls and works on them.
type hostProcess struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.Closer
	stderr  bytes.Buffer  // to be read when it has ended
	stopped chan string   // the point at which a call stands still
	takenIn chan struct{} // closed when its part of the calls is taken in
	ended   chan struct{}
	err     error // why it ended; set before ended is closed

	mu      sync.Mutex
	longest time.Duration
	failed  string
	events  []told
}

// startHost starts a host with a part of the calls. If stopAfter is not 0, the call that is so manieth to come to stopAt
// stands still there.
func (d *demo) startHost(name string, part, stopAfter int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	h := &hostProcess{name: name, stopped: make(chan string, 1), takenIn: make(chan struct{}), ended: make(chan struct{})}
	args := []string{"host", "-config", d.config.Chain.File, "-host", name, "-data", d.work, "-out", d.work,
		"-log", filepath.Join(d.config.Report, name+".log"), "-workers", strconv.Itoa(d.config.Workers), "-lease", d.config.Lease.String(),
		"-part", strconv.Itoa(part), "-parts", strconv.Itoa(hostCount), "-since", d.began.Format(time.RFC3339Nano),
		"-pace", (d.config.Intake * hostCount / time.Duration(d.expected.Lines)).String()}
	for _, setting := range d.config.Chain.Set {
		args = append(args, "-set", setting)
	}
	if stopAfter > 0 {
		args = append(args, "-stop-at", stopAt, "-stop-after", strconv.Itoa(stopAfter))
	}
	h.cmd = exec.Command(self, args...) //nolint:noctx // stop and kill end it
	h.cmd.Env, h.cmd.Stderr, h.cmd.SysProcAttr = d.environ, &h.stderr, ofOurs()
	stdin, err1 := h.cmd.StdinPipe()
	stdout, err2 := h.cmd.StdoutPipe()
	h.stdin = stdin
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := h.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	d.hosts = append(d.hosts, h)
	go h.listen(stdout)
	return nil
}

// listen takes in what the host tells until it ends.
func (h *hostProcess) listen(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue // a line that was cut off by SIGKILL
		}
		if m.Stopped != "" {
			h.stopped <- m.Stopped
		}
		if m.TakenIn > 0 {
			close(h.takenIn)
		}
		h.mu.Lock()
		h.longest = max(h.longest, time.Duration(m.WaitedMS*float64(time.Millisecond)))
		if m.Failed != "" {
			h.failed = m.Failed
		}
		if m.Event != nil {
			m.Event.Host = h.name
			h.events = append(h.events, *m.Event)
		}
		h.mu.Unlock()
	}
	h.err = h.cmd.Wait()
	if said := h.stderr.String(); h.err != nil && said != "" {
		h.err = fmt.Errorf("%w: %s", h.err, strings.TrimSpace(said[:min(len(said), 2000)]))
	}
	close(h.ended)
}

// heard returns the longest wait of a caller, and the events so far.
func (h *hostProcess) heard() (time.Duration, []told) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.longest, h.events
}

// kill ends the process with SIGKILL and waits until it is gone.
func (h *hostProcess) kill() {
	_ = h.cmd.Process.Kill() // it may have ended
	<-h.ended
	_ = h.stdin.Close()
}

// stop lets the process end by itself.
func (h *hostProcess) stop() error {
	_ = h.stdin.Close() // it may have ended
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	select {
	case <-h.ended:
	case <-limit.C:
		h.kill()
		return fmt.Errorf("%s did not end by itself", h.name)
	}
	if h.err != nil {
		return fmt.Errorf("%s: %w", h.name, h.err)
	}
	return nil
}

// killPlugin kills the host's plugin with the given name and returns its process id.
func (h *hostProcess) killPlugin(name string) (int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has just ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return 0, err
			}
			if path, err := os.Readlink("/proc/" + child + "/exe"); err == nil && filepath.Base(path) == name {
				return pid, syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	return 0, fmt.Errorf("%s has no plugin %s", h.name, name)
}

// alive returns an error if a host has ended by itself.
func (d *demo) alive() error {
	for _, h := range d.hosts {
		if h == d.victim {
			continue
		}
		h.mu.Lock()
		failed := h.failed
		h.mu.Unlock()
		if failed != "" {
			return fmt.Errorf("%s: a caller saw an error: %s", h.name, failed)
		}
		select {
		case <-h.ended:
			return fmt.Errorf("%s ended by itself: %w", h.name, h.err)
		default:
		}
	}
	return nil
}

// wait waits for a time, while the hosts must live.
func (d *demo) wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return d.alive()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
