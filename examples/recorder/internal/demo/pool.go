// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
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
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/share"
)

// pool is a process that works on calls.
type pool struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.Closer
	stopped chan string // the point at which a call stands still
	ended   chan struct{}
	err     error // why it ended; set before ended is closed
	unshare []func()

	mu        sync.Mutex
	longest   time.Duration
	failovers []Failover
}

// startPool starts a pool over the demo's stores. If stopAfter is not 0, the call that is so manieth to come to stopAt
// stands still there.
func (d *demo) startPool(ctx context.Context, name, stopAt string, stopAfter int) (*pool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &pool{name: name, stopped: make(chan string, 1), ended: make(chan struct{})}
	var stores []string
	for i, store := range d.stores {
		socket := filepath.Join(d.sockets, fmt.Sprintf("%s-%d", name, i))
		stop, err := share.Serve(ctx, store, socket)
		if err != nil {
			p.release()
			return nil, err
		}
		p.unshare = append(p.unshare, stop)
		stores = append(stores, linkNames[i]+"="+socket)
	}
	args := []string{"pool", "-stores", strings.Join(stores, ","), "-host", name, "-data", d.work, "-out", d.work,
		"-log", filepath.Join(d.config.Report, name+".log"), "-workers", strconv.Itoa(d.config.Workers), "-lease", d.config.Lease.String()}
	if stopAfter > 0 {
		args = append(args, "-stop-at", stopAt, "-stop-after", strconv.Itoa(stopAfter))
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, args...) // the demo ends it
	p.cmd.Stderr = os.Stderr
	stdin, err1 := p.cmd.StdinPipe()
	stdout, err2 := p.cmd.StdoutPipe()
	p.stdin = stdin
	if err := errors.Join(err1, err2); err != nil {
		p.release()
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		p.release()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.listen(stdout)
	return p, nil
}

// listen takes in what the pool tells until it ends.
func (p *pool) listen(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue // a line that was cut off by SIGKILL
		}
		if m.Stopped != "" {
			p.stopped <- m.Stopped
		}
		p.mu.Lock()
		p.longest = max(p.longest, time.Duration(m.WaitedMS*float64(time.Millisecond)))
		if m.Failover != nil {
			m.Failover.Host = p.name
			p.failovers = append(p.failovers, *m.Failover)
		}
		p.mu.Unlock()
	}
	p.err = p.cmd.Wait()
	close(p.ended)
}

// seen returns the longest wait for a save point, and the failovers that the pool decided.
func (p *pool) seen() (time.Duration, []Failover) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longest, p.failovers
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *pool) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	p.release()
}

// stop lets the process end by itself.
func (p *pool) stop() error {
	_ = p.stdin.Close() // it may have ended
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case <-p.ended:
	case <-limit.C:
		p.kill()
		return fmt.Errorf("%s did not end by itself", p.name)
	}
	p.release()
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

func (p *pool) release() {
	for _, stop := range p.unshare {
		stop()
	}
	p.unshare = nil
}
