// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// herald brings each record that the host acts on to l while it is not active,
// for as long as the chain is open: number and version.
func (c *Chain) herald(l *link) {
	fenced := uint64(0) // the last number of which that was told
	for n := 0; c.ctx.Err() == nil; {
		v := c.view.Load()
		if v.epoch.Number == 0 || v.active == l || l.knows(v.epoch.At()) {
			if v.epoch.Number > 1 && !v.counts(l) && fenced < v.epoch.Number {
				fenced = v.epoch.Number
				c.log.Info("link fenced", zap.String("link", l.name), zap.Stringer("epoch", v.epoch))
				c.events.emit(LinkFenced{At: now(), Link: l.name, Epoch: v.epoch.Clone()})
			}
			n = 0
			select {
			case <-v.over:
			case <-l.stir:
			case <-c.ctx.Done():
			}
			continue
		}
		_, err := attempt(c.ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, l.inform(ctx, v)
		}, func(error) {})
		if c.ctx.Err() != nil || v.ctx.Err() != nil {
			continue
		}
		switch {
		case err == nil:
			continue
		case driver.ClassOf(err) == driver.Fenced:
			c.follow(v.ctx, v, l, err)
		case v.holds(l) && decide(opMerge, err) == leave:
			l.failed(err)
			_ = c.dropStandby(v, l, err) // it fails only when the epoch is over, or the active link refuses
		}
		c.rest(v, l, c.policy().pause(n))
		n++
	}
}

// heard acts on the record that l was found to hold by a call sent in v, and has
// the herald tell l the present one if it holds less.
func (c *Chain) heard(v *view, l *link, held driver.Epoch) {
	c.heed(v, l, held)
	if !l.knows(c.view.Load().epoch.At()) {
		nudge(l.stir)
	}
}

// rest waits for d, or until there is another record to tell l.
func (c *Chain) rest(v *view, l *link, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-v.over:
	case <-l.stir:
	case <-c.ctx.Done():
	}
}

// inform brings the record of v to the store unless it holds that already. A
// standby of the set that has not followed is Lost. The error is Fenced, with
// what the store holds, if that does not come before the record of v.
func (l *link) inform(ctx context.Context, v *view) error {
	if l.knows(v.epoch.At()) {
		return nil
	}
	member := v.holds(l)
	if lost := l.distrusted(); member && lost != nil {
		return lost
	}
	for {
		held, err := l.read(ctx, member)
		switch {
		case err != nil:
			return err
		case held.Equal(v.epoch):
			l.learned(held.At())
			return nil
		case tied(held, v.epoch), !before(held.At(), v.epoch.At()):
			return &driver.Error{Class: driver.Fenced, Store: l.name, Op: "advance epoch", Epoch: &held,
				Detail: fmt.Sprintf("it holds epoch %s and was to be told %s", held, v.epoch)}
		case member && !v.followed(held):
			return &driver.Error{Class: driver.Lost, Store: l.name, Op: "advance epoch", Detail: fmt.Sprintf(
				"it is at epoch %d while the chain is at %d: it has been emptied, has gone back, or was never in step", held.Number, v.epoch.Number)}
		}
		err = l.advance(ctx, held.At(), v.epoch, !member)
		if driver.ClassOf(err) != driver.Conflict || ctx.Err() != nil {
			return err
		} // another host was faster: look again
	}
}

// errElsewhere is why a standby was dropped of which another host has told.
var errElsewhere = errors.New("another host has dropped it")

// tellSet brings the record of v to every standby of its set, before anything is
// acknowledged that other records would count as missing in one of them. A
// standby that cannot be told is dropped. The error is as of dropStandby.
func (c *Chain) tellSet(v *view) error {
	for _, l := range v.standbys {
		if err := c.tell(v, l); err != nil {
			return err
		}
	}
	return nil
}

// tell brings the record of v to the standby l within the time of a mirror, or
// drops it.
func (c *Chain) tell(v *view, l *link) error {
	p := c.policy()
	began := time.Now()
	for n := 0; ; n++ {
		cur := c.view.Load()
		switch {
		case c.ctx.Err() != nil:
			return &driver.Error{Class: driver.Unknown, Cause: ErrClosed}
		case cur.epoch.Number != v.epoch.Number:
			return errMoved
		case !cur.holds(l) || l.knows(cur.epoch.At()):
			return nil
		}
		limit := min(p.Attempt, max(p.Mirror-time.Since(began), time.Millisecond))
		_, err := attempt(c.ctx, cur.ctx, limit, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, l.inform(ctx, cur)
		}, func(error) {})
		if err == nil || cur.ctx.Err() != nil {
			continue
		}
		if err := c.fails(cur, l, err, n, began); err != nil {
			return err
		}
	}
}

// fails deals with failure n, from 0, of the standby l in v since began: it
// waits until the next attempt, follows, or drops l. The error is that of
// dropStandby.
func (c *Chain) fails(v *view, l *link, err error, n int, began time.Time) error {
	l.failed(err)
	p := c.policy()
	act, wait := decide(opMerge, err), p.pause(n)
	switch {
	case act == follow:
		c.follow(c.ctx, v, l, err)
	case act == again && time.Since(began)+wait < p.Mirror:
		pause(c.ctx, v.ctx, wait)
	default:
		return c.dropStandby(v, l, err)
	}
	return nil
}
