// SPDX-License-Identifier: Apache-2.0

// Package demo runs the recorder over a folder of calls, kills a store and a pool of workers in the middle of it, and
// checks what came of every call: not by its own counters, but by what stands in the archive, the index and the
// set-aside file.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
	"github.com/understudy-dev/understudy/plugins"
)

// Config says what to run on.
type Config struct {
	Data    string        // folder with Master.csv, monitor/ and expected.json; it is not changed
	Plugin  string        // path of the memory driver's plugin
	Report  string        // folder for report.json and the logs; made if missing
	Workers int           // calls that a pool works on at once
	Lease   time.Duration // after which the calls of a dead pool are taken over
	Intake  time.Duration // over which the calls come in
	Out     io.Writer     // for what happens
}

// Limit is how long a demo may take.
const Limit = 2 * time.Minute

var linkNames = [...]string{"first", "second"}

// stopAt is the point at which the first pool is killed: the recording stands in the archive, and nobody knows yet.
const stopAt = "archive: moved"

type demo struct {
	config   Config
	expected sample.Expected
	work     string // folder with what the recorder works on and makes
	sockets  string
	stores   []*plugins.Store
	chain    *chain.Chain
	began    time.Time

	mu        sync.Mutex
	failovers []Failover
}

// Run runs the demo. The error tells what kept it from running; whether everything is as it must be stands in the
// report.
func Run(ctx context.Context, config Config) (report *Report, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, Limit, fmt.Errorf("the demo has not ended after %s", Limit))
	defer cancel()
	d := &demo{config: config, began: time.Now()}
	if d.expected, err = sample.ReadExpected(config.Data); err != nil {
		return nil, fmt.Errorf("%w; make it with: make sample-data", err)
	}
	if err := os.MkdirAll(config.Report, 0o755); err != nil {
		return nil, err
	}
	if d.work, err = d.stage(); err != nil {
		return nil, fmt.Errorf("copy the calls: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.work)) }()
	if d.sockets, err = os.MkdirTemp("", "recorder-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.sockets)) }()
	log, err := NewLog(filepath.Join(config.Report, "intake.log"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Sync()) }()
	defer func() { err = errors.Join(err, d.close(ctx)) }()
	if err := d.open(ctx, log); err != nil {
		return nil, err
	}
	return d.run(ctx)
}

// open launches the plugins and opens the chain over them.
func (d *demo) open(ctx context.Context, log *zap.Logger) error {
	config := chain.Config{Name: ChainName, Host: "intake"}
	for _, name := range linkNames {
		store, err := plugins.Launch(ctx, plugins.Spec{Path: d.config.Plugin, Chain: ChainName, Link: name, Logger: log})
		if err != nil {
			return err
		}
		d.stores = append(d.stores, store)
		config.Links = append(config.Links, chain.Link{Name: name, Store: store})
	}
	var err error
	d.chain, err = chain.Open(ctx, config, chain.WithLogger(log), chain.WithEvents(d.event))
	return err
}

func (d *demo) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	if d.chain != nil {
		errs = append(errs, d.chain.Close(ctx))
	}
	for _, store := range d.stores {
		errs = append(errs, store.Close(ctx))
	}
	return errors.Join(errs...)
}

func (d *demo) event(e chain.Event) {
	if over, ok := e.(chain.FailedOver); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.failovers = append(d.failovers, *failoverOf(over, "intake"))
	}
}

// say tells what happens, and when.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.config.Out, "%6.2f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// run is the story.
func (d *demo) run(ctx context.Context) (*Report, error) {
	d.say("%d calls come in; chain %s → %s, both memory plugins; pool-1 works with %d workers",
		d.expected.Lines, linkNames[0], linkNames[1], d.config.Workers)
	first, err := d.startPool(ctx, "pool-1", stopAt, d.expected.Archived*2/3)
	if err != nil {
		return nil, err
	}
	defer first.kill()

	master, err := os.Open(filepath.Join(d.work, sample.MasterFile))
	if err != nil {
		return nil, err
	}
	defer master.Close()
	intake := &host.Intake{Chain: d.chain, Zone: time.UTC, Callers: 16, Pace: d.config.Intake / time.Duration(d.expected.Lines)}
	var group errgroup.Group
	intakeCtx, stopIntake := context.WithCancel(ctx)
	group.Go(func() error { return intake.Run(intakeCtx, master) })
	defer func() {
		stopIntake()
		_ = group.Wait() // its error was seen, or there is another one
	}()

	if err := d.killStore(ctx, first); err != nil {
		return nil, err
	}
	if err := d.killPool(ctx, first); err != nil {
		return nil, err
	}
	second, err := d.startPool(ctx, "pool-2", "", 0)
	if err != nil {
		return nil, err
	}
	defer second.kill()
	d.say("pool-2 works; what pool-1 held is taken over when its leases end, within %s", d.config.Lease)

	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	if err := host.AllDone(ctx, d.chain); err != nil {
		return nil, err
	}
	d.say("all calls are done")
	if err := second.stop(); err != nil {
		return nil, err
	}
	report := &Report{Lines: d.expected.Lines}
	report.addWaits(intake, first, second)
	d.mu.Lock()
	report.addFailovers(d.failovers, first, second)
	d.mu.Unlock()
	if err := d.verify(ctx, report); err != nil {
		return nil, err
	}
	report.ElapsedMS = ms(time.Since(d.began))
	err = report.write(d.config.Report)
	return report, err
}

// killStore kills the active store's process when a third of the calls are archived.
func (d *demo) killStore(ctx context.Context, p *pool) error {
	for {
		text, err := os.ReadFile(filepath.Join(d.work, indexFile))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if n := bytes.Count(text, []byte("\n")); n >= d.expected.Archived/3 {
			pid := d.stores[0].Status().PID
			d.say("%d calls archived: SIGKILL to the plugin of %s (pid %d)", n, linkNames[0], pid)
			return syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := d.watch(ctx, p, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// killPool kills the pool when one of its calls stands still in the middle of a step.
func (d *demo) killPool(ctx context.Context, p *pool) error {
	select {
	case point := <-p.stopped:
		pid := p.cmd.Process.Pid
		p.kill()
		d.say("SIGKILL to pool-1 (pid %d), one of its calls at %q", pid, point)
		return nil
	case <-p.ended:
		return fmt.Errorf("%s ended by itself: %w", p.name, p.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch waits for a time, while the pool must live.
func (d *demo) watch(ctx context.Context, p *pool, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s ended by itself: %w", p.name, p.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
