// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

func now() time.Time { return time.Now() }

// switchOver returns a channel that is closed when the failover under way has
// ended, well or not; nil if there is none.
func (c *Chain) switchOver() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.switching
}

// startFailover starts the failover from v because of i, unless one is under way
// or v is over.
func (c *Chain) startFailover(v *view, i incident) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.switching != nil || c.view.Load().epoch.Number != v.epoch.Number {
		return
	}
	done := make(chan struct{})
	c.switching = done
	c.tasks.Go(func() {
		c.failover(v, i)
		c.mu.Lock()
		c.switching = nil
		c.mu.Unlock()
		close(done)
	})
}

// failover moves the chain from v to the first standby of the in-sync set that
// takes the next epoch.
func (c *Chain) failover(v *view, i incident) {
	for _, l := range c.view.Load().standbys {
		if l.distrusted() != nil {
			continue
		}
		e, won, err := c.takeOver(v, l)
		switch {
		case v.ctx.Err() != nil:
			return // another host was faster, or the chain is closed
		case err != nil:
			l.failed(driver.In(err, l.name, "take over"))
			continue
		case !won:
			c.join(v, e)
			return
		}
		inFlight := int(c.inFlight.Load())
		c.adopt(e)
		c.log.Error("failed over",
			zap.String("from", v.active.name), zap.String("to", l.name), zap.Stringer("epoch", e),
			zap.NamedError("cause", i.last), zap.NamedError("evidence", i.first),
			zap.Int("attempts", i.attempts), zap.Int("retries", i.retries),
			zap.Duration("elapsed", time.Since(i.began)), zap.Int("in_flight", inFlight), zap.Bool("protected", len(e.InSync) > 0))
		c.events.emit(FailedOver{At: now(), From: v.active.name, To: l.name, Epoch: e.Clone(), Cause: i.last, Evidence: i.first,
			Attempts: i.attempts, Elapsed: time.Since(i.began), InFlight: inFlight, Protected: len(e.InSync) > 0})
		return
	}
	c.allDown(v)
}

// takeOver advances the epoch in l. If a newer one stands there already, it
// returns that one and false.
func (c *Chain) takeOver(v *view, l *link) (e driver.Epoch, won bool, err error) {
	next := driver.Epoch{
		Number: v.epoch.Number + 1, Version: 1, Token: driver.NewToken(), Active: l.name,
		InSync: without(c.view.Load().epoch.InSync, l.name),
	}
	const tries = 3 // an answer may be lost, or another host may come between
	for n := range tries {
		if n > 0 {
			pause(v.ctx, v.ctx, c.policy().pause(n-1))
		}
		e, err = attempt(v.ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (driver.Epoch, error) {
			held, err := l.epoch(ctx)
			if err != nil || held.Number > v.epoch.Number {
				return held, err
			}
			return next, l.advance(ctx, held.At(), next, false)
		}, func(error) {})
		if err == nil {
			return e, e.Token == next.Token, nil
		}
		class := driver.ClassOf(err)
		if class != driver.Conflict && class != driver.Fenced && decide(opMerge, err) != again {
			return e, false, err
		}
	}
	return e, false, err
}

// allDown tells once that no link can serve.
func (c *Chain) allDown(v *view) {
	if !c.down.CompareAndSwap(false, true) {
		return
	}
	var why causes
	for _, l := range c.links {
		lost, latest := l.distrusted(), l.evidence()
		switch {
		case lost != nil:
			why = append(why, lost)
		case l != v.active && !c.view.Load().holds(l):
			why = append(why, &driver.Error{Class: driver.Lost, Store: l.name, Detail: "not in step: it needs a resync"})
		case latest != nil:
			why = append(why, latest)
		}
	}
	c.log.Error("all links down: callers wait", zap.Stringer("epoch", v.epoch), zap.NamedError("cause", why),
		zap.Int64("in_flight", c.inFlight.Load()))
	c.events.emit(AllDown{At: now(), Epoch: v.epoch.Clone(), Cause: why})
}

// recovered tells that the active link of v serves again after allDown.
func (c *Chain) recovered(v *view) {
	if !c.down.CompareAndSwap(true, false) {
		return
	}
	c.log.Warn("recovered", zap.String("link", v.active.name), zap.Stringer("epoch", v.epoch))
	c.events.emit(Recovered{At: now(), Epoch: v.epoch.Clone()})
}
