// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// checkup is how a link is, by its latest status checks.
type checkup struct {
	At    time.Time     // when the latest one began; zero: none has ended
	Took  time.Duration // by it
	Err   error         // why it failed; nil: it did not
	Fails int           // in a row
	Rises int           // in a row that found the link fit to serve

	Probe  driver.ProbeResponse // the latest that there was
	Epoch  driver.Epoch         // that the link held then
	Probed time.Time            // when that was; zero: never
}

// checks is what the status checks of a link know.
type checks struct {
	busy     atomic.Bool // a check has not returned
	dropping atomic.Bool // the link is being taken out of the in-sync set

	mu   sync.Mutex
	last checkup
	down bool // LinkDown was told
}

// checked returns how the link is by its latest status checks.
func (l *link) checked() checkup {
	l.checks.mu.Lock()
	defer l.checks.mu.Unlock()
	return l.checks.last
}

// risen reports whether as many status checks in a row as policy asks for have
// found the link fit to serve.
func (l *link) risen(p *Policy) bool { return l.checked().Rises >= p.Check.Rise }

// maxSparse is how many times less often a standby is checked that stays down.
const maxSparse = 8

// watch checks a link at each interval until the chain is closed. A check of one
// link never waits for another, nor does anything else wait for a check.
func (c *Chain) watch(l *link) {
	wait := rand.N(c.policy().Check.Interval) // hosts that start together do not check together
	for {
		pause(c.ctx, c.ctx, wait)
		if c.ctx.Err() != nil {
			return
		}
		began := time.Now()
		c.check(l)
		p := c.policy()
		interval := p.Check.Interval
		if fails := l.checked().Fails; l != c.view.Load().active && fails > p.Check.Fall {
			interval *= time.Duration(min(fails-p.Check.Fall+1, maxSparse))
		}
		wait = interval - rand.N(interval/4+1) - time.Since(began)
	}
}

// check makes one status check of l and acts on what it finds.
func (c *Chain) check(l *link) {
	p := c.policy()
	began := time.Now()
	v := c.view.Load()
	probe, held, err := c.examine(v, l, p.checkLimit())
	if c.ctx.Err() != nil {
		return
	}
	took := time.Since(began)
	paced := l.health.paced()
	slow := false
	if err == nil {
		err = tooSlow(p, l, took, paced)
		slow = err != nil
	}
	if held != nil {
		c.heard(v, l, *held)
	}
	if probe != nil {
		c.compare(l, *probe)
		c.tellProblems(l, *probe)
	}
	c.note(l, began, took, probe, held, err)
	if err == nil {
		c.vouch(v, l, *probe)
	}
	v = c.view.Load()
	switch {
	case l == v.active:
		c.checkedActive(v, began, slow, err)
	case l.distrusted() != nil && v.holds(l):
		c.dropLost(v, l)
	case err == nil && v.holds(l):
		c.vetStandby(v, l)
	}
}

// tooSlow returns an error if a status check that took so long, or the commits
// since the one before it, are over the latency budget.
func tooSlow(p *Policy, l *link, took time.Duration, paced pace) error {
	e := &driver.Error{Class: driver.Unavailable, Store: l.name, Op: "status check"}
	switch {
	case p.Check.Slow == 0:
		return nil
	case took > p.Check.Slow:
		e.Detail = fmt.Sprintf("it took %s, more than the latency budget of %s", took.Round(time.Millisecond), p.Check.Slow)
	case paced.slowly():
		e.Detail = fmt.Sprintf("%d of the %d commits since the last one took more than the latency budget of %s, up to %s",
			paced.slow, paced.commits, p.Check.Slow, paced.longest.Round(time.Millisecond))
	default:
		return nil
	}
	return e
}

// examine probes l and reads its epoch, as a link of v. Each is nil if there was
// no answer to it.
func (c *Chain) examine(v *view, l *link, limit time.Duration) (probe *driver.ProbeResponse, held *driver.Epoch, err error) {
	if !l.checks.busy.CompareAndSwap(false, true) {
		return nil, nil, &driver.Error{Class: driver.Unknown, Store: l.name, Op: "status check",
			Detail: "the last one has not returned yet: the driver hangs"}
	}
	type answers struct {
		probe *driver.ProbeResponse
		held  *driver.Epoch
	}
	a, err := attempt(c.ctx, c.ctx, limit, func(ctx context.Context) (a answers, err error) {
		defer l.checks.busy.Store(false)
		resp, err := l.probe(ctx)
		if err == nil {
			a.probe = &resp
		}
		e, epochErr := l.read(ctx, v.counts(l))
		if epochErr == nil {
			a.held = &e
		}
		return a, cmp.Or(err, epochErr)
	}, func(error) {})
	return a.probe, a.held, err
}

// checkedActive deals with a status check of the active link of v. Failures of
// checks have a count of their own: as few as they are, they must not use up the
// retries of the calls, nor end their incidents.
func (c *Chain) checkedActive(v *view, began time.Time, slow bool, err error) {
	if lost := v.active.distrusted(); lost != nil {
		err = lost
	}
	if err == nil {
		v.active.health.checkPassed(c.policy())
		if !c.troubled() {
			c.recovered(v)
		}
		return
	}
	err = fmt.Errorf("status checks: %w", err)
	v.active.failed(err)
	if i := v.active.health.checkFailed(c.policy(), began, slow, err); i.spent {
		c.startFailover(v, i)
	}
}

// dropLost takes a standby that has lost data out of the in-sync set.
func (c *Chain) dropLost(v *view, l *link) {
	if !l.checks.dropping.CompareAndSwap(false, true) {
		return
	}
	c.background(func() {
		defer l.checks.dropping.Store(false)
		_ = c.dropStandby(v, l, l.distrusted()) // it fails only when the epoch is over
	})
}

// note takes in a status check, and tells when the link goes down or comes up.
func (c *Chain) note(l *link, began time.Time, took time.Duration, probe *driver.ProbeResponse, held *driver.Epoch, err error) {
	p := c.policy()
	s := &l.checks
	s.mu.Lock()
	s.last.At, s.last.Took, s.last.Err = began, took, err
	if held != nil {
		s.last.Epoch = *held
	}
	if probe != nil {
		s.last.Probe, s.last.Probed = *probe, began
	}
	wasRisen := s.last.Rises >= p.Check.Rise
	switch {
	case err != nil:
		s.last.Fails++
		s.last.Rises = 0
	case !s.last.Probe.Healthy():
		s.last.Fails, s.last.Rises = 0, 0
	default:
		s.last.Fails = 0
		s.last.Rises++
	}
	fell := !s.down && s.last.Fails >= p.Check.Fall
	rose := s.down && s.last.Rises >= p.Check.Rise
	s.down = (s.down || fell) && !rose
	changed := wasRisen != (s.last.Rises >= p.Check.Rise)
	s.mu.Unlock()
	if err != nil {
		l.failed(err)
	}
	switch {
	case fell:
		c.log.Warn("link down", zap.String("link", l.name), zap.Int("checks", p.Check.Fall), zap.NamedError("cause", err))
		c.events.emit(LinkDown{At: now(), Link: l.name, Cause: err})
	case rose:
		c.log.Info("link up", zap.String("link", l.name), zap.Int("checks", p.Check.Rise))
		c.events.emit(LinkUp{At: now(), Link: l.name})
	}
	if changed {
		nudge(c.rises)
	}
}

// compare tells when the product behind l has restarted or failed over, after it
// has found out whether anything is missing since.
func (c *Chain) compare(l *link, probe driver.ProbeResponse) {
	before := l.checked()
	if before.Probed.IsZero() || before.Probe.Generation == probe.Generation {
		return
	}
	// What the first probe saw may be of before the change.
	_, err := attempt(c.ctx, c.ctx, c.policy().checkLimit(), l.probe, func(error) {})
	if err != nil {
		l.failed(err)
	}
	c.log.Warn("store changed: its data may be stale", zap.String("link", l.name),
		zap.String("from", before.Probe.Generation), zap.String("to", probe.Generation), zap.String("role", probe.Role),
		zap.Time("since", before.Probed), zap.NamedError("missing", err))
	c.events.emit(StoreChanged{At: now(), Link: l.name, From: before.Probe.Generation, To: probe.Generation, Role: probe.Role,
		Since: before.Probed, Err: err})
}

// tellProblems tells what a status check finds wrong, once for each change.
func (c *Chain) tellProblems(l *link, probe driver.ProbeResponse) {
	before := l.checked()
	if slices.EqualFunc(before.Probe.Problems, probe.Problems, sameProblem) &&
		slices.EqualFunc(before.Probe.Warnings, probe.Warnings, sameProblem) && before.Probe.Role == probe.Role {
		return
	}
	if before.Probed.IsZero() && len(probe.Problems)+len(probe.Warnings) == 0 {
		return
	}
	tell := c.log.Info
	if len(probe.Problems)+len(probe.Warnings) > 0 {
		tell = c.log.Warn
	}
	tell("store reports", zap.String("link", l.name), zap.String("role", probe.Role),
		zap.Strings("problems", texts(probe.Problems)), zap.Strings("warnings", texts(probe.Warnings)))
	c.events.emit(StoreReported{At: now(), Link: l.name, Role: probe.Role,
		Problems: slices.Clone(probe.Problems), Warnings: slices.Clone(probe.Warnings)})
}

// sameProblem leaves the text out, which may hold figures that move.
func sameProblem(a, b driver.Problem) bool { return a.Code == b.Code }

func texts(problems []driver.Problem) []string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.Code + ": " + p.Text
	}
	return lines
}
