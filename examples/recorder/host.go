// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
	"github.com/understudy-dev/understudy/examples/recorder/internal/demo"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

// hostOptions are the flags of one host of the demo.
type hostOptions struct {
	config    conf.Options
	data, out string
	logFile   string
	name      string
	workers   int
	lease     time.Duration
	intake    host.Intake
	stopAt    string
	stopAfter int64
}

// runHost takes in its part of the calls and works on calls until its standard input ends. It tells the demo on
// standard output what it sees.
func runHost(ctx context.Context, flags *flag.FlagSet, args []string, stdin io.Reader, stdout io.Writer) (err error) {
	o := hostOptions{intake: host.Intake{Zone: time.UTC, Callers: 64, Since: time.Now()}}
	o.config.AddFlags(flags)
	flags.StringVar(&o.data, "data", "", "`folder` with Master.csv and monitor/")
	flags.StringVar(&o.out, "out", "", "`folder` for archive/, index.ndjson and set-aside.ndjson")
	flags.StringVar(&o.logFile, "log", "", "`file` to log to")
	flags.StringVar(&o.name, "host", "", "`name` of this host in leases")
	flags.IntVar(&o.workers, "workers", 4, "`number` of calls at once")
	flags.DurationVar(&o.lease, "lease", 15*time.Second, "`time` after which others take over the calls of a dead host")
	flags.IntVar(&o.intake.Part, "part", 0, "take in only the lines of this `part`, the first being 0")
	flags.IntVar(&o.intake.Parts, "parts", 1, "`number` of parts that the lines are dealt out to")
	flags.DurationVar(&o.intake.Pace, "pace", 0, "least `time` from one line to the next")
	flags.TextVar(&o.intake.Since, "since", time.Now(), "`time` at which the first line was due")
	flags.StringVar(&o.stopAt, "stop-at", "", "`point` within a step at which one call stops for good, and is reported")
	flags.Int64Var(&o.stopAfter, "stop-after", 1, "`number` of calls that have come to that point")
	if err := parse(flags, args, "data", "out", "log", "host"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the demo, or its death, ends us
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	o.config.Set = append(o.config.Set, "host="+o.name)
	config, err := conf.Load(o.config)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(o.logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return o.run(ctx, config.ChainConfig(), config.Log.Logger(file), demo.NewTeller(stdout))
}

// layout says where things are, and makes one call stop at the point that was asked for.
func (o *hostOptions) layout(ctx context.Context, tell *demo.Teller) job.Config {
	config := layout(o.data, o.out)
	var came atomic.Int64
	config.At = func(point string) {
		if point == o.stopAt && came.Add(1) == o.stopAfter {
			tell.Stopped(point)
			<-ctx.Done() // in the middle of a step, until the process is killed
		}
	}
	return config
}

func (o *hostOptions) run(ctx context.Context, config chain.Config, log *zap.Logger, tell *demo.Teller) (err error) {
	j, err := job.New(o.layout(ctx, tell))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	c, err := chain.Open(ctx, config, chain.WithLogger(log), chain.WithEvents(tell.Event))
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, c.Close(closing))
	}()
	taken := make(chan error, 1)
	go func() { taken <- o.takeIn(ctx, c, tell) }()
	options := host.WorkOptions(o.workers)
	options.Lease, options.Drain = o.lease, time.Second
	err = c.Work(ctx, host.Kind, host.Logged(log, host.Handler(j, tell.Waited)), options)
	return errors.Join(err, <-taken)
}

// takeIn starts the workflows of this host's part and tells when all are there.
func (o *hostOptions) takeIn(ctx context.Context, c *chain.Chain, tell *demo.Teller) error {
	master, err := os.Open(filepath.Join(o.data, sample.MasterFile))
	if err != nil {
		return err
	}
	defer master.Close()
	o.intake.Chain, o.intake.Waited = c, tell.Waited
	lines, err := o.intake.Run(ctx, master)
	if err != nil {
		if ctx.Err() != nil {
			return nil // the demo has ended us
		}
		tell.Failed(err)
		return fmt.Errorf("intake: %w", err)
	}
	tell.TakenIn(lines)
	return nil
}
