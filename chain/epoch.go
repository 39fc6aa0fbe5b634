// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// view is one epoch record as this host acts on it. It never changes.
type view struct {
	epoch    driver.Epoch
	active   *link
	standbys []*link // the in-sync set, in the order of the chain

	// ctx is done when the number of the epoch is over. It is shared by the
	// versions of one number.
	ctx context.Context
	end context.CancelCauseFunc
}

// holds reports whether l is in the in-sync set.
func (v *view) holds(l *link) bool { return slices.Contains(v.standbys, l) }

// newer orders two epoch records.
func newer(a, b driver.Epoch) bool {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Version, b.Version)) > 0
}

// without returns the in-sync set less one link.
func without(set []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(set), func(s string) bool { return s == name })
}

func (c *Chain) linkNamed(name string) *link {
	i := slices.IndexFunc(c.links, func(l *link) bool { return l.name == name })
	if i < 0 {
		return nil
	}
	return c.links[i]
}

// adopt acts on e from now on if it is newer than what the host acts on, and
// returns whether it was. Calls under way in an epoch of a lower number end.
func (c *Chain) adopt(e driver.Epoch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.view.Load()
	if old != nil && !newer(e, old.epoch) {
		return false
	}
	defer c.moved.send()
	active := c.linkNamed(e.Active)
	if active == nil {
		c.log.Error("cannot follow: the epoch names a link that this host does not have; give all hosts the same links",
			zap.Stringer("epoch", e), zap.String("link", e.Active))
		return false
	}
	v := &view{epoch: e.Clone(), active: active}
	for _, l := range c.links {
		if l != active && slices.Contains(e.InSync, l.name) {
			v.standbys = append(v.standbys, l)
		}
	}
	if old != nil && old.epoch.Number == e.Number {
		v.ctx, v.end = old.ctx, old.end
		c.view.Store(v)
		return true
	}
	v.ctx, v.end = context.WithCancelCause(c.ctx)
	active.health.reset()
	c.down.Store(false)
	c.view.Store(v)
	if old != nil {
		old.end(errMoved)
	}
	c.herald(v)
	return true
}

// herald brings the epoch to every other link, so that hosts which believe in
// an older one are refused there, for as long as the number lasts. The caller
// holds c.mu.
func (c *Chain) herald(v *view) {
	for _, l := range c.links {
		if l != v.active && !c.closed {
			c.tasks.Go(func() { c.informUntilDone(v, l) })
		}
	}
}

func (c *Chain) informUntilDone(v *view, l *link) {
	for n := 0; v.ctx.Err() == nil; n++ {
		standby := c.view.Load().holds(l)
		before := l.informed.Load()
		_, err := attempt(v.ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, l.inform(ctx, v.epoch, !standby)
		}, func(error) {})
		switch {
		case v.ctx.Err() != nil:
			return
		case err == nil:
			if !standby && before < v.epoch.Number {
				c.log.Info("link fenced", zap.String("link", l.name), zap.Stringer("epoch", v.epoch))
				c.events.emit(LinkFenced{At: now(), Link: l.name, Epoch: v.epoch.Clone()})
			}
			return
		case driver.ClassOf(err) == driver.Fenced:
			c.follow(v.ctx, v, err)
		case standby && decide(opMerge, err) == leave:
			l.failed(err)
			_ = c.dropStandby(v, l, err) // it fails only when the epoch is over
		}
		pause(v.ctx, v.ctx, c.policy().pause(n))
	}
}

// follow takes over the newer epoch that err carries, or that any link holds if
// it carries none. When there is none, as during a handover, it waits a moment.
// It returns when ctx is done.
func (c *Chain) follow(ctx context.Context, v *view, err error) {
	e, ok := errors.AsType[*driver.Error](err)
	if ok && e.Epoch != nil {
		c.join(v, *e.Epoch)
	} else {
		for _, held := range c.readEpochs(ctx) {
			c.join(v, held)
		}
	}
	if c.view.Load() == v {
		pause(ctx, v.ctx, c.policy().pause(0))
	}
}

// join adopts e and tells so if that moved the chain to another epoch.
func (c *Chain) join(v *view, e driver.Epoch) {
	if !c.adopt(e) || e.Number == v.epoch.Number {
		return
	}
	c.log.Warn("followed another host", zap.String("from", v.active.name), zap.String("to", e.Active), zap.Stringer("epoch", e))
	c.events.emit(Followed{At: now(), From: v.active.name, Epoch: e.Clone()})
}

// readEpochs reads the epoch record of every link once. Links that do not answer
// are left out; why is in their evidence.
func (c *Chain) readEpochs(ctx context.Context) map[*link]driver.Epoch {
	type answer struct {
		link *link
		held driver.Epoch
		err  error
	}
	answers := make(chan answer, len(c.links))
	for _, l := range c.links {
		go func() {
			held, err := attempt(ctx, c.ctx, c.policy().Attempt, l.epoch, func(error) {})
			answers <- answer{l, held, err}
		}()
	}
	held := make(map[*link]driver.Epoch, len(c.links))
	for range c.links {
		a := <-answers
		if a.err != nil {
			a.link.failed(driver.In(a.err, a.link.name, "read epoch"))
			continue
		}
		held[a.link] = a.held
	}
	return held
}
