// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

// CheckLinks finds out whether [Open] would take the links of config: it opens
// each, which starts its plugin, asks its driver what it is, compares how their
// connections are protected, and closes them. No store has to be there, and no
// workflow is touched. Errors: all that Open would refuse, joined; also drivers that
// cannot be started, whatever config.StartDegraded says. It returns nil when Open
// can only fail for want of an epoch.
func CheckLinks(ctx context.Context, config Config, options ...Option) error {
	config.StartDegraded = false
	c, err := prepare(ctx, config, options)
	if err != nil {
		return err
	}
	return errors.Join(c.openLinks(ctx), c.closeNow(ctx))
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
				errs[i] = ofLink(l.name, err)
			}
			if l.store != nil {
				l.store = c.telemetry.observe(l.store, l.name)
			}
		})
	}
	all.Wait()
	return errors.Join(append(errs, c.unsuitable()...)...)
}

// ofLink names the link in an error that names only its driver: several links may
// have the same.
func ofLink(name string, err error) error {
	if e, ok := errors.AsType[*driver.Error](err); ok && e.Store == name {
		return err
	}
	return fmt.Errorf("link %q: %w", name, err)
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
			"its connections are plain text, and the driver of %q has not said how its own are protected: protect it, or name it in AllowWeaker (allow_weaker in a file)", first.name)}
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
		"the protection of its connections is %q, of those of %q %q: a failover would weaken the protection; protect them alike, or name the link in AllowWeaker (allow_weaker in a file)",
		about.Protection.String(), c.links[0].name, first.Protection.String())}
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
