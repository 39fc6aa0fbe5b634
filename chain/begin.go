// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// settleTime is what Open gives other hosts, which may just be telling the
// standbys of a change, to end that.
const settleTime = time.Second

// findEpoch joins the highest epoch, or makes the first.
func (c *Chain) findEpoch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.policy().Timeout)
	defer cancel()
	began := time.Now()
	var held map[*link]driver.Epoch
	var highest driver.Epoch
	var at *link
	for n := 0; ; n++ {
		held = c.readEpochs(ctx)
		highest, at = c.highest(held)
		switch all := len(held) == len(c.links); {
		case all && highest.Number == 0:
			if err := c.firstEpoch(ctx); err != nil {
				return err
			}
			continue // another host may have been faster, and have gone on since
		case c.heardAll(held) && (!changing(highest, held) || time.Since(began) > settleTime):
		default:
			if pause(ctx, c.ctx, c.policy().pause(n)); ctx.Err() == nil && c.ctx.Err() == nil {
				continue
			}
		}
		break
	}
	if highest.Number == 0 {
		return c.noEpoch(ctx, held)
	}
	if active := c.linkNamed(highest.Active); active != nil && len(c.strangers(highest)) > 0 {
		next, err := c.expelNow(ctx, highest)
		switch {
		case err == errMoved: //nolint:errorlint // it is never wrapped
			return c.findEpoch(ctx)
		case err != nil:
			return err
		}
		highest, at = next, active
	}
	adopted := c.adopt(highest, at)
	if v := c.view.Load(); v == nil || !adopted && newer(highest, v.epoch) { // else a status check was faster
		return &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf(
			"the stores are at epoch %s, whose link %q is not configured: give all hosts the same links", highest, highest.Active)}
	}
	if _, answers := held[c.linkNamed(highest.Active)]; answers {
		c.awaitProof(ctx)
	}
	return nil
}

// heardAll reports whether every link has answered that can: one whose driver has
// not said yet what it is has been waited for.
func (c *Chain) heardAll(held map[*link]driver.Epoch) bool {
	return !slices.ContainsFunc(c.links, func(l *link) bool {
		_, answered := held[l]
		return !answered && l.described()
	})
}

// highest returns the highest record and the link that has it: the one it names,
// if possible.
func (c *Chain) highest(held map[*link]driver.Epoch) (highest driver.Epoch, at *link) {
	for _, l := range c.links {
		e, ok := held[l]
		if !ok {
			continue
		}
		switch {
		case newer(e, highest), tied(e, highest) && c.precedes(e.Active, highest.Active),
			e.Equal(highest) && l.name == e.Active:
			highest, at = e, l
		}
	}
	return highest, at
}

// precedes reports whether the link named a stands before the one named b.
func (c *Chain) precedes(a, b string) bool {
	for _, l := range c.links {
		if l.name == a || l.name == b {
			return l.name == a && a != b
		}
	}
	return false
}

// changing reports whether a standby of the set of e may just be told of it, or was
// read before others joined it.
func changing(e driver.Epoch, held map[*link]driver.Epoch) bool {
	for l, h := range held {
		if slices.Contains(e.InSync, l.name) && h.Number < e.Number {
			return true
		}
	}
	return false
}

// awaitProof waits until the active link is known to hold the record that the
// host acts on, or ctx is done.
func (c *Chain) awaitProof(ctx context.Context) {
	for {
		v := c.view.Load()
		select {
		case <-v.proven:
			return
		case <-v.over:
		case <-ctx.Done():
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// noEpoch is the error when no link that answers was ever in use.
func (c *Chain) noEpoch(ctx context.Context, held map[*link]driver.Epoch) error {
	why := causes{}
	if err := ctx.Err(); err != nil {
		why = append(why, err)
	}
	for _, l := range c.links {
		if _, answered := held[l]; answered {
			continue
		}
		if latest := l.evidence(); latest != nil {
			why = append(why, latest)
		}
	}
	return &driver.Error{Class: driver.Unavailable, Op: "find epoch", Cause: why,
		Detail: "no link that answers has been in use; a chain can begin only when all its links answer"}
}

// startDegraded lets calls wait until an epoch has been found.
func (c *Chain) startDegraded(cause error) {
	v := &view{active: c.links[0], proven: make(chan struct{}), over: make(chan struct{})}
	v.ctx, v.end = context.WithCancelCause(c.ctx)
	c.view.Store(v)
	c.down.Store(true)
	c.log.Error("all links down: callers wait until an epoch can be found", zap.NamedError("cause", cause))
	c.events.emit(AllDown{At: now(), Cause: cause})
	c.background(func() {
		for n := 0; c.ctx.Err() == nil; n++ {
			if c.findEpoch(c.ctx) == nil {
				v := c.view.Load()
				c.log.Warn("recovered", zap.String("link", v.active.name), zap.Stringer("epoch", v.epoch))
				c.events.emit(Recovered{At: now(), Epoch: v.epoch.Clone()})
				c.begin(c.ctx)
				return
			}
			pause(c.ctx, c.ctx, c.policy().pause(n))
		}
	})
}

// firstEpoch makes epoch 1: the first link active alone. Of several hosts that
// try it one wins, which is no error for the others.
func (c *Chain) firstEpoch(ctx context.Context) error {
	active := c.links[0]
	first := driver.Epoch{Number: 1, Version: 1, Token: driver.NewToken(), Active: active.name}
	for n := 0; ; n++ {
		_, err := attempt(ctx, c.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, active.advance(ctx, driver.EpochVersion{}, first, false)
		}, func(error) {})
		if e, ok := errors.AsType[*driver.Error](err); err == nil || ok && e.Epoch != nil {
			return nil
		}
		if decide(opAdvance, err) != again || ctx.Err() != nil {
			return err
		}
		pause(ctx, c.ctx, c.policy().pause(n))
	}
}

// begin ends the beginning of a chain, which is epoch 1 with the first link alone:
// the other links join. It gives up when one of them, or ctx, does not
// allow it; the chain then goes on unprotected until they are brought back.
func (c *Chain) begin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.policy().Timeout)
	defer cancel()
	for {
		v := c.view.Load()
		if v.epoch.Number != 1 || len(v.standbys) > 0 || len(c.links) == 1 || ctx.Err() != nil || c.ctx.Err() != nil {
			return
		}
		links := slices.DeleteFunc(slices.Clone(c.links), func(l *link) bool { return l == v.active })
		if v.epoch.State == driver.Serving {
			err := c.joinAll(ctx, links, func(ctx context.Context) error { return copyAll(ctx, v, links) })
			if err == nil {
				return
			}
			if class := driver.ClassOf(err); class != driver.Conflict && class != driver.Fenced && c.view.Load().epoch.Number == 1 {
				c.log.Warn("the chain begins without its standbys", zap.Error(err))
				return
			}
		}
		c.rest(c.view.Load(), v.active, handoverPoll)
	}
}

// copyAll merges every record of the active link of v into links.
func copyAll(ctx context.Context, v *view, links []*link) error {
	const page = driver.MaxBatchBytes / driver.MaxRecordBytes
	for cursor := ""; ; {
		resp, err := v.active.list(ctx, driver.ListRequest{Cursor: cursor, Limit: page})
		if err != nil {
			return err
		}
		for _, l := range links {
			if len(resp.Records) == 0 {
				break
			}
			verdicts, err := l.merge(ctx, v.epoch.Number, resp.Records)
			if err != nil {
				return err
			}
			for i := range verdicts {
				if verdicts[i].Err != nil {
					return driver.In(verdicts[i].Err, l.name, "merge", resp.Records[i].ID)
				}
			}
		}
		if cursor = resp.Next; cursor == "" {
			return nil
		}
	}
}
