// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/demo"
)

// runDemo runs the demo and prints its report.
func runDemo(ctx context.Context, flags *flag.FlagSet, args []string, _ io.Reader, stdout io.Writer) error {
	config := demo.Config{Out: stdout}
	config.Chain.AddFlags(flags)
	flags.StringVar(&config.Data, "data", "", "`folder` with Master.csv, monitor/ and expected.json; it is not changed")
	flags.StringVar(&config.Report, "report", "demo-report", "`folder` for report.json and the logs")
	flags.IntVar(&config.Workers, "workers", 4, "`number` of calls that a host works on at once")
	flags.DurationVar(&config.Lease, "lease", 15*time.Second, "`time` after which the calls of a dead host are taken over")
	flags.DurationVar(&config.Intake, "intake", 60*time.Second, "`time` over which the calls come in")
	if err := parse(flags, args, "data"); err != nil {
		return err
	}
	report, err := demo.Run(ctx, config)
	if report == nil {
		return err
	}
	if err := errors.Join(err, report.Print(stdout)); err != nil {
		return err
	}
	if !report.OK() {
		return errors.New("not everything is as it must be: see WRONG above")
	}
	return nil
}
