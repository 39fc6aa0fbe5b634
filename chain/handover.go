// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// handoverPoll is how often a host looks whether a handover has ended.
const handoverPoll = 5 * time.Millisecond

// join brings l, which a resync has brought nearly up to date, into the in-sync
// set. It stops all writers, calls drain to copy what is still missing (nothing
// comes after that), and lets everybody go on with l in the set. When drain fails,
// or takes longer than Policy.Handover, everybody goes on without l.
//
// An error means that l is not in the set; it is driver.Conflict when other
// hosts have changed the record meanwhile: look again.
func (c *Chain) join(ctx context.Context, l *link, drain func(ctx context.Context) error) error {
	return c.joinAll(ctx, []*link{l}, drain)
}

// joinAll is join for several links at once.
func (c *Chain) joinAll(ctx context.Context, links []*link, drain func(ctx context.Context) error) error {
	v := c.view.Load()
	names := make([]string, len(links))
	for i, l := range links {
		names[i] = l.name
		if err := c.mayJoin(ctx, v, l); err != nil {
			return driver.In(err, l.name, "join")
		}
	}
	incarnations, err := c.survey(ctx, v, links)
	if err != nil {
		return driver.In(err, names[0], "join")
	}
	begin := version(v.epoch)
	begin.State = driver.Handover
	began := time.Now()
	if err := c.alter(ctx, v, begin); err != nil {
		return c.notJoined(err, names)
	}
	held := c.view.Load()
	if !held.epoch.Equal(begin) {
		return c.notJoined(errMoved, names)
	}
	c.log.Info("handover begun", zap.Strings("links", names), zap.Stringer("epoch", begin))
	c.events.emit(HandoverBegun{At: now(), Links: names, Epoch: begin.Clone()})
	limit := c.policy().Handover
	during, cancel := context.WithDeadlineCause(ctx, began.Add(limit), fmt.Errorf("it took longer than the handover may: %s", limit))
	defer cancel()
	err = drainWhile(during, held, drain)
	if err == nil {
		end := held.epoch.Clone()
		end.Number, end.Version, end.Token, end.State = end.Number+1, 1, driver.NewToken(), driver.Serving
		for _, name := range names {
			end.InSync = with(end.InSync, name)
		}
		for _, known := range incarnations {
			end = noting(end, known.Link, known.Incarnation)
		}
		err = c.alter(during, held, end)
	}
	if err != nil {
		c.rollBack(held, err)
	}
	cur := c.view.Load()
	if slices.ContainsFunc(links, func(l *link) bool { return !cur.counts(l) }) {
		return c.notJoined(cmp.Or(err, errMoved), names)
	}
	paused := time.Since(began)
	c.log.Info("joined", zap.Strings("links", names), zap.Stringer("epoch", cur.epoch), zap.Duration("pause", paused))
	for _, name := range names {
		c.events.emit(Joined{At: now(), Link: name, Epoch: cur.epoch.Clone(), Pause: paused})
	}
	// A host that starts takes a standby which has not been told for one that has lost data.
	_ = c.tellSet(cur) // what cannot be told is dropped
	return nil
}

// mayJoin returns why l cannot join the set of v. It brings the record to l, so
// that all hosts see that it has followed when the number goes up.
func (c *Chain) mayJoin(ctx context.Context, v *view, l *link) error {
	switch {
	case v.epoch.State != driver.Serving:
		return &driver.Error{Class: driver.Conflict, Detail: "another handover is under way"}
	case v.counts(l):
		return &driver.Error{Class: driver.Conflict, Detail: "it is in the set already: " + v.epoch.String()}
	}
	_, err := attempt(ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.inform(ctx, v)
	}, func(error) {})
	if driver.ClassOf(err) == driver.Fenced {
		c.follow(ctx, v, l, err)
	}
	return err
}

// drainWhile runs drain until it ends, or the handover is over.
func drainWhile(ctx context.Context, v *view, drain func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-v.over:
			cancel(errMoved)
		case <-done:
		}
	}()
	if err := drain(ctx); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (c *Chain) notJoined(err error, names []string) error {
	e := &driver.Error{Class: driver.ClassOf(err), Store: names[0], Op: "join", Cause: err, Detail: "it is not in the in-sync set"}
	if errors.Is(err, errMoved) {
		e.Class, e.Detail = driver.Conflict, "other hosts have changed the epoch meanwhile"
	}
	return e
}

// rollBack ends the handover of v without a new link in the set, unless it has
// ended already. It returns when that is certain, or the chain is closed.
func (c *Chain) rollBack(v *view, cause error) {
	next := version(v.epoch)
	next.State = driver.Serving
	for c.view.Load() == v && c.ctx.Err() == nil {
		err := c.alter(c.ctx, v, next)
		if err == nil {
			c.log.Warn("handover rolled back", zap.Stringer("epoch", next), zap.NamedError("cause", cause))
			c.events.emit(HandoverRolledBack{At: now(), Epoch: next.Clone(), Cause: cause})
			return
		}
		pause(c.ctx, v.ctx, handoverPoll)
	}
}

// watchHandover looks for the end of the handover of v, and rolls it back when
// that takes too long: whoever began it may have died.
func (c *Chain) watchHandover(v *view) {
	deadline := time.Now().Add(c.policy().Handover)
	for c.view.Load() == v && c.ctx.Err() == nil {
		if time.Now().After(deadline) {
			c.rollBack(v, errStuck)
			return
		}
		if c.pace(c.ctx, v, opAdvance) != nil || c.view.Load() != v {
			continue
		}
		held, _, err := try(c.ctx, c, v, opRead, v.active.epoch)
		if err == nil {
			c.heed(v, v.active, held)
		}
		c.rest(v, v.active, handoverPoll)
	}
}

var errStuck = errors.New("the handover has not ended in time")
