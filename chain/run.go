// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// run works on a claimed record, whose lease began at since or later. work is the context of Work: when it is done
// before the handler has begun, the lease is given back.
func (p *pool) run(work context.Context, r driver.Record, since time.Time) {
	// The lease ends with the chain, or when it is lost; the handler also at the end
	// of the drain.
	lease, lose := context.WithCancelCause(p.c.ctx)
	defer lose(nil)
	h := p.c.newHandle(r, since, p.options.Lease, lose)
	defer h.expiry.Stop()
	if lease.Err() != nil { // the claim took so long that others may have the workflow
		p.lost(lease, h)
		return
	}
	beating := make(chan struct{})
	beat, stopBeat := context.WithCancel(lease)
	go func() {
		defer close(beating)
		p.beat(beat, h)
	}()
	defer func() {
		stopBeat()
		<-beating
	}()
	if work.Err() != nil {
		p.end(lease, h, driver.VerbRelease, "", p.release)
		return
	}
	ctx, cancel := context.WithCancelCause(lease)
	defer cancel(nil)
	defer context.AfterFunc(p.hard, func() { cancel(context.Cause(p.hard)) })()
	ctx, sight := p.c.telemetry.handler(ctx, p.kind, r.ID)
	output, err := p.call(ctx, h)
	sight.end(err)
	switch {
	case h.gone():
		p.tellPanic(h, err)
	case lease.Err() != nil:
		p.lost(lease, h)
		p.tellPanic(h, err)
	case err == nil:
		p.succeed(lease, h, output)
	case ctx.Err() != nil && !isPermanent(err):
		p.tellPanic(h, err)
		p.end(lease, h, driver.VerbRelease, "", p.release)
	default:
		p.fail(lease, h, err)
	}
}

func (p *pool) lost(lease context.Context, h *Handle) {
	p.log.Warn("lease lost", zap.String("id", h.ID()), zap.String("step", h.Step()), zap.NamedError("cause", context.Cause(lease)))
}

// call runs the handler and turns a panic into an error.
func (p *pool) call(ctx context.Context, h *Handle) (output []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked{fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
		}
	}()
	return p.handler(ctx, h)
}

// panicked marks the error that a panic was turned into.
type panicked struct{ error }

func isPanic(err error) bool {
	_, ok := errors.AsType[panicked](err)
	return ok
}

// tellPanic logs a panic that ends no attempt as failed, so that it stands nowhere
// else.
func (p *pool) tellPanic(h *Handle, err error) {
	if isPanic(err) {
		p.log.Error("handler panicked", zap.String("id", h.ID()), zap.String("step", h.Step()), zap.Error(err))
	}
}

// beat extends the lease until ctx is done: at each interval, and at once when
// the chain has moved to another link, whose clock may differ.
func (p *pool) beat(ctx context.Context, h *Handle) {
	failures := 0
	for ctx.Err() == nil {
		v := p.c.view.Load()
		wait := h.nextBeat(p.options.Heartbeat)
		if failures > 0 {
			wait = p.c.policy().pause(failures)
		}
		pause(ctx, v.ctx, wait)
		if ctx.Err() != nil || h.gone() {
			return
		}
		if v.ctx.Err() == nil && h.nextBeat(p.options.Heartbeat) > 0 {
			continue // a save point was as good as a heartbeat
		}
		if err := h.extend(ctx); err != nil && ctx.Err() == nil {
			failures++
			continue
		}
		failures = 0
	}
}

type ending = func(driver.Stamp, driver.Record) (driver.Transition, error)

// end gives the lease up by a transition. When it does not get through, the lease
// ends by itself and somebody repeats the last step.
func (p *pool) end(lease context.Context, h *Handle, verb driver.Verb, why string, transition ending) {
	err := h.apply(lease, verb, transition)
	if err != nil {
		p.log.Warn("cannot end the attempt: it will be repeated when the lease ends",
			zap.String("id", h.ID()), zap.String("verb", string(verb)), zap.String("failure", why), zap.Error(err))
	}
}

func (p *pool) release(s driver.Stamp, r driver.Record) (driver.Transition, error) {
	return driver.Release(s, r, s.Now)
}

func (p *pool) succeed(lease context.Context, h *Handle, output []byte) {
	err := h.apply(lease, driver.VerbSucceed, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		return driver.Succeed(s, r, output, p.c.expires(s.Now))
	})
	switch driver.ClassOf(err) {
	case 0:
	case driver.Invalid, driver.TooLarge: // no attempt could do better
		p.fail(lease, h, Permanent(fmt.Errorf("the result cannot be stored: %w", err)))
	default:
		p.log.Warn("cannot end the workflow: the last step will be repeated when the lease ends",
			zap.String("id", h.ID()), zap.Error(err))
	}
}

func (p *pool) fail(lease context.Context, h *Handle, failure error) {
	r := h.snapshot()
	tell := p.log.Warn
	if isPanic(failure) {
		tell = p.log.Error
	}
	tell("attempt failed", zap.String("id", r.ID), zap.String("step", r.Step), zap.Uint32("attempt", r.Attempt),
		zap.Bool("permanent", isPermanent(failure)), zap.Error(failure))
	p.end(lease, h, driver.VerbFail, failure.Error(), func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		f := driver.Failure{Reason: fitted(r, failure.Error()), Expires: p.c.expires(s.Now)}
		if !isPermanent(failure) {
			f.Retry = s.Now.Add(p.options.Retry.pause(r.Attempt))
			f.MaxAttempts = uint32(min(max(p.options.Retry.MaxAttempts, 0), math.MaxUint32))
		}
		return driver.Fail(s, r, f)
	})
}

func isPermanent(err error) bool {
	_, ok := errors.AsType[permanent](err)
	return ok
}
