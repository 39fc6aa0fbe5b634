// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
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
	atStep   func(step string)      // nil but in tests: see passing

	mu        sync.Mutex
	closed    bool
	strange   driver.EpochVersion // the last record told to name an unknown link
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
// Errors: driver.Invalid for a wrong configuration, a plugin that cannot be
// used, or a link less protected than the first one (see Config.AllowWeaker);
// driver.Unsupported for a driver that is not linked into the program;
// driver.Unavailable if no epoch could be found or made, or a driver did not even
// say what it is within Policy.Timeout.
func Open(ctx context.Context, config Config, options ...Option) (*Chain, error) {
	config = config.WithDefaults()
	if err := config.validate(); err != nil {
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
	err := c.openLinks(ctx)
	if err == nil {
		err = c.findEpoch(ctx)
		if config.StartDegraded && driver.ClassOf(err) == driver.Unavailable && ctx.Err() == nil {
			c.startDegraded(err)
			err = nil
		}
	}
	if err == nil {
		c.ungauge, err = c.gauge()
	}
	if err != nil {
		err = fmt.Errorf("open chain %q: %w", config.Name, err)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		return nil, errors.Join(err, c.Close(ctx))
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

// closeTime is what Open gives the links to end when it fails.
const closeTime = 5 * time.Second

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "host"
	}
	return fmt.Sprintf("%s-%d-%s", name, os.Getpid(), driver.NewToken().String()[:8])
}

// openLinks opens the stores of all links at once, so that a driver that hangs
// does not hold up the others. The error tells of every link that cannot be one.
func (c *Chain) openLinks(ctx context.Context) error {
	c.links = make([]*link, len(c.config.Links))
	errs := make([]error, len(c.links))
	limit, cancel := ctx, context.CancelFunc(func() {})
	if c.config.StartDegraded {
		limit, cancel = context.WithTimeout(ctx, c.policy().Timeout)
	}
	defer cancel()
	for i, config := range c.config.Links {
		l := &link{name: config.Name, drop: make(chan struct{}, 1), stir: make(chan struct{}, 1), onLost: c.tellLost}
		l.merges = &combiner[*mergeGroup]{send: func(groups []*mergeGroup) { c.mergeBatch(l, groups) }}
		c.links[i] = l
	}
	var all sync.WaitGroup
	for i, l := range c.links {
		config := c.config.Links[i]
		all.Go(func() {
			about, err := c.openLink(limit, l, config)
			switch {
			case err == nil:
				l.said.Store(&about)
			case c.config.StartDegraded && mayPass(err) && ctx.Err() == nil:
				c.awaitDriver(l, config, err)
			default:
				errs[i] = err
			}
			if l.store != nil {
				l.store = c.telemetry.observe(l.store, l.name)
			}
		})
	}
	all.Wait()
	return errors.Join(append(errs, c.unsuitable()...)...)
}

// openLink opens the store of l and asks it what it is.
func (c *Chain) openLink(ctx context.Context, l *link, config Link) (driver.DescribeResponse, error) {
	if l.store = config.Store; l.store == nil {
		store, err := within(ctx, func(ctx context.Context) (driver.Store, error) { return c.openStore(ctx, config) },
			func(late driver.Store) { c.closeStore(late) })
		if err != nil {
			return driver.DescribeResponse{}, driver.In(err, l.name, "open")
		}
		l.store, l.owned = store, true
	}
	_, l.prompt = l.store.(*plugins.Store)
	about, err := c.describe(ctx, l.store)
	return about, driver.In(err, l.name, "describe")
}

// unsuitable returns why links that have said what they are cannot be links of the
// chain.
func (c *Chain) unsuitable() (errs []error) {
	c.mu.Lock() // see admit
	defer c.mu.Unlock()
	for _, l := range c.links {
		if l.described() {
			errs = append(errs, c.suits(l, l.about()))
		}
	}
	return errs
}

// suits returns why l, which is as about says, cannot be a link of the chain; nil
// if it can.
func (c *Chain) suits(l *link, about *driver.DescribeResponse) error {
	if about.Contract != driver.Contract {
		return &driver.Error{Class: driver.Invalid, Store: l.name, Op: "open", Detail: fmt.Sprintf(
			"driver %s %s is of contract %d, this program of %d: use matching versions",
			about.Driver, about.Version, about.Contract, driver.Contract)}
	}
	first := c.links[0]
	switch {
	case first.described():
		return c.protects(l, about, first.about())
	case about.Protection == driver.Plain && !slices.Contains(c.config.AllowWeaker, l.name):
		return &driver.Error{Class: driver.Invalid, Store: l.name, Op: "open", Detail: fmt.Sprintf(
			"its connections are plain text, and the driver of %q has not said how its own are protected: protect it, or name it in AllowWeaker", first.name)}
	}
	return nil
}

// protects returns an error if a failover from the first link, which is as first
// says, to l would weaken the protection.
func (c *Chain) protects(l *link, about, first *driver.DescribeResponse) error {
	if about.Protection >= first.Protection || slices.Contains(c.config.AllowWeaker, l.name) {
		return nil
	}
	return &driver.Error{Class: driver.Invalid, Store: l.name, Op: "open", Detail: fmt.Sprintf(
		"its connections are protected by %s, those of %q by %s: a failover would weaken the protection; protect it, or name it in AllowWeaker",
		about.Protection, c.links[0].name, first.Protection)}
}

// openTime is the longest that opening one link may take.
const openTime = 30 * time.Second

// within is call for drivers that may hang, whatever their context says: it
// returns soon after ctx is done, and gives what comes later to late.
func within[R any](ctx context.Context, call func(context.Context) (R, error), late func(R)) (R, error) {
	type result struct {
		resp R
		err  error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTime, &driver.Error{Class: driver.Unavailable,
		Detail: fmt.Sprintf("the driver has not answered within %s", openTime)})
	done := make(chan result)
	gone := make(chan struct{})
	go func() {
		defer cancel()
		resp, err := call(ctx)
		select {
		case done <- result{resp, err}:
		case <-gone:
			if err == nil {
				late(resp)
			}
		}
	}()
	select {
	case r := <-done:
		return r.resp, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.resp, r.err
	case <-timer.C:
		close(gone)
		var none R
		return none, &driver.Error{Class: driver.Unavailable, Cause: context.Cause(ctx), Detail: "the driver does not return: it breaks the contract"}
	}
}

// closeStore closes a store that nobody waits for.
func (c *Chain) closeStore(s driver.Store) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), closeTime)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		c.log.Warn("cannot close a store that was opened too late", zap.Error(err))
	}
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

// closeLinks closes the stores that Open has opened, all at once.
func (c *Chain) closeLinks(ctx context.Context) []error {
	errs := make([]error, len(c.links))
	var all sync.WaitGroup
	for i, l := range c.links {
		if !l.owned {
			continue
		}
		all.Go(func() {
			_, err := within(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, l.store.Close(ctx) }, func(struct{}) {})
			errs[i] = driver.In(err, l.name, "close")
		})
	}
	all.Wait()
	return errs
}
