// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// Handler works on one workflow from its last save point on. Nil ends it as
// succeeded with the given output; an error ends the attempt, to be repeated as
// the retry policy says, or the workflow, if it is [Permanent]. A panic is an
// error with the stack in its text. After [Handle.Yield] the returned values
// do not count.
//
// ctx is done before the lease can be lost to another worker; the handler must
// then stop, since another one may begin. Another attempt may find effects of an
// earlier one that did not reach its save point: see [Handle.IdempotencyKey].
type Handler func(ctx context.Context, h *Handle) (output []byte, err error)

// WorkOptions sets how [Chain.Work] works. Zero fields mean the defaults.
type WorkOptions struct {
	// Concurrency is the number of handlers at once. Default 8.
	Concurrency int
	// Lease is for how long a workflow stays with this worker when it no longer
	// hears from it: whole milliseconds, at most 24 h. Longer than the incident
	// budget, a lease outlasts a failover without a heartbeat. Default 30 s.
	Lease time.Duration
	// Heartbeat is how often a lease is extended; at most a third of Lease. Default
	// a quarter of Lease.
	Heartbeat time.Duration
	// Retry is for handlers that fail.
	Retry RetryPolicy
	// Drain is how long handlers may go on after the end of Work's context.
	// Default 10 s.
	Drain time.Duration
}

// RetryPolicy says how often and when a failed attempt is repeated. Zero fields
// mean the defaults.
type RetryPolicy struct {
	// MaxAttempts since the last save point, after which the workflow has failed.
	// Default 10. Negative: no limit.
	MaxAttempts int
	// Backoff is the mean pause after the first failed attempt; it doubles with
	// each one up to MaxBackoff and is spread by ±25 %. Defaults 1 s and 5 min.
	Backoff, MaxBackoff time.Duration
}

// releaseTime is what handlers get, after the drain, to return and give their
// leases back.
const releaseTime = 2 * time.Second

func (o WorkOptions) withDefaults() (WorkOptions, error) {
	for _, d := range [...]struct {
		value *time.Duration
		def   time.Duration
	}{{&o.Lease, 30 * time.Second}, {&o.Drain, 10 * time.Second}, {&o.Retry.Backoff, time.Second}, {&o.Retry.MaxBackoff, 5 * time.Minute}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if o.Concurrency == 0 {
		o.Concurrency = 8
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = o.Lease / 4
	}
	if o.Retry.MaxAttempts == 0 {
		o.Retry.MaxAttempts = 10
	}
	o.Retry.MaxBackoff = max(o.Retry.MaxBackoff, o.Retry.Backoff)
	invalid := func(format string, args ...any) (WorkOptions, error) {
		return o, &driver.Error{Class: driver.Invalid, Op: "work", Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case o.Concurrency < 0:
		return invalid("Concurrency is %d: want 1 or more", o.Concurrency)
	case o.Lease < 10*time.Millisecond || o.Lease > driver.MaxLease || o.Lease%time.Millisecond != 0:
		return invalid("Lease is %s: want whole milliseconds from 10ms to %s", o.Lease, driver.MaxLease)
	case o.Heartbeat < 0 || o.Heartbeat > o.Lease/3:
		return invalid("Heartbeat is %s: want at most a third of Lease, %s", o.Heartbeat, o.Lease)
	case o.Drain < 0:
		return invalid("Drain is %s: want 0 (the default) or more", o.Drain)
	case o.Retry.Backoff < 0 || o.Retry.MaxBackoff < 0:
		return invalid("Retry.Backoff is %s, Retry.MaxBackoff %s: want 0 (the default) or more", o.Retry.Backoff, o.Retry.MaxBackoff)
	}
	return o, nil
}

// pause returns the pause after failed attempt n, the first being 1.
func (p *RetryPolicy) pause(n uint32) time.Duration {
	return backoff(p.Backoff, p.MaxBackoff, int(max(n, 1)-1))
}

// pool is one call of Work.
type pool struct {
	c       *Chain
	kind    string
	handler Handler
	options WorkOptions
	log     *zap.Logger

	// hard is done when handlers have to stop: when the drain is over, or the chain
	// is closed.
	hard  context.Context
	slots chan struct{}
	busy  sync.WaitGroup
}

// Work claims workflows of the kind and runs handler on them until ctx is done;
// then it drains: it claims nothing more, lets handlers go on for
// [WorkOptions].Drain, ends the context of those that remain and gives their
// leases back. Several calls, also on several hosts, share the work.
//
// It returns nil after a clean drain. Errors: driver.Invalid for wrong options, a
// kind that cannot be one, or no handler;
// [ErrClosed] if the chain was closed meanwhile; an error that counts the
// handlers which did not return when their context was done (their workflows are
// taken over when the leases end). It returns at most Drain + 2 s after ctx is
// done.
func (c *Chain) Work(ctx context.Context, kind string, handler Handler, options WorkOptions) error {
	options, err := options.withDefaults()
	if err != nil {
		return err
	}
	err = driver.ValidateKind(kind)
	if err == nil {
		err = refuseReserved(kind)
	}
	if err == nil && handler == nil {
		err = missing("handler")
	}
	if err != nil {
		return driver.In(err, c.config.Name, "work")
	}
	return c.work(ctx, kind, handler, options)
}

// work is Work with valid options, also for the workflows of the chain itself.
func (c *Chain) work(ctx context.Context, kind string, handler Handler, options WorkOptions) error {
	hard, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	p := &pool{c: c, kind: kind, handler: handler, options: options, hard: hard,
		log: c.log.With(zap.String("kind", kind)), slots: make(chan struct{}, options.Concurrency)}
	claiming := make(chan struct{})
	go func() {
		defer close(claiming)
		p.claimAll(ctx)
	}()
	select {
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return p.drain(claiming, cancel)
}

// errDrained is why handlers are stopped at the end of the drain.
var errDrained = errors.New("the worker is shutting down")

func (p *pool) drain(claiming <-chan struct{}, stop context.CancelCauseFunc) error {
	idle := make(chan struct{})
	go func() {
		<-claiming
		p.busy.Wait()
		close(idle)
	}()
	limit := time.NewTimer(p.options.Drain)
	defer limit.Stop()
	select {
	case <-idle:
	case <-limit.C:
	case <-p.c.ctx.Done():
	}
	stop(errDrained)
	limit.Reset(releaseTime)
	select {
	case <-idle:
		if p.c.ctx.Err() != nil {
			return ErrClosed
		}
		return nil
	case <-limit.C:
		n := len(p.slots)
		p.log.Error("handlers do not stop: their workflows are taken over when the leases end", zap.Int("handlers", n))
		return fmt.Errorf("work on %q: %d handlers have not returned %s after their context was done", p.kind, n, releaseTime)
	}
}

// Pauses between claims when nothing tells that there is work. With a change
// feed nothing is missed, so looking is only a precaution.
const (
	maxPoll         = time.Second
	maxPollWithFeed = 15 * time.Second
	minPoll         = 5 * time.Millisecond
)

// claimAll claims whenever there may be something and a handler is free, until
// ctx is done.
func (p *pool) claimAll(ctx context.Context) {
	signal, end := p.c.listen(p.kind)
	defer end()
	empty, failures := 0, 0
	for {
		free := p.acquire(ctx)
		if free == 0 {
			return
		}
		got, err := p.c.claim(p.hard, driver.ClaimRequest{
			Owner: p.c.config.Host, Token: driver.NewToken(), Kinds: []string{p.kind}, Limit: free, Lease: p.options.Lease})
		for range free - len(got.records) {
			<-p.slots
		}
		for i := range got.records {
			p.busy.Go(func() {
				defer func() { <-p.slots }()
				p.run(ctx, got.records[i], got.since)
			})
		}
		var wait time.Duration
		switch {
		case err != nil:
			if failures == 0 && p.hard.Err() == nil {
				p.log.Warn("cannot claim", zap.Error(err))
			}
			wait = backoff(maxPoll, 5*maxPoll, failures)
			failures++
		case len(got.records) == free:
			empty, failures = 0, 0
			continue
		default:
			failures = 0
			wait = p.idle(got.next.at, got.next.link, &empty)
		}
		timer := time.NewTimer(wait)
		select {
		case <-signal:
			empty = 0
		case <-timer.C:
		case <-ctx.Done():
		case <-p.hard.Done():
		}
		timer.Stop()
	}
}

// idle returns how long to wait when there was less than asked for.
func (p *pool) idle(next time.Time, at *link, empty *int) time.Duration {
	poll := maxPoll
	if at.feeds() {
		poll = maxPollWithFeed
	}
	poll = jitter(poll)
	if next.IsZero() {
		*empty = 0
		return poll
	}
	wait := at.clock.until(next)
	if wait > 0 {
		*empty = 0
		return min(wait+time.Millisecond, poll)
	}
	// Something is due and was not given: others hold it, or it did not fit.
	wait = backoff(minPoll, poll, *empty)
	*empty++
	return wait
}

// acquire waits for a free handler, takes all that are free, and returns how
// many; 0 when ctx is done.
func (p *pool) acquire(ctx context.Context) int {
	if ctx.Err() != nil || p.hard.Err() != nil {
		return 0
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	case <-p.hard.Done():
		return 0
	}
	for n := 1; n < driver.MaxBatch; n++ {
		select {
		case p.slots <- struct{}{}:
		default:
			return n
		}
	}
	return driver.MaxBatch
}
