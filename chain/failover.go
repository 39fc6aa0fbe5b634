// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
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

// startFailover starts the failover from v because of i, unless one is under way,
// v is over, or the host is frozen.
func (c *Chain) startFailover(v *view, i incident) {
	if c.isFrozen() {
		if !i.slow { // else callers are served
			c.heldBack(v, i)
		}
		return
	}
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
// takes the next epoch. Standbys that could not are no longer in the set then.
func (c *Chain) failover(v *view, i incident) {
	number := v.epoch.Number + failoverStep
	unfit := map[*link]error{}
	for v.ctx.Err() == nil {
		cur := c.view.Load()
		l, held := c.successor(cur, unfit)
		if cur != c.view.Load() {
			continue // there was a newer record: it counts
		}
		stale := l == nil
		if stale && !i.slow { // what is missing there would weigh more than time
			l, held = c.stale(cur.ctx, cur, unfit)
		}
		if l == nil {
			if !i.slow { // else it serves, and LinkDown has told how
				c.allDown(v)
			}
			return
		}
		next := driver.Epoch{Number: number, Version: 1, Token: driver.NewToken(), Active: l.name, InSync: without(cur.epoch.InSync, l.name)}
		for other := range unfit {
			next.InSync = without(next.InSync, other.name)
		}
		next.Incarnations = cur.epoch.Incarnations
		next = counted(next)
		inFlight := int(c.inFlight.Load())
		made, err := c.makeActive(cur, l, held.At(), next, stale)
		if made {
			c.tellFailedOver(v, next, i, inFlight)
			for other, cause := range unfit {
				if cur.holds(other) { // else it was out of step before
					c.tellDropped(next, other, cause)
				}
			}
			return
		}
		if e, ok := errors.AsType[*driver.Error](err); ok && e.Epoch != nil {
			c.heed(cur, l, *e.Epoch)
			if e.Class == driver.Conflict && e.Epoch.At() != held.At() {
				continue // it has been told of another record meanwhile
			}
		}
		if driver.ClassOf(err) == driver.Unknown {
			number += failoverStep // should it have been done, nobody may believe it for long
		}
		l.failed(driver.In(err, l.name, "take over"))
		unfit[l] = err
	}
}

// makeActive makes l active by next, and reports whether the chain has come to
// that. A status check may read next from l, and have this host act on it, before
// the answer has come, or although that is lost; it is told once, by failover.
func (c *Chain) makeActive(v *view, l *link, expect driver.EpochVersion, next driver.Epoch, trusting bool) (made bool, err error) {
	c.making.Store(next.Token, false)
	defer c.making.Delete(next.Token)
	if err := c.takeOver(v, l, expect, next, trusting); err != nil {
		return c.view.Load().epoch.Equal(next), err
	}
	c.adopt(next, l)
	return true, nil
}

// failoverStep is by how much a failover raises the number, so that it stands
// above a planned change which the failing link has taken and nobody else seen.
const failoverStep = 2

func (c *Chain) tellFailedOver(v *view, e driver.Epoch, i incident, inFlight int) {
	c.log.Error("failed over",
		zap.String("from", v.active.name), zap.String("to", e.Active), zap.Stringer("epoch", e),
		zap.NamedError("cause", i.last), zap.NamedError("evidence", i.first),
		zap.Int("attempts", i.attempts), zap.Int("retries", i.retries),
		zap.Duration("elapsed", time.Since(i.began)), zap.Int("in_flight", inFlight), zap.Bool("protected", len(e.InSync) > 0))
	c.events.emit(FailedOver{At: now(), From: v.active.name, To: e.Active, Epoch: e.Clone(), Cause: i.last, Evidence: i.first,
		Attempts: i.attempts, Elapsed: time.Since(i.began), InFlight: inFlight, Protected: len(e.InSync) > 0})
}

// successor looks at all standbys of v at once and returns the first in the order
// of the chain that is fit to take over, with what it holds; nil if none is. All
// are heard, since one of them may know that another has been dropped; but once
// one is fit, it waits for no more than a tenth of an attempt. Those that come
// before it and have not answered, and those that are not fit, go into unfit.
func (c *Chain) successor(v *view, unfit map[*link]error) (*link, driver.Epoch) {
	type answer struct {
		link *link
		held driver.Epoch
		err  error
	}
	ctx, cancel := context.WithCancel(v.ctx)
	defer cancel()
	answers := make(chan answer, len(v.standbys))
	waiting := 0
	for _, l := range v.standbys {
		if err := l.distrusted(); err != nil && unfit[l] == nil {
			unfit[l] = err
		}
		if unfit[l] != nil {
			continue
		}
		waiting++
		go func() {
			held, err := attempt(ctx, ctx, c.policy().Attempt, func(ctx context.Context) (driver.Epoch, error) { return c.consider(ctx, v, l) }, func(error) {})
			answers <- answer{l, held, err}
		}()
	}
	fit := map[*link]driver.Epoch{}
	var patience <-chan time.Time // never, as long as none is fit
	for ; waiting > 0; waiting-- {
		select {
		case a := <-answers:
			if err := c.fit(v, a.link, a.held, a.err); err != nil {
				a.link.failed(err)
				unfit[a.link] = err
				continue
			}
			if fit[a.link] = a.held; patience == nil {
				patience = time.After(c.policy().Attempt / 10)
			}
		case <-patience:
			waiting = 1
		case <-v.ctx.Done():
			return nil, driver.Epoch{}
		}
	}
	for _, l := range v.standbys {
		if held, ok := fit[l]; ok {
			return l, held
		}
		if unfit[l] == nil {
			unfit[l] = &driver.Error{Class: driver.Unavailable, Store: l.name, Op: "read epoch", Detail: "it did not answer while another standby did"}
		}
	}
	return nil, driver.Epoch{}
}

// consider returns what the standby l of v holds. If that is what it should, the
// error says whether this host may believe it.
func (c *Chain) consider(ctx context.Context, v *view, l *link) (driver.Epoch, error) {
	held, err := l.epoch(ctx)
	if err == nil && v.fit(l, held) == nil {
		err = c.vet(ctx, v, l)
	}
	return held, err
}

// fit returns why the standby l of v, which holds held, cannot take over; nil if
// it can. A newer record that it holds counts from now on.
func (c *Chain) fit(v *view, l *link, held driver.Epoch, err error) error {
	if err != nil {
		return err
	}
	if err = v.fit(l, held); driver.ClassOf(err) == driver.Fenced {
		c.heed(v, l, held)
	}
	return err
}

// fit is rule 5 of docs/epochs.md.
func (v *view) fit(l *link, held driver.Epoch) error {
	switch {
	case tied(held, v.epoch), newer(held, v.epoch):
		return &driver.Error{Class: driver.Fenced, Store: l.name, Op: "take over", Detail: "it holds epoch " + held.String()}
	case !v.followed(held):
		return &driver.Error{Class: driver.Lost, Store: l.name, Op: "take over",
			Detail: "it holds epoch " + held.String() + " while the chain is at " + v.epoch.String() + ": it misses what was acknowledged since"}
	}
	return nil
}

// takeOver advances l, which holds expect, to next; trusting leaves out what this
// host has seen of it, as for a link that may have missed something. All tries together take no
// longer than one attempt.
func (c *Chain) takeOver(v *view, l *link, expect driver.EpochVersion, next driver.Epoch, trusting bool) error {
	p := c.policy()
	began := time.Now()
	for n := 0; ; n++ {
		limit := max(p.Attempt-time.Since(began), time.Millisecond)
		_, err := attempt(v.ctx, v.ctx, limit, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, l.advance(ctx, expect, next, trusting)
		}, func(error) {})
		wait := p.pause(n)
		if err == nil || v.ctx.Err() != nil || decide(opMerge, err) != again || time.Since(began)+wait >= p.Attempt {
			return err
		}
		pause(v.ctx, v.ctx, wait)
	}
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
