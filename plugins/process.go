// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"go.uber.org/zap"
)

// process is one run of a plugin binary. go-plugin sees it as its runner, but
// gets only what it needs of it: the line of the handshake, and the end. Reading
// the pipes, watching the pid and killing are done here, so that neither a
// chatty plugin, nor one that prints before it serves, nor a child that holds the
// pipes open stands in the way.
type process struct {
	cmd    *exec.Cmd
	logger *zap.Logger

	mu      sync.Mutex // held to signal the process and to reap it
	pid     int        // 0 before the start
	stopped bool       // it is to end, or must not start any more

	exited  chan struct{} // closed when the process is gone and has been reaped
	state   *os.ProcessState
	drained chan struct{} // closed when both pipes have been read to their end

	stderr *stderrLog
	first  atomic.Pointer[string] // what it printed first to standard output
	shake  atomic.Pointer[[]byte] // the line of the handshake, once it came

	// What go-plugin reads: out gives it the handshake; both end with the process.
	outR, errR *io.PipeReader
	outW, errW *io.PipeWriter
}

var _ runner.Runner = (*process)(nil)

// pipeGrace is how long the pipes of a process that has ended are still read, if
// somebody else holds them open.
const pipeGrace = 200 * time.Millisecond

func newProcess(cmd *exec.Cmd, logger *zap.Logger) *process {
	p := &process{cmd: cmd, logger: logger, exited: make(chan struct{}), drained: make(chan struct{}), stderr: &stderrLog{logger: logger}}
	p.outR, p.outW = io.Pipe()
	p.errR, p.errW = io.Pipe()
	return p
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return errStopped
	}
	stdout, childStdout, err := os.Pipe()
	if err != nil {
		return err
	}
	stderr, childStderr, err := os.Pipe()
	if err != nil {
		closeAll(stdout, childStdout)
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = nil, childStdout, childStderr
	err = runProcess(p.cmd, &p.mu, func(state *os.ProcessState) {
		p.state = state
		close(p.exited)
	})
	closeAll(append(p.cmd.ExtraFiles, childStdout, childStderr)...)
	if err != nil {
		closeAll(stdout, stderr)
		return err
	}
	p.pid = p.cmd.Process.Pid
	go p.read(stdout, stderr)
	return nil
}

// read reads the pipes until they end, or somewhat longer than the process lives.
func (p *process) read(stdout, stderr *os.File) {
	defer close(p.drained)
	outDone, errDone := make(chan struct{}), make(chan struct{})
	go func() { defer close(outDone); eachLine(&tail{file: stdout}, p.outLine) }()
	go func() { defer close(errDone); eachLine(&tail{file: stderr}, p.stderr.line); p.stderr.flush() }()

	<-p.exited
	until := time.Now().Add(pipeGrace)
	_ = stdout.SetReadDeadline(until)
	_ = stderr.SetReadDeadline(until)
	<-outDone
	<-errDone
	closeAll(stdout, stderr)
	_ = p.outW.Close()
	_ = p.errW.Close()
}

// tail reads a pipe to its end. When a deadline has passed it reads what is in the
// pipe by then, which may be all that a process had to say, and does not wait any
// more.
type tail struct {
	file *os.File
	late bool
	read int // since it was late
}

// maxPipe is what a pipe holds at most; what comes beyond that came later.
const maxPipe = 1 << 20

// Read implements io.Reader.
func (t *tail) Read(b []byte) (int, error) {
	if !t.late {
		n, err := t.file.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		t.late = true
	}
	n := readNow(t.file, b[:min(len(b), maxPipe-t.read)])
	if n <= 0 {
		return 0, io.EOF
	}
	t.read += n
	return n, nil
}

// handshakeLine is where go-plugin's handshake begins and what it has: version of
// go-plugin's protocol, version of ours, network, address, protocol, certificate.
var handshakeLine = regexp.MustCompile(`\d+\|\d+\|(?:unix|tcp)\|[^|]+\|[a-z]+(?:\|.*)?$`)

// outLine takes one line of standard output: the first handshake goes to
// go-plugin, whatever else is printed there to the log.
func (p *process) outLine(line []byte) {
	at := -1
	if p.shake.Load() == nil {
		if found := handshakeLine.FindIndex(line); found != nil {
			at = found[0]
		}
	}
	if at < 0 {
		p.printed(line)
		return
	}
	p.printed(line[:at])
	shake := append([]byte(nil), line[at:]...)
	p.shake.Store(&shake)
	go func() { _, _ = p.outW.Write(append(shake, '\n')) }() // ends when it is read or the process is gone
}

// printed logs what the plugin printed to standard output.
func (p *process) printed(line []byte) {
	if len(line) > 0 {
		text := string(line)
		p.first.CompareAndSwap(nil, &text)
		p.logger.Info(text, zap.String("stream", "stdout"))
	}
}

// words quotes for an error what the process said of itself: its first line on
// standard output and its last on standard error.
func (p *process) words() string {
	var said []string
	if first := p.first.Load(); first != nil {
		said = append(said, "it printed "+quote(*first))
	}
	if last := p.stderr.lastWords(); last != "" {
		said = append(said, "its last line: "+quote(last))
	}
	if said == nil {
		return ""
	}
	return " (" + strings.Join(said, "; ") + ")"
}

// speaks returns the version of our protocol that the plugin speaks, -1 while
// that is not known.
func (p *process) speaks() int {
	line := p.shake.Load()
	if line == nil {
		return -1
	}
	var core, version int
	if _, err := fmt.Sscanf(string(*line), "%d|%d|", &core, &version); err != nil {
		return -1
	}
	return version
}

// errStopped is the error of a process that was to end before it started.
var errStopped = errors.New("stopped before it was started")

// Kill implements runner.Runner: it kills the process and its children.
func (p *process) Kill(context.Context) error { return p.signal(killGroup) }

// terminate asks the process to end.
func (p *process) terminate() error { return p.signal(terminate) }

func (p *process) signal(send func(int) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	select {
	case <-p.exited:
		return nil
	default:
	}
	if p.pid == 0 {
		return nil
	}
	return send(p.pid)
}

// Wait implements runner.Runner.
func (p *process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fate says how the process ended: "exit status 1", "signal: killed".
func (p *process) fate() string {
	select {
	case <-p.exited:
		return p.state.String()
	default:
		return "running"
	}
}

// endedWell reports whether the process has ended by itself with status 0.
func (p *process) endedWell() bool {
	select {
	case <-p.exited:
		return p.state.Success()
	default:
		return false
	}
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.outR }

// Stderr implements runner.Runner.
func (p *process) Stderr() io.ReadCloser { return p.errR }

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// ID implements runner.AttachedRunner.
func (p *process) ID() string { return strconv.Itoa(p.number()) }

// number returns the pid, 0 before the start.
func (p *process) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Diagnose implements runner.Runner; errors are made from what is known here.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (p *process) PluginToHost(network, address string) (hostNetwork, hostAddress string, err error) {
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (pluginNetwork, pluginAddress string, err error) {
	return network, address, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // pipes; nothing is lost
	}
}
