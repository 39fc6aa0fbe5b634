// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// mergeGroup is the records of one batch on their way to one standby.
type mergeGroup struct {
	view    *view // the one in which the active link has taken them
	records []driver.Record
	bytes   int
	done    chan<- error
}

func (g *mergeGroup) weight() (records, bytes int) { return len(g.records), g.bytes }

// mirror brings records, which the active link of v has taken, to every standby
// of the in-sync set and returns when all of them hold them. A standby that
// cannot is out of the set when mirror returns nil. The error is errMoved if the
// epoch was over before: what the active link took may then be missing.
func (c *Chain) mirror(v *view, records []driver.Record) error {
	if len(records) == 0 || len(v.standbys) == 0 {
		return nil
	}
	bytes := 0
	for i := range records {
		bytes += driver.EncodedSize(&records[i])
	}
	done := make(chan error, len(v.standbys))
	for _, l := range v.standbys {
		l.merges.add(&mergeGroup{v, records, bytes, done})
	}
	var failed error
	for range v.standbys {
		select {
		case err := <-done:
			if failed == nil {
				failed = err
			}
		case <-c.ctx.Done():
			return &driver.Error{Class: driver.Unknown, Cause: ErrClosed}
		}
	}
	return failed
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
				g.done <- nil
			}
			return
		case v.ctx.Err() != nil:
			continue
		}
		l.failed(err)
		act := decide(opMerge, err)
		wait := c.policy().pause(n)
		switch {
		case act == follow:
			c.follow(c.ctx, v, err)
		case act == again && time.Since(began)+wait < c.policy().Mirror:
			pause(c.ctx, v.ctx, wait)
		default:
			if err := c.dropStandby(v, l, err); err != nil {
				for _, g := range groups {
					g.done <- err
				}
				return
			}
		}
	}
}

// settled answers the groups that are of another epoch, and all of them if l is
// no longer in the in-sync set, and returns the others.
func settled(v *view, l *link, groups []*mergeGroup) []*mergeGroup {
	return slices.DeleteFunc(groups, func(g *mergeGroup) bool {
		switch {
		case g.view.epoch.Number != v.epoch.Number:
			g.done <- errMoved
		case !v.holds(l):
			g.done <- nil
		default:
			return false
		}
		return true
	})
}

// mergeOnce makes one attempt. A refusal of any record is one of the standby.
func (c *Chain) mergeOnce(v *view, l *link, groups []*mergeGroup, began time.Time) error {
	records := groups[0].records
	if len(groups) > 1 {
		records = nil
		for _, g := range groups {
			records = append(records, g.records...)
		}
	}
	left := c.policy().Mirror - time.Since(began)
	limit := min(c.policy().Attempt, max(left, time.Millisecond))
	verdicts, err := attempt(c.ctx, v.ctx, limit, func(ctx context.Context) ([]driver.Verdict, error) {
		if err := l.inform(ctx, v.epoch, false); err != nil {
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
// link, so that no host fails over to it. Only then may anything be acknowledged
// without it. It returns nil if l is out, errMoved if the epoch is over.
func (c *Chain) dropStandby(v *view, l *link, cause error) error {
	select {
	case l.drop <- struct{}{}:
		defer func() { <-l.drop }()
	case <-c.ctx.Done():
	}
	var next driver.Epoch
	for {
		cur := c.view.Load()
		switch {
		case c.ctx.Err() != nil:
			return &driver.Error{Class: driver.Unknown, Cause: ErrClosed}
		case cur.epoch.Number != v.epoch.Number:
			return errMoved
		case !cur.holds(l):
			return nil
		}
		if c.gate(c.ctx, cur, opAdvance) != nil || cur != c.view.Load() {
			continue
		}
		if next.Version != cur.epoch.Version+1 {
			next = cur.epoch.Clone()
			next.Version++
			next.Token, next.InSync = driver.NewToken(), without(next.InSync, l.name)
		}
		_, repeat, err := try(c.ctx, c, cur, opAdvance, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, cur.active.advance(ctx, cur.epoch.At(), next, false)
		})
		switch {
		case err == nil:
			c.dropped(next, l, cause)
			return nil
		case !repeat:
			return &driver.Error{Class: driver.Unknown, Op: "drop standby", Store: l.name, Cause: err,
				Detail: "the record is in the active link, but the standby could neither take it nor be left behind"}
		}
	}
}

func (c *Chain) dropped(e driver.Epoch, l *link, cause error) {
	if !c.adopt(e) {
		return
	}
	protected := len(e.InSync) > 0
	text := "standby dropped"
	if !protected {
		text = "standby dropped: running unprotected"
	}
	c.log.Error(text, zap.String("link", l.name), zap.Stringer("epoch", e), zap.NamedError("cause", cause))
	c.events.emit(StandbyDropped{At: now(), Link: l.name, Epoch: e.Clone(), Cause: cause, Protected: protected})
}
