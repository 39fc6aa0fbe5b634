// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// settle ends a tie: over a network that was cut, two hosts have made the same
// number in two links, that of v and that of held. The link that stands first in
// the order wins: it gets the next number, without the other link in its set.
func (c *Chain) settle(v *view, held driver.Epoch) {
	if c.precedes(v.epoch.Active, held.Active) {
		next := untied(v.epoch, held.Active)
		if c.alter(v.ctx, v, next) == nil {
			c.tellSettled(held, next)
		}
		return
	}
	l := c.linkNamed(held.Active)
	if l == nil {
		return
	}
	e, err := attempt(v.ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (driver.Epoch, error) {
		e, err := l.epoch(ctx)
		if err != nil || e.Number != held.Number || e.Active != held.Active {
			return e, err
		}
		next := untied(e, v.epoch.Active)
		return next, l.advance(ctx, e.At(), next, false)
	}, func(error) {})
	if err != nil {
		l.failed(driver.In(err, l.name, "settle a tie"))
		return
	}
	if e.Number > v.epoch.Number {
		c.tellSettled(v.epoch, e)
		c.accept(v, e, l)
	}
}

// untied returns what follows the winner of a tie.
func untied(winner driver.Epoch, loser string) driver.Epoch {
	next := winner.Clone()
	next.Number, next.Version, next.Token, next.State = next.Number+1, 1, driver.NewToken(), driver.Serving
	next.InSync = slices.DeleteFunc(next.InSync, func(name string) bool { return name == loser })
	return counted(next)
}

func (c *Chain) tellSettled(loser, next driver.Epoch) {
	c.log.Error("two hosts had made the same epoch in two links: the first in the order wins, what the other took alone is not in the chain",
		zap.Stringer("lost", loser), zap.Stringer("epoch", next))
	c.events.emit(TieSettled{At: now(), Lost: loser.Clone(), Epoch: next.Clone()})
}
