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
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

// layout says where a folder of calls has what.
func layout(data, out string) job.Config {
	return job.Config{
		Monitor:  filepath.Join(data, sample.MonitorDir),
		Archive:  filepath.Join(out, "archive"),
		Index:    filepath.Join(out, "index.ndjson"),
		SetAside: filepath.Join(out, "set-aside.ndjson"),
	}
}

// runAll archives all calls of a folder and ends.
func runAll(ctx context.Context, flags *flag.FlagSet, args []string, _ io.Reader, stdout io.Writer) error {
	var options conf.Options
	options.AddFlags(flags)
	data := flags.String("data", "", "`folder` with Master.csv and monitor/")
	out := flags.String("out", "", "`folder` for archive/, index.ndjson and set-aside.ndjson")
	zone := flags.String("zone", "UTC", "time `zone` of Master.csv")
	workers := flags.Int("workers", 8, "`number` of calls at once")
	if err := parse(flags, args, "data", "out"); err != nil {
		return err
	}
	location, err := time.LoadLocation(*zone)
	if err != nil {
		return fmt.Errorf("-zone: %w", err)
	}
	config, err := conf.Load(options)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	log := config.Log.Logger(os.Stderr)
	c, err := chain.Open(ctx, config.ChainConfig(), chain.WithLogger(log))
	if err != nil {
		return err
	}
	err = archiveAll(ctx, c, layout(*data, *out), filepath.Join(*data, sample.MasterFile), location, *workers, log, stdout)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, c.Close(closing))
}

func archiveAll(ctx context.Context, c *chain.Chain, config job.Config, master string, zone *time.Location, workers int, log *zap.Logger, stdout io.Writer) error {
	file, err := os.Open(master)
	if err != nil {
		return err
	}
	defer file.Close()
	j, err := job.New(config)
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() {
		worked <- c.Work(working, host.Kind, host.Logged(log, host.Handler(j, nil)), host.WorkOptions(workers))
	}()
	intake := &host.Intake{Chain: c, Zone: zone, Callers: workers}
	lines, err := intake.Run(ctx, file)
	if err == nil {
		err = host.AllDone(ctx, c)
	}
	stop()
	err = errors.Join(err, <-worked, j.Close())
	if err != nil {
		return err
	}
	done, err := host.Workflows(ctx, c, driver.Succeeded)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%d lines: %d calls archived, %d set aside\n", lines, len(done), lines-len(done))
	return err
}
