// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// grace is what a store may take to return after its context is done.
const grace = 100 * time.Millisecond

// attempt makes one call to a store. The call runs under run and a limit of its
// own, not under the patience of whoever waits for it: a caller in a hurry
// neither breaks off what others wait for, nor hides that the store is frozen.
// attempt returns as soon as the call has ended, wait or run is done, or the
// store is late even in giving up.
//
// outcome is told once how the call ended, also when nobody waits any more.
func attempt[R any](wait, run context.Context, limit time.Duration, call func(context.Context) (R, error), outcome func(error)) (R, error) {
	type result struct {
		resp R
		err  error
	}
	results := make(chan result, 1)
	var once sync.Once
	end := func(r result) {
		once.Do(func() {
			outcome(r.err)
			results <- r
		})
	}
	ctx, cancel := context.WithTimeout(run, limit)
	late := time.AfterFunc(limit+grace, func() {
		end(result{err: &driver.Error{Class: driver.Unknown, Cause: context.DeadlineExceeded,
			Detail: fmt.Sprintf("the driver has not returned %s after the end of its call: it breaks the contract", grace)}})
	})
	go func() {
		defer cancel()
		resp, err := call(ctx)
		late.Stop()
		end(result{resp, err})
	}()
	var none R
	select {
	case r := <-results:
		return r.resp, r.err
	case <-wait.Done():
		return none, &driver.Error{Class: driver.Unknown, Cause: context.Cause(wait)}
	case <-run.Done():
		return none, &driver.Error{Class: driver.Unknown, Cause: context.Cause(run)}
	}
}

// attemptOn is attempt on l for whoever waits as long as the chain is open. Where
// the store is known to return when its context is done, nobody has to watch over
// the call, and it costs no change of goroutines.
func attemptOn[R any](run context.Context, c *Chain, l *link, limit time.Duration, call func(context.Context) (R, error), outcome func(error)) (R, error) {
	if !l.prompt {
		return attempt(c.ctx, run, limit, call, outcome)
	}
	ctx, cancel := context.WithTimeout(run, limit)
	defer cancel()
	resp, err := call(ctx)
	outcome(err)
	return resp, err
}

// gate waits until an attempt on the active link of v may start: not before it is
// known to hold the record of v, and no mutation of the application during a
// handover; see pace for the rest. It returns early when v is over. The error is
// that of ctx.
func (c *Chain) gate(ctx context.Context, v *view, op operation) error {
	open := v.proven
	if v.epoch.State == driver.Handover && (op == opCommit || op == opClaim || op == opCarry) {
		open = nil
	}
	select {
	case <-open:
		return c.pace(ctx, v, op)
	case <-v.over:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return ctx.Err()
}

// pace waits while the chain is failing over, and between two retries.
func (c *Chain) pace(ctx context.Context, v *view, op operation) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if done := c.switchOver(); done != nil {
			select {
			case <-done:
			case <-ctx.Done():
			}
			continue
		}
		if paid := c.owed.paid.next(); op != opCarry && op != opAdvance && c.owed.before(v.epoch.Number) {
			select {
			case <-paid:
			case <-v.ctx.Done():
				return nil
			case <-ctx.Done():
			}
			continue
		}
		next, _ := v.active.health.gate(c.policy(), op)
		wait := time.Until(next)
		if op == opClaim {
			wait = max(wait, time.Until(v.settled))
		}
		if wait <= 0 || v.ctx.Err() != nil {
			return nil
		}
		pause(ctx, v.ctx, wait)
	}
}

// pause waits for d, or until one of the contexts is done.
func pause(a, b context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.Done():
	case <-b.Done():
	}
}

// try makes one attempt on the active link of v and deals with its failure as
// policy says. If repeat is true, the caller loads the view and tries again; err
// then only tells how the attempt ended.
func try[R any](ctx context.Context, c *Chain, v *view, op operation, call func(context.Context) (R, error)) (resp R, repeat bool, err error) {
	_, limit := v.active.health.gate(c.policy(), op)
	started := time.Now()
	outcome := func(err error) { c.observe(v, op, started, err) }
	if ctx == c.ctx {
		resp, err = attemptOn(v.ctx, c, v.active, limit, call, outcome)
	} else {
		resp, err = attempt(ctx, v.ctx, limit, call, outcome)
	}
	switch {
	case err == nil:
		return resp, false, nil
	case v.ctx.Err() != nil || ctx.Err() != nil:
		return resp, true, err
	}
	switch decide(op, err) {
	case giveBack:
		return resp, false, err
	case follow:
		c.follow(ctx, v, v.active, err)
	case again, moveOn, leave: // observe has seen to it
	}
	return resp, true, err
}

// onActive calls the active link for the application, until that answers, refuses,
// or ctx is done, over any number of failovers. It returns the view the answer
// belongs to. name and ids label the error.
func onActive[R any](ctx context.Context, c *Chain, op operation, name string, ids []string, call func(context.Context, *view) (R, error)) (resp R, v *view, err error) {
	ctx, sight := c.telemetry.call(ctx, name)
	defer func() { sight.end(err) }()
	if err := c.enter(op != opRead, name, ids...); err != nil {
		var none R
		return none, c.view.Load(), err
	}
	defer c.inFlight.Add(-1)
	return answered(ctx, c, op, name, ids, call)
}

// answered is onActive for the chain itself, for what it reads to bring links back:
// the calls of the application, which may wait for such a link, must not keep it out.
func answered[R any](ctx context.Context, c *Chain, op operation, name string, ids []string, call func(context.Context, *view) (R, error)) (resp R, v *view, err error) {
	var none R
	unknown := false
	for {
		v = c.view.Load()
		if c.gate(ctx, v, op) != nil || c.ctx.Err() != nil {
			return none, v, c.ended(ctx, name, unknown && op.mutates(), ids...)
		}
		if v != c.view.Load() {
			continue
		}
		caller, at := ctx, v // what an attempt keeps that is late
		resp, repeat, err := try(ctx, c, v, op, func(ctx context.Context) (R, error) { return call(c.telemetry.under(ctx, caller), at) })
		if !repeat {
			return resp, v, err
		}
		unknown = unknown || driver.ClassOf(err) == driver.Unknown
	}
}

// observe takes in how an attempt on the active link of v ended, and starts the
// failover when that used up the budget.
func (c *Chain) observe(v *view, op operation, started time.Time, err error) {
	if v.ctx.Err() != nil {
		return // the call was broken off, or is too late to matter
	}
	if err == nil {
		if v.active.health.succeeded(c.policy(), op, started).spent {
			c.recovered(v)
		}
		return
	}
	act := decide(op, err)
	if act == giveBack || act == follow {
		return // the store works: it is the request or the epoch that is wrong
	}
	v.active.failed(err)
	c.telemetry.failed(v.active.name, op, err)
	i := v.active.health.failed(c.policy(), op, started, err, act == moveOn)
	if i.attempts == 1 {
		c.log.Warn("link fails", zap.String("link", v.active.name), zap.Stringer("operation", op),
			zap.Stringer("then", act), zap.Error(err))
	}
	if i.spent {
		c.startFailover(v, i)
	}
}

// gone fails over from the active link of v, which has lost data: the error says
// why that is certain.
func (c *Chain) gone(v *view, err error) { c.observe(v, opAdvance, time.Now(), err) }

// troubled reports whether the active link has an open incident, or is not known
// to hold the epoch.
func (c *Chain) troubled() bool {
	v := c.view.Load()
	if !v.trusted() {
		return true
	}
	h := &v.active.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads.open() || h.mutating.open()
}
