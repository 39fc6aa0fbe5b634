// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/contract_test/process"
	"github.com/understudy-dev/understudy/driver"
)

// check is one run of the suite.
type check struct {
	options

	harness contracttest.Harness
	report  *report
	file    *os.File // for the report; nil: none is wanted
	stdout  io.Writer
	stderr  io.Writer
}

// newCheck reads the configuration and starts the plugin once, to see that it is
// one and what it says of itself. An error is one of use.
func newCheck(ctx context.Context, o *options, stdout, stderr io.Writer) (*check, error) {
	conf, err := readConfig(o.config)
	if err != nil {
		return nil, err
	}
	plugin := process.Plugin{Path: o.plugin, Config: func(string) json.RawMessage { return conf.driver }}
	if o.verbose {
		plugin.Logger = newLogger(stderr)
	}
	about, err := describe(ctx, plugin)
	if err != nil {
		return nil, err
	}
	if !conf.stated {
		conf.declares = about.Capabilities
	}
	c := &check{options: *o, report: newReport(o, about), stdout: stdout, stderr: stderr}
	c.harness = contracttest.Harness{Open: plugin.Open, Kill: process.Kill,
		Capabilities: conf.declares, Excuse: conf.excuse, Timeout: conf.timeout}
	if err := c.harness.Validate(); err != nil {
		return nil, err
	}
	if o.report != "" {
		if c.file, err = os.Create(o.report); err != nil {
			return nil, fmt.Errorf("create the report: %w", err)
		}
	}
	c.printf("%s: driver %s, version %s, contract %d, declares %s%s\n", o.plugin, about.Driver, about.Version, about.Contract,
		names(conf.declares), map[bool]string{false: " (by its own word; a configuration file can state it)"}[conf.stated])
	return c, nil
}

// answerTimeout is how long the product is waited for: a driver may just be
// connecting, or reading what there is.
const answerTimeout = 5 * time.Second

// answers returns why nothing can be checked: the product cannot be reached, or
// does not let us in. Every case would fail, and none because of the driver.
func answers(ctx context.Context, store driver.Store) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var why error // the last answer but that of a call which our own limit has ended
	for {
		_, err := store.Epoch(ctx, driver.EpochRequest{})
		if why == nil || ctx.Err() == nil {
			why = err
		}
		switch class := driver.ClassOf(err); {
		case class == driver.Denied || class == driver.Unavailable && ctx.Err() != nil:
			return fmt.Errorf("the store does not answer, so nothing can be said of the driver: %w", why)
		case class != driver.Unavailable:
			return nil // what else is wrong is for the cases to say
		}
		wait := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// describe asks the driver what it is, and sees whether its product answers.
func describe(ctx context.Context, plugin process.Plugin) (driver.DescribeResponse, error) {
	store, err := plugin.Launch(ctx, "describe-"+driver.NewToken().String()[:12])
	if err != nil {
		return driver.DescribeResponse{}, err
	}
	about, err := store.Describe(ctx, driver.DescribeRequest{})
	if err == nil {
		err = answers(ctx, store)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return about, errors.Join(err, store.Close(ctx))
}

// run runs the cases and returns the exit status.
func (c *check) run(ctx context.Context) int {
	began := time.Now()
	c.runCases(ctx)
	c.report.end(time.Since(began), ctx.Err() != nil)
	c.summarise()
	if c.file != nil {
		if err := c.report.write(c.file); err != nil {
			c.complainf("%v", err)
			return exitFailed
		}
	}
	if c.report.Failed > 0 || c.report.Interrupted {
		return exitFailed
	}
	return exitPassed
}

// runCases runs the cases, some at once, until all are done or ctx is.
func (c *check) runCases(ctx context.Context) {
	next := make(chan contracttest.Case)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range c.parallel {
		workers.Go(func() {
			for one := range next {
				result := contracttest.Check(ctx, c.harness, one)
				if ctx.Err() != nil {
					continue // it was ended, which says nothing of the driver
				}
				mu.Lock()
				c.report.add(one, result)
				c.print(result)
				mu.Unlock()
			}
		})
	}
	for _, one := range c.cases {
		select {
		case next <- one:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
}

// print tells of one case.
func (c *check) print(r contracttest.Result) {
	switch r.Outcome {
	case contracttest.Passed:
		if c.verbose {
			c.printf("passed   %s (%s)\n", r.Case, r.Elapsed.Round(time.Millisecond))
		}
	case contracttest.Excused:
		c.printf("excused  %s: %s\n", r.Case, r.Reason)
	case contracttest.Failed:
		c.printf("failed   %s (%s)\n    %s\n", r.Case, r.Elapsed.Round(time.Millisecond),
			strings.ReplaceAll(strings.TrimSpace(r.Output), "\n", "\n    "))
	}
}

func (c *check) summarise() {
	r := c.report
	c.printf("%d cases in %s: %d passed, %d failed, %d excused\n", len(c.cases), r.elapsed().Round(10*time.Millisecond), r.Passed, r.Failed, r.Excused)
	if r.Interrupted {
		c.complainf("interrupted: %d cases were not run to their end", len(c.cases)-r.Passed-r.Failed-r.Excused)
	}
}

func (c *check) printf(format string, args ...any) { _, _ = fmt.Fprintf(c.stdout, format, args...) }

func (c *check) complainf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.stderr, "understudy-contract: "+format+"\n", args...)
}

// names returns capabilities for people.
func names(list []driver.Capability) string {
	if len(list) == 0 {
		return "nothing"
	}
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = string(c)
	}
	return strings.Join(words, ", ")
}

// newLogger writes the lines of plugins, and about them, for people.
func newLogger(w io.Writer) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zapcore.DebugLevel))
}
