// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/examples/recorder/internal/demo"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/share"
)

// runPool works on calls until its standard input ends, over stores that the demo's process serves. It tells the demo
// on standard output what it sees.
func runPool(ctx context.Context, flags *flag.FlagSet, args []string, stdin io.Reader, stdout io.Writer) (err error) {
	sockets := flags.String("stores", "", "links as `NAME=SOCKET`, divided by commas, in their order")
	data := flags.String("data", "", "`folder` with monitor/")
	out := flags.String("out", "", "`folder` for archive/, index.ndjson and set-aside.ndjson")
	logFile := flags.String("log", "", "`file` to log to")
	name := flags.String("host", "", "`name` of this pool in leases")
	workers := flags.Int("workers", 4, "`number` of calls at once")
	lease := flags.Duration("lease", 2*time.Second, "`time` after which others take over the calls of a dead pool")
	stopAt := flags.String("stop-at", "", "`point` within a step at which one call stops for good, and is reported")
	stopAfter := flags.Int64("stop-after", 1, "`number` of calls that have come to that point")
	if err := parse(flags, args, "stores", "data", "out", "log", "host"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the demo, or its death, ends us
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	tell := demo.NewTeller(stdout)
	config := layout(*data, *out)
	var came atomic.Int64
	config.At = func(point string) {
		if point == *stopAt && came.Add(1) == *stopAfter {
			tell.Stopped(point)
			<-ctx.Done() // in the middle of a step, until the process is killed
		}
	}
	log, err := demo.NewLog(*logFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Sync()) }()
	chained, hangUp, err := dialAll(ctx, *sockets)
	defer func() { err = errors.Join(err, hangUp()) }()
	if err != nil {
		return err
	}
	return work(ctx, chain.Config{Name: demo.ChainName, Host: *name, Links: chained}, config, *workers, *lease, log, tell)
}

// dialAll connects to the stores; the returned function, never nil, ends the connections made.
func dialAll(ctx context.Context, sockets string) (chained []chain.Link, hangUp func() error, err error) {
	var ends []func() error
	hangUp = func() error {
		var errs []error
		for _, end := range ends {
			errs = append(errs, end())
		}
		return errors.Join(errs...)
	}
	for pair := range strings.SplitSeq(sockets, ",") {
		link, socket, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, hangUp, fmt.Errorf("-stores: %q: want NAME=SOCKET", pair)
		}
		store, end, err := share.Dial(ctx, socket, demo.ChainName, link)
		if err != nil {
			return nil, hangUp, err
		}
		ends = append(ends, end)
		chained = append(chained, chain.Link{Name: link, Store: store})
	}
	return chained, hangUp, nil
}

func work(ctx context.Context, config chain.Config, layout job.Config, workers int, lease time.Duration, log *zap.Logger, tell *demo.Teller) (err error) {
	j, err := job.New(layout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	c, err := chain.Open(ctx, config, chain.WithLogger(log), chain.WithEvents(tell.Event))
	if err != nil {
		return err
	}
	err = c.Work(ctx, host.Kind, host.Handler(j, tell.Waited), chain.WorkOptions{Concurrency: workers, Lease: lease, Drain: time.Second})
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, c.Close(closing))
}
