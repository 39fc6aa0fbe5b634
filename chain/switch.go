// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// SwitchTo makes the named link the active one: a planned change, for
// maintenance or to go back to a link by hand. The link must be in the in-sync
// set, so that it holds everything; the former active link stays in the set.
// Calls under way go on there and see no error. It returns nil at once if the
// link is active already. With FailbackAuto the chain goes back from it to a link
// that stands before it, once the hold-down has passed: freeze all hosts, or give
// them FailbackManual, to stay there.
//
// The change is made in the active link. While that does not answer, SwitchTo waits
// for it, until a failover or the end of ctx: a link that is down is left by the
// failover, not by a switch.
//
// Errors: driver.Invalid if there is no such link; driver.Conflict if it is not
// in the set, or the epoch has changed meanwhile, by a failover or by other hosts:
// look at [Chain.Status], and call again if the link is still not active;
// driver.Unavailable if the link does not answer; driver.Unknown if ctx ended before
// it was certain that the chain has switched.
func (c *Chain) SwitchTo(ctx context.Context, link string) error {
	l := c.linkNamed(link)
	if l == nil {
		return &driver.Error{Class: driver.Invalid, Store: c.config.Name, Op: "switch", Detail: fmt.Sprintf("there is no link %q", link)}
	}
	return c.switchTo(ctx, l)
}

// switchTo is SwitchTo for a link of the chain.
func (c *Chain) switchTo(ctx context.Context, l *link) error {
	v := c.view.Load()
	switch {
	case v.active == l:
		return nil
	case !v.holds(l):
		return &driver.Error{Class: driver.Conflict, Store: l.name, Op: "switch", Detail: "it is not in the in-sync set: " + v.epoch.String()}
	case v.epoch.State != driver.Serving:
		return &driver.Error{Class: driver.Conflict, Store: l.name, Op: "switch", Detail: "a handover is under way"}
	}
	began := time.Now()
	if err := c.follows(ctx, v, l); err != nil {
		return driver.In(err, l.name, "switch")
	}
	next := driver.Epoch{Number: v.epoch.Number + 1, Version: 1, Token: driver.NewToken(), Active: l.name,
		InSync: with(without(v.epoch.InSync, l.name), v.active.name), Incarnations: v.epoch.Clone().Incarnations}
	if err := c.alter(ctx, v, next); err != nil {
		if err == errMoved { //nolint:errorlint // it is never wrapped
			err = c.overtaken()
		}
		return driver.In(err, l.name, "switch")
	}
	// Whoever acts on the record now brings it to the link; see prove.
	for {
		cur := c.view.Load()
		select {
		case <-cur.proven:
		case <-cur.over:
			continue
		case <-ctx.Done():
			return &driver.Error{Class: driver.Unknown, Store: l.name, Op: "switch", Cause: context.Cause(ctx)}
		case <-c.ctx.Done():
			return &driver.Error{Class: driver.Unknown, Store: l.name, Op: "switch", Cause: ErrClosed}
		}
		if cur.active != l {
			return &driver.Error{Class: driver.Unavailable, Store: l.name, Op: "switch", Detail: "it did not take over; the chain is at " + cur.epoch.String()}
		}
		c.log.Info("switched", zap.String("from", v.active.name), zap.String("to", l.name), zap.Stringer("epoch", cur.epoch),
			zap.Duration("pause", time.Since(began)))
		c.events.emit(Switched{At: now(), From: v.active.name, To: l.name, Epoch: cur.epoch.Clone(), Pause: time.Since(began)})
		return nil
	}
}

// follows makes sure that the standby l of v answers and holds the record.
func (c *Chain) follows(ctx context.Context, v *view, l *link) error {
	_, err := attempt(ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) {
		if err := l.inform(ctx, v); err != nil {
			return struct{}{}, err
		}
		held, err := l.epoch(ctx)
		if err == nil && !held.Equal(v.epoch) {
			err = &driver.Error{Class: driver.Fenced, Epoch: &held}
		}
		return struct{}{}, err
	}, func(error) {})
	if driver.ClassOf(err) == driver.Fenced {
		c.follow(ctx, v, l, err)
		return c.overtaken()
	}
	return err
}

// overtaken is the error of a switch from an epoch that is over.
func (c *Chain) overtaken() error {
	return &driver.Error{Class: driver.Conflict, Detail: "the epoch has changed meanwhile, the chain is at " + c.view.Load().epoch.String() +
		": call again if the link is still to be the active one"}
}
