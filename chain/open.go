// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// Chain is an opened chain of links. All methods may be called from any number
// of goroutines at once.
type Chain struct {
	telemetry telemetry
	ungauge   func() error // ends the reading of the gauges; nil before they are

	config Config                 // its policy is only the first one: see policy
	live   atomic.Pointer[Policy] // in force
	log    *zap.Logger
	events events
	links  []*link // in order of preference

	ctx    context.Context // done when the chain is closed
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // background goroutines; they end with ctx

	commits  combiner[*item]
	inFlight atomic.Int64 // calls of the application that are not answered
	wakes    wakes
	owed     owed
	parked   parked
	view     atomic.Pointer[view] // never nil once the chain is open
	moved    broadcast            // sent after each change of view
	down     atomic.Bool          // allDown was told
	making   sync.Map             // tokens of the records that this host is just making; false: to fail over
	frozen   atomic.Pointer[Frozen]
	told     atomic.Pointer[Frozen] // the freeze of which it was told that it holds a failover back
	rises    chan struct{}          // holds one when a link has become fit to serve, or ceased to be
	vouching atomic.Bool            // see vouch
	atStep   func(step string)      // nil but in tests: see passing

	mu        sync.Mutex
	closed    bool
	strange   driver.EpochVersion // the last record told to name an unknown link
	expelling bool                // see expelSoon
	switching chan struct{}       // see switchOver
}

// Open opens the chain. It joins the highest epoch found in any link that can be
// reached, and makes the first epoch if there is none in any of them: the first
// link serves, and the others join it before Open returns.
//
// It waits for links that do not answer until Policy.Timeout or the end of ctx.
// Links that still do not answer then are no obstacle, as long as one of the
// others holds an epoch: who has to wait is decided call by call. The first
// epoch of all is made only when every link answers; with Config.StartDegraded
// Open does not wait for that longer than for the rest, but the calls do. It then
// does not need each driver either: see there.
//
// Errors: driver.Invalid for a wrong configuration, a Config.ReportDir that cannot
// be written to, a plugin that cannot be used, or a link less protected than the
// first one (see Config.AllowWeaker);
// driver.Unsupported for a driver that is not linked into the program;
// driver.Unavailable if no epoch could be found or made, or a driver did not even
// say what it is within Policy.Timeout.
func Open(ctx context.Context, config Config, options ...Option) (*Chain, error) {
	c, err := prepare(ctx, config, options)
	if err != nil {
		return nil, err
	}
	err = c.openLinks(ctx)
	if err == nil {
		err = c.findEpoch(ctx)
		if c.config.StartDegraded && driver.ClassOf(err) == driver.Unavailable && ctx.Err() == nil {
			c.startDegraded(err)
			err = nil
		}
	}
	if err == nil {
		c.ungauge, err = c.gauge()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open chain %q: %w", c.config.Name, err), c.closeNow(ctx))
	}
	for _, l := range c.links {
		c.background(func() { c.herald(l) })
	}
	c.begin(ctx)
	v := c.view.Load()
	c.log.Info("chain open", zap.Stringer("epoch", v.epoch), zap.String("active", v.active.name))
	for _, l := range c.links {
		c.background(func() { c.watch(l) })
	}
	if len(c.links) > 1 {
		c.background(c.repair)
	}
	if len(c.links) > 1 && len(v.standbys) == 0 && v.epoch.Number > 0 {
		c.log.Error("running unprotected: no standby is in step", zap.Stringer("epoch", v.epoch))
	}
	return c, nil
}

// prepare returns a chain of a checked configuration whose links are yet to be
// opened.
func prepare(ctx context.Context, config Config, options []Option) (*Chain, error) {
	config = config.WithDefaults()
	if err := errors.Join(config.validate(), config.checkReportDir()); err != nil {
		return nil, err
	}
	if config.Host == "" {
		config.Host = hostName()
	}
	c := &Chain{config: config, log: zap.NewNop(), rises: make(chan struct{}, 1)}
	c.live.Store(&config.Policy)
	c.telemetry.chain = config.Name
	for _, option := range options {
		option(c)
	}
	c.events.telemetry = &c.telemetry
	if err := c.telemetry.instrument(); err != nil {
		return nil, fmt.Errorf("open chain %q: %w", config.Name, err)
	}
	c.log = c.log.With(zap.String("chain", config.Name), zap.String("host", config.Host))
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.commits.send, c.commits.gone = c.commitBatch, (*item).abandoned
	return c, nil
}

// closeTime is what the links are given to end when the chain is not opened.
const closeTime = 5 * time.Second

// closeNow is Close, also when ctx is done.
func (c *Chain) closeNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return c.Close(ctx)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "host"
	}
	return fmt.Sprintf("%s-%d-%s", name, os.Getpid(), driver.NewToken().String()[:8])
}

func (c *Chain) tellLost(l *link, cause error) {
	c.log.Warn("link has lost data: it is not trusted until a resync", zap.String("link", l.name), zap.NamedError("cause", cause))
	c.events.emit(LinkLost{At: now(), Link: l.name, Cause: cause})
}

// background runs f unless the chain is closed. f must end with c.ctx.
func (c *Chain) background(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.tasks.Go(f)
	}
}

// Close ends every call and every handler under way and closes the stores that
// Open has opened. Leases that are held are not given back: others take the
// workflows over when the leases end. To shut down gently, end [Chain.Work]
// first. Close returns within ctx, with ctx's error if something did not end in
// time, and nil on a closed chain.
func (c *Chain) Close(ctx context.Context) error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	errs := []error{c.settleOwed(ctx)} // while calls still work
	if c.ungauge != nil {
		errs = append(errs, c.ungauge())
	}
	c.cancel(ErrClosed)
	ended := make(chan struct{})
	go func() {
		c.tasks.Wait()
		c.events.close()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("close chain %q: background work has not ended: %w", c.config.Name, ctx.Err()))
	}
	return errors.Join(append(errs, c.closeLinks(ctx)...)...)
}
