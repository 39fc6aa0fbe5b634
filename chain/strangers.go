// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// errStranger is why a link leaves the in-sync set that this host does not have.
var errStranger = errors.New("a host of the chain does not have this link: give all hosts the same links")

// strangers returns the links of the in-sync set of e that this host does not have.
func (c *Chain) strangers(e driver.Epoch) []string {
	return slices.DeleteFunc(slices.Clone(e.InSync), func(name string) bool { return c.linkNamed(name) != nil })
}

// expel takes the links that this host does not have out of the in-sync set of e,
// in its active link, and returns the record that follows e then. This host does
// not act on e before: it would acknowledge what others believe those links hold.
func (c *Chain) expel(ctx context.Context, e driver.Epoch) (driver.Epoch, error) {
	names, active, next := c.strangers(e), c.linkNamed(e.Active), version(e)
	next.State, next.InSync = driver.Serving, slices.DeleteFunc(next.InSync, func(name string) bool { return slices.Contains(names, name) })
	next = counted(next)
	_, err := attempt(ctx, c.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, active.advance(ctx, e.At(), next, false)
	}, func(error) {})
	if err != nil {
		active.failed(err)
		return e, err
	}
	for _, name := range names {
		c.log.Error("link taken out of the in-sync set: this host does not have it; give all hosts the same links",
			zap.String("link", name), zap.Stringer("epoch", next))
		c.events.emit(StandbyDropped{At: now(), Link: name, Epoch: next.Clone(), Cause: errStranger, Protected: len(next.InSync) > 0})
	}
	return next, nil
}

// expelNow is expel for a host that acts on no record yet, until ctx is done. The
// error is errMoved if others have changed the record meanwhile.
func (c *Chain) expelNow(ctx context.Context, e driver.Epoch) (driver.Epoch, error) {
	for n := 0; ; n++ {
		next, err := c.expel(ctx, e)
		switch class := driver.ClassOf(err); {
		case err == nil:
			return next, nil
		case class == driver.Conflict || class == driver.Fenced:
			return e, errMoved
		}
		pause(ctx, c.ctx, c.policy().pause(n))
		if ctx.Err() != nil || c.ctx.Err() != nil {
			return e, &driver.Error{Class: driver.Unavailable, Op: "find epoch", Cause: err, Detail: fmt.Sprintf(
				"the chain counts %q as in step, which this host does not have, and cannot be told otherwise", c.strangers(e))}
		}
	}
}

// expelSoon is expel, to act on what follows e, in the background. Whatever looks
// at the links meanwhile meets e again. The caller holds c.mu.
func (c *Chain) expelSoon(e driver.Epoch) {
	if c.closed || c.expelling {
		return
	}
	c.expelling = true
	c.tasks.Go(func() {
		next, err := c.expel(c.ctx, e)
		c.mu.Lock()
		c.expelling = false
		c.mu.Unlock()
		if err == nil {
			c.accept(c.view.Load(), next, c.linkNamed(next.Active))
		}
	})
}
