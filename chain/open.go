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

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// Chain is an opened chain of links. All methods may be called from any number
// of goroutines at once.
type Chain struct {
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
	view     atomic.Pointer[view] // never nil once the chain is open
	moved    broadcast            // sent after each change of view
	down     atomic.Bool          // allDown was told
	rises    chan struct{}        // holds one when a link has become fit to serve, or ceased to be

	mu        sync.Mutex
	closed    bool
	switching chan struct{} // see switchOver
}

// Open opens the chain. It joins the highest epoch found in any link that can be
// reached, and makes the first epoch if there is none in any of them.
//
// It waits for links that do not answer until Policy.Timeout or the end of ctx.
// Links that still do not answer then are no obstacle, as long as one of the
// others holds an epoch: who has to wait is decided call by call. The first
// epoch of all is made only when every link answers.
//
// Errors: driver.Invalid for a wrong configuration, a plugin that cannot be
// used, or a link less protected than the first one (see Config.AllowWeaker);
// driver.Unavailable if no epoch could be found or made.
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
	for _, option := range options {
		option(c)
	}
	c.log = c.log.With(zap.String("chain", config.Name), zap.String("host", config.Host))
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.commits.send = c.commitBatch
	err := c.openLinks(ctx)
	if err == nil {
		err = c.findEpoch(ctx)
	}
	if err != nil {
		err = fmt.Errorf("open chain %q: %w", config.Name, err)
		return nil, errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	}
	v := c.view.Load()
	c.log.Info("chain open", zap.Stringer("epoch", v.epoch), zap.String("active", v.active.name))
	for _, l := range c.links {
		c.background(func() { c.watch(l) })
	}
	if len(c.links) > 1 && len(v.standbys) == 0 {
		c.log.Error("running unprotected: no standby is in step", zap.Stringer("epoch", v.epoch))
	}
	return c, nil
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "host"
	}
	return fmt.Sprintf("%s-%d-%s", name, os.Getpid(), driver.NewToken().String()[:8])
}

func (c *Chain) openLinks(ctx context.Context) error {
	for _, config := range c.config.Links {
		l := &link{name: config.Name, store: config.Store, drop: make(chan struct{}, 1)}
		l.merges = &combiner[*mergeGroup]{send: func(groups []*mergeGroup) { c.mergeBatch(l, groups) }}
		if l.store == nil {
			store, err := c.openStore(ctx, config)
			if err != nil {
				return driver.In(err, l.name, "open")
			}
			l.store, l.owned = store, true
		}
		c.links = append(c.links, l)
		about, err := l.store.Describe(ctx, driver.DescribeRequest{})
		if err != nil {
			return driver.In(err, l.name, "describe")
		}
		if l.about = about; about.Contract != driver.Contract {
			return &driver.Error{Class: driver.Invalid, Store: l.name, Op: "open", Detail: fmt.Sprintf(
				"driver %s %s is of contract %d, this program of %d: use matching versions",
				about.Driver, about.Version, about.Contract, driver.Contract)}
		}
		first := c.links[0].about.Protection
		if about.Protection < first && !slices.Contains(c.config.AllowWeaker, l.name) {
			return &driver.Error{Class: driver.Invalid, Store: l.name, Op: "open", Detail: fmt.Sprintf(
				"its connections are protected by %s, those of %q by %s: a failover would weaken the protection; protect it, or name it in AllowWeaker",
				about.Protection, c.links[0].name, first)}
		}
	}
	return nil
}

// findEpoch joins the highest epoch, or makes the first.
func (c *Chain) findEpoch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.policy().Timeout)
	defer cancel()
	var held map[*link]driver.Epoch
	for n := 0; ; n++ {
		held = c.readEpochs(ctx)
		if len(held) == len(c.links) {
			break
		}
		if pause(ctx, c.ctx, c.policy().pause(n)); ctx.Err() != nil {
			break
		}
	}
	var highest driver.Epoch
	for _, e := range held {
		if newer(e, highest) {
			highest = e
		}
	}
	if highest.Number == 0 {
		if len(held) < len(c.links) {
			return c.noEpoch(ctx, held)
		}
		first, err := c.firstEpoch(ctx)
		if err != nil {
			return err
		}
		highest = first
	}
	if !c.adopt(highest) {
		return &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf(
			"the stores are at epoch %s, whose link %q is not configured: give all hosts the same links", highest, highest.Active)}
	}
	c.dropBehind(ctx, held)
	return nil
}

// noEpoch is the error when no link that answers was ever in use.
func (c *Chain) noEpoch(ctx context.Context, held map[*link]driver.Epoch) error {
	why := causes{}
	if err := ctx.Err(); err != nil {
		why = append(why, err)
	}
	for _, l := range c.links {
		if _, answered := held[l]; answered {
			continue
		}
		if latest := l.evidence(); latest != nil {
			why = append(why, latest)
		}
	}
	return &driver.Error{Class: driver.Unavailable, Op: "find epoch", Cause: why,
		Detail: "no link that answers has been in use; a chain can begin only when all its links answer"}
}

// firstEpoch makes epoch 1: the first link active, all others in step, as all
// are empty. Of several hosts that try it one wins, and the others join it.
func (c *Chain) firstEpoch(ctx context.Context) (driver.Epoch, error) {
	active := c.links[0]
	first := driver.Epoch{Number: 1, Version: 1, Token: driver.NewToken(), Active: active.name}
	for _, l := range c.links[1:] {
		first.InSync = append(first.InSync, l.name)
	}
	slices.Sort(first.InSync)
	for n := 0; ; n++ {
		_, err := attempt(ctx, c.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, active.advance(ctx, driver.EpochVersion{}, first, false)
		}, func(error) {})
		if err == nil {
			return first, nil
		}
		if e, ok := errors.AsType[*driver.Error](err); ok && e.Epoch != nil {
			return *e.Epoch, nil
		}
		if decide(opAdvance, err) != again || ctx.Err() != nil {
			return first, err
		}
		pause(ctx, c.ctx, c.policy().pause(n))
	}
}

// dropBehind takes standbys out of the in-sync set that have not got the epoch
// although they should be in step: they have lost it, and their data with it.
// While the active link holds no record they have missed nothing. A standby that
// did not answer stays: the first merge will tell.
func (c *Chain) dropBehind(ctx context.Context, held map[*link]driver.Epoch) {
	v := c.view.Load()
	for _, l := range v.standbys {
		e, answered := held[l]
		if !answered || e.Number >= v.epoch.Number {
			continue
		}
		page, _, err := onActive(ctx, c, opRead, "list", nil, func(ctx context.Context, v *view) (driver.ListResponse, error) {
			return v.active.list(ctx, driver.ListRequest{Limit: 1})
		})
		if err == nil && len(page.Records) == 0 && page.Next == "" {
			return
		}
		l.failed(&driver.Error{Class: driver.Lost, Store: l.name, Detail: fmt.Sprintf(
			"it is at epoch %d while the chain is at %d: it has been emptied, or has never been in step", e.Number, v.epoch.Number)})
		lost := l.distrusted()
		c.background(func() { _ = c.dropStandby(v, l, lost) }) // it fails only when the epoch is over
	}
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
	for _, l := range c.links {
		if l.owned {
			errs = append(errs, driver.In(l.store.Close(ctx), l.name, "close"))
		}
	}
	return errors.Join(errs...)
}
