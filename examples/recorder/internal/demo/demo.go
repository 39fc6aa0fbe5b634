// SPDX-License-Identifier: Apache-2.0

// Package demo runs three hosts of the recorder over a folder of calls, on the chain redis → eventstore, breaks Redis, a
// host and a plugin in the middle of it, and checks what came of every call: not by its own counters, but by what stands in
// the archive, the index, the set-aside file and the stores.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

// Config says what to run on.
type Config struct {
	Chain   conf.Options  // the configuration of the hosts; the demo sets where the servers are
	Data    string        // folder with Master.csv, monitor/ and expected.json; it is not changed
	Report  string        // folder for report.json and the logs; made if missing
	Workers int           // calls that a host works on at once
	Lease   time.Duration // after which the calls of a dead host are taken over
	Intake  time.Duration // over which the calls come in
	Out     io.Writer     // for what happens
}

// Limit is how long a demo may take.
const Limit = 175 * time.Second

// hostCount is the number of hosts at a time.
const hostCount = 3

// The links of the configuration that the demo knows how to break.
const (
	redisLink      = "redis"
	eventStoreLink = "eventstore"
	redisPlugin    = "understudy-redis"
)

// stopAt is the point at which a host is killed: the recording stands in the archive, and nobody knows yet.
const stopAt = "archive: moved"

type demo struct {
	config     Config
	environ    []string // of the hosts
	expected   sample.Expected
	servers    string // folder of the servers
	work       string // folder with what the recorder works on and makes
	redis      *redisServer
	eventstore *devserver.Server
	hosts      []*hostProcess
	victim     *hostProcess // the host that was killed on purpose
	began      time.Time
}

// Run runs the demo. The error tells what kept it from running; whether everything is as it must be stands in the
// report. Nothing that it started is left when it returns.
func Run(ctx context.Context, config Config) (report *Report, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, Limit, fmt.Errorf("the demo has not ended after %s", Limit))
	defer cancel()
	d := &demo{config: config, began: time.Now()}
	if d.expected, err = sample.ReadExpected(config.Data); err != nil {
		return nil, fmt.Errorf("%w; make it with: make sample-data", err)
	}
	if err := prepare(config.Report); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "recorder-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d.servers, d.work = filepath.Join(dir, "servers"), filepath.Join(dir, "work")
	if err := stage(config.Data, d.work); err != nil {
		return nil, fmt.Errorf("copy the calls: %w", err)
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.startServers(ctx); err != nil {
		return nil, err
	}
	if err := d.story(ctx); err != nil {
		return nil, fmt.Errorf("%w; the logs are in %s", err, config.Report)
	}
	report = &Report{Lines: d.expected.Lines}
	if err := d.verify(ctx, report); err != nil {
		return nil, fmt.Errorf("%w; the logs are in %s", err, config.Report)
	}
	report.ElapsedMS = ms(time.Since(d.began))
	err = report.write(config.Report)
	return report, err
}

// startServers starts the servers and points the configuration to them.
func (d *demo) startServers(ctx context.Context) (err error) {
	if err := os.Mkdir(d.servers, 0o750); err != nil {
		return err
	}
	if d.redis, err = newRedis(ctx, d.servers, filepath.Join(d.config.Report, "redis.log")); err != nil {
		return err
	}
	if err := d.redis.start(ctx); err != nil {
		return err
	}
	if d.eventstore, err = devserver.Start(devserver.Options{Data: filepath.Join(d.servers, "eventstore")}); err != nil {
		return err
	}
	setting := func(link, key string, addresses ...string) string {
		return fmt.Sprintf("UNDERSTUDY_LINKS__%s__CONFIG__%s=[%s]", strings.ToUpper(link), key, strings.Join(addresses, ", "))
	}
	d.environ = d.config.Chain.Environ
	if d.environ == nil {
		d.environ = os.Environ()
	}
	d.environ = append(d.environ, setting(redisLink, "ADDRESSES", d.redis.address()), setting(eventStoreLink, "HOSTS", d.eventstore.Addresses()...))
	d.config.Chain.Environ = d.environ
	loaded, err := conf.Load(d.config.Chain)
	if err != nil {
		return err
	}
	if len(loaded.Links) != 2 || loaded.Links[0].Name != redisLink || loaded.Links[1].Name != eventStoreLink {
		return fmt.Errorf("%s: the demo breaks the chain %s → %s, and these are other links", d.config.Chain.File, redisLink, eventStoreLink)
	}
	return nil
}

// close ends what is left.
func (d *demo) close() error {
	for _, h := range d.hosts {
		h.kill()
	}
	if d.redis != nil {
		d.redis.kill()
	}
	if d.eventstore != nil {
		return d.eventstore.Close()
	}
	return nil
}

// say tells what happens, and when.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.config.Out, "%6.2f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// finish waits until all calls are taken in and done, and ends the hosts.
func (d *demo) finish(ctx context.Context, check *chain.Chain) error {
	for _, h := range d.hosts {
		for taken := h == d.victim; !taken; {
			select {
			case <-h.takenIn:
				taken = true
			default:
				if err := d.wait(ctx, 20*time.Millisecond); err != nil {
					return err
				}
			}
		}
	}
	d.say("all calls are taken in")
	if err := host.AllDone(ctx, check); err != nil {
		return err
	}
	d.say("all calls are done")
	if err := d.whole(ctx); err != nil {
		return err
	}
	var errs []error
	for _, h := range d.hosts {
		if h != d.victim {
			errs = append(errs, h.stop())
		}
	}
	return errors.Join(errs...)
}

// openCheck opens the chain for the demo itself.
func (d *demo) openCheck(ctx context.Context) (check *chain.Chain, end func() error, err error) {
	options := d.config.Chain
	options.Set = append(slices.Clone(options.Set), "host=check")
	loaded, err := conf.Load(options)
	if err != nil {
		return nil, nil, err
	}
	log, err := os.Create(filepath.Join(d.config.Report, "check.log"))
	if err != nil {
		return nil, nil, err
	}
	check, err = chain.Open(ctx, loaded.ChainConfig(), chain.WithLogger(loaded.Log.Logger(log)))
	if err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	return check, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(check.Close(ctx), log.Close())
	}, nil
}
