// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// mergeGroup is the records of one batch on their way to one standby.
type mergeGroup struct {
	view    *view // the one in which the active link has taken them
	records []driver.Record
	taken   time.Time
	done    chan<- error
	ended   bool // see backlog
}

func (g *mergeGroup) weigh(l *load) {
	for i := range g.records {
		l.latest(&g.records[i])
	}
}

// latest returns the records of groups, of each workflow the latest one: a merge
// leaves nothing of older ones behind.
func latest(groups []*mergeGroup) []driver.Record {
	if len(groups) == 1 {
		return groups[0].records
	}
	var records []driver.Record
	places := map[string]int{}
	for _, g := range groups {
		for i := range g.records {
			r := &g.records[i]
			at, known := places[r.ID]
			switch {
			case !known:
				places[r.ID] = len(records)
				records = append(records, *r)
			case driver.Compare(r, &records[at]) > 0:
				records[at] = *r
			}
		}
	}
	return records
}

// mirror brings records, which the active link of v has taken, to every standby
// of the in-sync set and returns when all of them hold them. A standby that
// cannot is out of the set when mirror returns nil. The error is errMoved if the
// epoch was over before: what the active link took may then be missing.
func (c *Chain) mirror(v *view, records []driver.Record) error {
	return c.mirrorBy(v, records, func(l *link, g *mergeGroup) { l.merges.add(g) })
}

// linger is how long what nobody waits for may wait for later records of the same
// workflows, which go in its place: a standby then has less to do, and leaves the
// processors to the active link.
const linger = 250 * time.Millisecond

// mirrorLater is mirror of records for which nobody waits.
func (c *Chain) mirrorLater(v *view, records []driver.Record) error {
	return c.mirrorBy(v, records, func(l *link, g *mergeGroup) {
		l.merges.addLater(linger, g)
		if c.view.Load() != v {
			l.merges.hurry() // as what had queued before was
		}
	})
}

// mirrorBy is mirror with add, which queues a group for a standby.
func (c *Chain) mirrorBy(v *view, records []driver.Record, add func(*link, *mergeGroup)) error {
	if len(records) == 0 || len(v.standbys) == 0 {
		return nil
	}
	done, now := make(chan error, len(v.standbys)), time.Now()
	for _, l := range v.standbys {
		g := &mergeGroup{view: v, records: records, taken: now, done: done}
		l.backlog.add(g)
		add(l, g)
	}
	var failed error
	left := false
	for range v.standbys {
		select {
		case err := <-done:
			left = left || err == errLeft        //nolint:errorlint // it is never wrapped
			if failed == nil && err != errLeft { //nolint:errorlint // it is never wrapped
				failed = err
			}
		case <-c.ctx.Done():
			return &driver.Error{Class: driver.Unknown, Cause: ErrClosed}
		}
	}
	if failed != nil || !left {
		return failed
	}
	// Nothing is acknowledged without a standby before the others know that it has
	// left, or they would let it take over.
	cur := c.view.Load()
	if cur.epoch.Number != v.epoch.Number {
		return errMoved
	}
	return c.tellSet(cur)
}

// end tells what became of a group on its way to l.
func (g *mergeGroup) end(l *link, err error) {
	l.backlog.remove(g)
	g.done <- err
}

// mergeBatch brings a batch of groups to the standby l.
func (c *Chain) mergeBatch(l *link, groups []*mergeGroup) {
	began := time.Now()
	for n := 0; c.ctx.Err() == nil; n++ {
		v := c.view.Load()
		groups = settled(v, l, groups)
		if len(groups) == 0 {
			return
		}
		err := c.mergeOnce(v, l, groups, began)
		switch {
		case err == nil:
			for _, g := range groups {
				g.end(l, nil)
			}
			return
		case v.ctx.Err() != nil:
			continue
		}
		if err := c.fails(v, l, err, n, began); err != nil {
			for _, g := range groups {
				g.end(l, err)
			}
			return
		}
	}
}

// errLeft says that a standby is no longer in the in-sync set.
var errLeft = errors.New("the standby has left the in-sync set")

// settled answers the groups that are of another epoch, and all of them if l is
// no longer in the in-sync set, and returns the others.
func settled(v *view, l *link, groups []*mergeGroup) []*mergeGroup {
	return slices.DeleteFunc(groups, func(g *mergeGroup) bool {
		switch {
		case g.view.epoch.Number != v.epoch.Number:
			g.end(l, errMoved)
		case !v.holds(l):
			g.end(l, errLeft)
		default:
			return false
		}
		return true
	})
}

// mergeOnce makes one attempt. A refusal of any record is one of the standby.
func (c *Chain) mergeOnce(v *view, l *link, groups []*mergeGroup, began time.Time) error {
	records := latest(groups)
	left := c.policy().Mirror - time.Since(began)
	limit := min(c.policy().Attempt, max(left, time.Millisecond))
	verdicts, err := attemptOn(v.ctx, c, l, limit, func(ctx context.Context) ([]driver.Verdict, error) {
		if err := l.inform(ctx, v); err != nil {
			return nil, err
		}
		return l.merge(ctx, v.epoch.Number, records)
	}, func(error) {})
	if err != nil {
		return driver.In(err, l.name, "merge")
	}
	for i := range verdicts {
		if verdicts[i].Err != nil {
			return driver.In(verdicts[i].Err, l.name, "merge", records[i].ID)
		}
	}
	return nil
}

// dropStandby takes l out of the in-sync set by compare-and-set in the active
// link, so that no host fails over to it, and tells the standbys that remain.
// Only then may anything be acknowledged without it. It returns nil if l is out,
// errMoved if the epoch is over. A handover under way ends with it.
func (c *Chain) dropStandby(v *view, l *link, cause error) error {
	for {
		cur := c.view.Load()
		switch {
		case c.ctx.Err() != nil:
			return &driver.Error{Class: driver.Unknown, Cause: ErrClosed}
		case cur.epoch.Number != v.epoch.Number:
			return errMoved
		case !cur.holds(l):
			return c.tellSet(cur)
		}
		if err := c.dropOnce(cur, l, cause); err != nil && err != errMoved { //nolint:errorlint // it is never wrapped
			return &driver.Error{Class: driver.Unknown, Op: "drop standby", Store: l.name, Cause: err,
				Detail: "the record is in the active link, but the standby could neither take it nor be left behind"}
		}
	}
}

func (c *Chain) dropOnce(v *view, l *link, cause error) error {
	select {
	case l.drop <- struct{}{}: // one attempt at a time
		defer func() { <-l.drop }()
	case <-v.over:
		return errMoved
	case <-c.ctx.Done():
		return errMoved
	}
	next := version(v.epoch)
	next.State, next.InSync = driver.Serving, without(next.InSync, l.name)
	next = counted(next)
	err := c.alter(c.ctx, v, next)
	if err == nil {
		c.tellDropped(next, l, cause)
	}
	return err
}

// tellDropped tells that l has left the in-sync set, which e says.
func (c *Chain) tellDropped(e driver.Epoch, l *link, cause error) {
	protected := len(e.InSync) > 0
	text := "standby dropped"
	if !protected {
		text = "standby dropped: running unprotected"
	}
	c.log.Error(text, zap.String("link", l.name), zap.Stringer("epoch", e), zap.NamedError("cause", cause))
	c.events.emit(StandbyDropped{At: now(), Link: l.name, Epoch: e.Clone(), Cause: cause, Protected: protected})
}
