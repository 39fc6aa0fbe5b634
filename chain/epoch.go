// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// view is one epoch record as this host acts on it. It never changes.
type view struct {
	epoch    driver.Epoch
	came     driver.Epoch // what the host acted on before this number; zero right after Open
	active   *link
	standbys []*link // the in-sync set, in the order of the chain

	proven chan struct{} // closed when the active link is known to hold the record
	over   chan struct{} // closed when the host acts on a newer record

	settled time.Time // nothing is claimed before, so that other hosts can bring what they hold: see bring

	// ctx is done when the number of the epoch is over. It is shared by the
	// versions of one number.
	ctx context.Context
	end context.CancelCauseFunc
}

// holds reports whether l is in the in-sync set.
func (v *view) holds(l *link) bool { return slices.Contains(v.standbys, l) }

// counts reports whether the data of l counts: it is active or in the set.
func (v *view) counts(l *link) bool { return l == v.active || v.holds(l) }

// trusted reports whether the active link is known to hold the record.
func (v *view) trusted() bool {
	select {
	case <-v.proven:
		return true
	default:
		return false
	}
}

// followed reports whether a standby of v that holds the record held has missed
// nothing: see rule 4 of docs/epochs.md.
func (v *view) followed(held driver.Epoch) bool {
	switch {
	case held.Number == v.epoch.Number:
		return held.Active == v.epoch.Active
	case v.came.Number == 0, held.Number < v.came.Number:
		return false
	}
	return held.Number > v.came.Number || held.Active == v.came.Active
}

// before orders two places in the row of records.
func before(a, b driver.EpochVersion) bool {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Version, b.Version)) < 0
}

// newer reports whether a follows b. Two records of one number for different
// links do not follow each other: see settle.
func newer(a, b driver.Epoch) bool {
	return !tied(a, b) && before(b.At(), a.At())
}

// tied reports whether two hosts have made the same number in two links.
func tied(a, b driver.Epoch) bool {
	return a.Number == b.Number && a.Active != b.Active && a.Number != 0
}

// without returns the in-sync set less one link.
func without(set []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(set), func(s string) bool { return s == name })
}

// with returns the in-sync set with one link more.
func with(set []string, name string) []string {
	set = append(without(set, name), name)
	slices.Sort(set)
	return set
}

// version returns the next version of e.
func version(e driver.Epoch) driver.Epoch {
	e = e.Clone()
	e.Version, e.Token = e.Version+1, driver.NewToken()
	return e
}

func (c *Chain) linkNamed(name string) *link {
	i := slices.IndexFunc(c.links, func(l *link) bool { return l.name == name })
	if i < 0 {
		return nil
	}
	return c.links[i]
}

// adopt acts on e, which was found in the link at, from now on if it is newer
// than what the host acts on, and returns whether it was. Calls under way in an
// epoch of a lower number end.
func (c *Chain) adopt(e driver.Epoch, at *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.view.Load()
	if old != nil && !newer(e, old.epoch) {
		return false
	}
	defer c.moved.send()
	active := c.linkNamed(e.Active)
	if active == nil {
		if before(c.strange, e.At()) {
			c.strange = e.At()
			c.log.Error("cannot follow: the epoch names a link that this host does not have; give all hosts the same links",
				zap.Stringer("epoch", e), zap.String("link", e.Active))
		}
		return false
	}
	if len(c.strangers(e)) > 0 {
		c.expelSoon(e)
		return false
	}
	v := &view{epoch: e.Clone(), active: active, proven: make(chan struct{}), over: make(chan struct{})}
	for _, l := range c.links {
		if l != active && slices.Contains(e.InSync, l.name) {
			v.standbys = append(v.standbys, l)
		}
	}
	switch {
	case old != nil && old.epoch.Number == e.Number:
		v.ctx, v.end, v.came, v.settled = old.ctx, old.end, old.came, old.settled
	default:
		v.ctx, v.end = context.WithCancelCause(c.ctx)
		active.health.reset()
		c.down.Store(false)
		if old != nil {
			v.came = old.epoch
		}
	}
	if old != nil && old.epoch.Number > 0 {
		making, _ := c.making.Load(e.Token)
		own, _ := making.(bool)
		for _, l := range c.links {
			if v.counts(l) && !old.counts(l) {
				if l == active {
					c.bring(old, v, l)
				}
				l.joined(own)
			}
		}
	}
	c.view.Store(v)
	if old != nil {
		close(old.over)
		if old.epoch.Number != e.Number {
			old.end(errMoved)
		}
		c.hurryMerges() // they are of the old view, or a handover waits for them
	}
	c.attend(v, at)
	return true
}

// attend starts what a new view needs. The caller holds c.mu.
func (c *Chain) attend(v *view, at *link) {
	if at == v.active {
		at.learned(v.epoch.At())
	}
	if at == v.active && at.believed() {
		close(v.proven)
	} else if !c.closed {
		c.tasks.Go(func() { c.prove(v) })
	}
	if v.epoch.State == driver.Handover && !c.closed {
		c.tasks.Go(func() { c.watchHandover(v) })
	}
}

// prove finds out whether the active link of v holds the record itself, if that was
// read elsewhere, and whether this host may believe it. If not, or if it holds less,
// it has lost data, and is failed over; only a planned switch may not have been
// brought to it yet.
func (c *Chain) prove(v *view) {
	for n := 0; c.view.Load() == v && c.ctx.Err() == nil; n++ {
		if c.pace(c.ctx, v, opAdvance) != nil || c.view.Load() != v {
			continue
		}
		found, repeat, err := try(c.ctx, c, v, opAdvance, func(ctx context.Context) (proof, error) { return c.proof(ctx, v) })
		switch {
		case err == nil && found.doubted:
			c.rest(v, v.active, c.policy().Check.Interval/4)
			continue
		case err == nil && found.held.At() == v.epoch.At():
			close(v.proven)
			return
		case err == nil:
			c.accept(v, found.held, v.active)
		case !repeat:
			v.active.failed(err)
		}
		pause(v.ctx, c.ctx, c.policy().pause(n))
	}
}

// proof is what one attempt of prove has found.
type proof struct {
	held    driver.Epoch
	doubted bool // which is no failure of the link
}

func (c *Chain) proof(ctx context.Context, v *view) (proof, error) {
	held, err := v.confirm(ctx)
	if err == nil && held.At() == v.epoch.At() {
		err = c.vet(ctx, v, v.active)
	}
	if errors.Is(err, errDoubted) {
		return proof{held, true}, nil
	}
	return proof{held, false}, err
}

// confirm returns the record of the active link: that of v, or a newer one. It
// completes a switch.
func (v *view) confirm(ctx context.Context) (driver.Epoch, error) {
	l := v.active
	held, err := l.epoch(ctx)
	switch {
	case err != nil:
		return held, err
	case held.Equal(v.epoch), newer(held, v.epoch):
		l.learned(held.At())
		return held, nil
	case held.Number == v.epoch.Number-1 && switches(held, v.epoch):
		next := version(v.epoch)
		return next, l.advance(ctx, held.At(), next, false)
	}
	return held, &driver.Error{Class: driver.Lost, Store: l.name, Op: "read epoch", Detail: "it holds epoch " + held.String() +
		", while another link has " + v.epoch.String() + " of it: it has gone back"}
}

// switches reports whether next is the first record of a planned switch from e:
// the former active link is in the set.
func switches(e, next driver.Epoch) bool {
	return next.Version == 1 && next.Active != e.Active &&
		slices.Contains(e.InSync, next.Active) && slices.Contains(next.InSync, e.Active)
}

// alter replaces the record of v, in its active link, by next and acts on that.
// An attempt whose outcome is not known is repeated. The error is errMoved if
// the host acts on another record by now.
func (c *Chain) alter(ctx context.Context, v *view, next driver.Epoch) error {
	c.making.Store(next.Token, true)
	defer c.making.Delete(next.Token)
	for {
		if c.gate(ctx, v, opAdvance) != nil || c.ctx.Err() != nil {
			return c.ended(ctx, "change epoch", true)
		}
		if cur := c.view.Load(); cur != v {
			if cur.epoch.Equal(next) {
				return nil
			}
			return errMoved
		}
		_, repeat, err := try(ctx, c, v, opAdvance, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, v.active.advance(ctx, v.epoch.At(), next, false)
		})
		switch {
		case err == nil:
			c.adopt(next, v.active)
			return nil
		case !repeat:
			return err
		}
	}
}

// follow acts on the epoch that err, an answer of l to a call in v, carries, or
// on what any link holds if it carries none. When that changes nothing, it waits
// a moment. It returns when ctx is done.
func (c *Chain) follow(ctx context.Context, v *view, l *link, err error) {
	e, ok := errors.AsType[*driver.Error](err)
	if ok && e.Epoch != nil {
		c.heed(v, l, *e.Epoch)
	} else {
		for at, held := range c.readEpochs(ctx) {
			c.heed(v, at, held)
		}
	}
	if c.view.Load() == v {
		pause(ctx, v.ctx, c.policy().pause(0))
	}
}

// heed acts on a record that l was found to hold by a call sent in v.
func (c *Chain) heed(v *view, l *link, held driver.Epoch) {
	switch {
	case tied(held, v.epoch):
		c.settle(v, held)
	case newer(held, v.epoch):
		c.accept(v, held, l)
	case held.At() == v.epoch.At() && !held.Equal(v.epoch):
		c.gone(v, &driver.Error{Class: driver.Lost, Store: v.active.name, Op: "read epoch", Detail: "the chain is at epoch " + v.epoch.String() +
			", and " + l.name + " holds " + held.String() + ": it has gone back"})
	}
}

// accept adopts e, found in l, and tells of what other hosts have decided.
func (c *Chain) accept(v *view, e driver.Epoch, l *link) {
	if !c.adopt(e, l) {
		return
	}
	if _, own := c.making.Load(e.Token); own || v.epoch.Number == 0 {
		return // whoever makes it, or searches for an epoch, tells of it
	}
	if e.Number == v.epoch.Number {
		for _, l := range v.standbys {
			if !slices.Contains(e.InSync, l.name) {
				c.tellDropped(e, l, errElsewhere)
			}
		}
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
	v := c.view.Load()
	answers := make(chan answer, len(c.links))
	for _, l := range c.links {
		read := func(ctx context.Context) (driver.Epoch, error) { return l.read(ctx, v.counts(l)) }
		if v == nil || v.epoch.Number == 0 {
			read = l.meet
		}
		go func() {
			held, err := attempt(ctx, c.ctx, c.policy().Attempt, read, func(error) {})
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
