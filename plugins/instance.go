// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"context"
	"errors"
	"io"
	"math"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
)

// instance is one process of a plugin with the connection to it and its store. It
// is used once: a restart makes another.
type instance struct {
	process *process
	plugin  *plugin.Client
	conn    *grpc.ClientConn
	lane    *wire.Lane
	client  *wire.Client
	started time.Time
	printed []io.Closer       // take what the plugin prints while it serves
	logged  []<-chan struct{} // closed when all of it is in the log
}

// startInstance starts a process and connects to it; no store is open yet. ctx
// bounds the start.
func startInstance(ctx context.Context, spec *Spec, sockets string) (*instance, error) {
	file, err := checkBinary(spec.Path, spec.SHA256)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: file, Args: append([]string{spec.Path}, spec.Args...)}
	lane, err := giveLane(cmd)
	if err != nil {
		return nil, failed("%w", err)
	}
	i := &instance{process: newProcess(cmd, spec.Logger), started: time.Now()}
	stdout, outDone := newLineWriter(i.process.printed)
	stderr, errDone := newLineWriter(func(line []byte) { spec.Logger.Info(string(line), zap.String("stream", "stderr")) })
	i.printed, i.logged = []io.Closer{stdout, stderr}, []<-chan struct{}{outDone, errDone}
	i.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: pluginSets(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     math.MaxInt64, // ctx ends first
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: sockets},
		GRPCDialOptions:  wire.DialOptions(),
		SyncStdout:       stdout,
		SyncStderr:       stderr,
		Logger:           hclog.NewNullLogger(), // what matters of it is logged here
		RunnerFunc: func(_ hclog.Logger, prepared *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = slices.Concat(prepared.Env, cmd.Env, []string{logLevelKey + "=" + spec.Logger.Level().String()})
			return i.process, nil
		},
	})
	if err := i.connect(ctx); err != nil {
		_ = i.process.Kill(ctx)
		err = i.explain(err)
		i.stop(0)
		closeAll(cmd.ExtraFiles...)
		_ = lane.Close() // what went wrong is in err
		return nil, err
	}
	i.lane = wire.NewLane(lane, i.conn)
	i.client = wire.NewClient(i.lane, spec.Link)
	go func() {
		<-i.process.exited
		i.disconnect() // whoever else may hold the sockets
	}()
	return i, nil
}

// disconnect ends the connections, and with them the calls in flight.
func (i *instance) disconnect() {
	if i.lane != nil {
		i.lane.Close()
	}
	if i.conn != nil {
		_ = i.conn.Close() // what has not ended by now is lost
	}
}

// connect waits for the handshake and the connection.
func (i *instance) connect(ctx context.Context) error {
	type result struct {
		conn *grpc.ClientConn
		err  error
	}
	results := make(chan result, 1)
	go func() { // go-plugin knows no contexts
		protocol, err := i.plugin.Client()
		if err != nil {
			results <- result{err: err}
			return
		}
		raw, err := protocol.Dispense(pluginName)
		conn, ok := raw.(*grpc.ClientConn)
		if err == nil && !ok {
			err = errors.New("no connection")
		}
		results <- result{conn, err}
	}()
	select {
	case r := <-results:
		i.conn = r.conn
		return r.err
	case <-ctx.Done():
		_ = i.process.Kill(ctx) // which ends the attempt
		i.conn = (<-results).conn
		return context.Cause(ctx)
	}
}

// scarce reports whether a process could not be started for something that passes:
// too many processes or files, too little memory, a binary that is being written.
func scarce(err error) bool {
	return slices.ContainsFunc([]error{syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ETXTBSY},
		func(errno error) bool { return errors.Is(err, errno) })
}

// explain makes the error of a failed start from what is known of the process,
// which has been killed.
func (i *instance) explain(err error) error {
	p := i.process
	path := p.cmd.Args[0]
	if p.number() == 0 {
		if errors.Is(err, errStopped) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return failed("%s was not started: %w", path, err)
		}
		if scarce(err) {
			return failed("%s cannot be executed now: %w", path, err)
		}
		return refused("%s cannot be executed: %w", path, err)
	}
	select {
	case <-p.drained:
	case <-time.After(10 * pipeGrace): // it comes long before, unless this process is held up
	}
	words := p.words()
	switch version := p.speaks(); {
	case version >= 0 && version != ProtocolVersion:
		return refused("%s speaks version %d of the plugin protocol and this host version %d: use the plugin that was built for this host",
			path, version, ProtocolVersion)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failed("%s did not complete its handshake in time, is it an Understudy plugin?%s: %w", path, words, err)
	case version >= 0:
		return failed("%s failed after its handshake%s: %w", path, words, err)
	case p.endedWell():
		return refused("%s ended without a handshake: it is not an Understudy plugin%s", path, words)
	}
	return failed("%s ended before its handshake with %s, is it an Understudy plugin?%s", path, p.fate(), words)
}

// open opens the store and checks that it is the one that is wanted.
func (i *instance) open(ctx context.Context, spec *Spec) error {
	err := i.client.Open(ctx, driver.OpenRequest{Chain: spec.Chain, Link: spec.Link, Config: spec.Config})
	if err != nil {
		return err
	}
	is, err := i.client.Describe(ctx, driver.DescribeRequest{})
	switch {
	case err != nil:
		return err
	case is.Contract != driver.Contract:
		return refused("driver %s keeps version %d of the contract and this host version %d: use the plugin that was built for this host",
			is.Driver, is.Contract, driver.Contract)
	case spec.Driver != "" && is.Driver != spec.Driver:
		return refused("%s is the plugin of driver %s, want driver %s", spec.Path, is.Driver, spec.Driver)
	}
	return nil
}

// ping asks the process whether it is alive, twice if need be: the first answer
// may be late because this process was held up, not the other. Any answer is one.
func (i *instance) ping(ctx context.Context, timeout time.Duration) error {
	var err error
	for range 2 {
		pingCtx, cancel := context.WithTimeout(ctx, timeout)
		_, err = grpc_health_v1.NewHealthClient(i.conn).Check(pingCtx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
		cancel()
		switch status.Code(err) {
		case codes.DeadlineExceeded, codes.Canceled, codes.Unavailable:
		default:
			return nil
		}
	}
	return err
}

// gone reports whether the process has ended, or does so within a time.
func (i *instance) gone(within time.Duration) bool {
	wait(i.process.exited, within)
	select {
	case <-i.process.exited:
		return true
	default:
		return false
	}
}

// stop ends the process: it asks, waits for grace, and kills; with no grace it
// kills at once. It returns when the process is gone, which takes longer only if
// the kernel holds it.
func (i *instance) stop(grace time.Duration) {
	const killTimeout = 2 * time.Second
	if grace > 0 && i.process.terminate() == nil {
		wait(i.process.exited, grace)
	}
	i.disconnect()
	_ = i.process.Kill(context.Background())
	if i.process.number() != 0 {
		wait(i.process.exited, killTimeout)
	}
	cleaned := make(chan struct{})
	go func() { // it has no time limit of its own
		defer close(cleaned)
		i.plugin.Kill()
	}()
	wait(cleaned, killTimeout)
	for n, printed := range i.printed {
		_ = printed.Close()
		wait(i.logged[n], killTimeout)
	}
}

// wait waits for done, but not longer than limit.
func wait(done <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
