// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// stewardKind is the kind of the workflows by which the hosts agree on who brings
// a link back: whoever holds the lease is the steward.
const stewardKind = reservedPrefix + "steward"

// stewardOptions are how stewards work. A steward that dies is replaced when its
// lease ends; the lease is longer than an incident, so that a failover does not
// cost it.
var stewardOptions = WorkOptions{
	Concurrency: driver.MaxLinks, // one steward waits for a hold-down while another resyncs
	Lease:       15 * time.Second,
	Heartbeat:   4 * time.Second,
	Drain:       time.Millisecond,
	Retry:       RetryPolicy{MaxAttempts: -1, Backoff: time.Second, MaxBackoff: 15 * time.Second},
}

// duty is the input of a steward's workflow. There is one for each epoch number,
// since a link that joins, or a switch, makes another.
type duty struct {
	Do    string `json:"do"`
	Link  string `json:"link"`
	Epoch uint64 `json:"epoch"`
	Flaps int    `json:"flaps,omitempty"` // failbacks in a row that did not last
}

const (
	doResync   = "resync"
	doFailback = "failback"
)

func (d duty) id() string { return fmt.Sprintf("%s.%d.%s.%s", stewardKind, d.Epoch, d.Do, d.Link) }

// repair sees to it, on this host, that links which are fit again are brought
// back, until the chain is closed.
func (c *Chain) repair() {
	var stop context.CancelFunc      // of this host's share in the stewards' work
	begun := map[string]bool{}       // the duties that are known to be there
	absences := map[*link]*absence{} // of the links that are not in the set
	var number uint64
	for c.ctx.Err() == nil {
		v := c.view.Load()
		if v.epoch.Number != number {
			number = v.epoch.Number
			clear(begun)
		}
		switch needed := c.stewarded(v); {
		case needed && stop == nil:
			var ctx context.Context
			ctx, stop = context.WithCancel(c.ctx)
			c.background(func() { _ = c.work(ctx, stewardKind, c.steward, stewardOptions) }) // its options are valid
		case !needed && stop != nil:
			stop()
			stop = nil
		}
		for _, d := range c.duties(v, absences) {
			begun[d.id()] = begun[d.id()] || c.beginDuty(v, d)
		}
		next := time.NewTimer(c.policy().Check.Interval)
		select {
		case <-v.over:
		case <-c.rises:
		case <-next.C:
		case <-c.ctx.Done():
		}
		next.Stop()
	}
	if stop != nil {
		stop()
	}
}

// stewarded reports whether there is something to do in v for this host, now or
// later.
func (c *Chain) stewarded(v *view) bool {
	p := c.policy()
	return v.epoch.Number > 0 && !c.isFrozen() && p.Failback != FailbackOff &&
		(len(v.standbys)+1 < len(c.links) || preferred(c.links, v) != nil && p.Failback == FailbackAuto)
}

// duties returns what is to be done now in v, as this host sees it.
func (c *Chain) duties(v *view, absences map[*link]*absence) []duty {
	p := c.policy()
	var duties []duty
	for _, l := range c.links {
		if absences[l] == nil {
			absences[l] = &absence{}
		}
		fit := absences[l].over(p, v.counts(l)) && l.risen(p)
		if fit && !v.counts(l) && c.stewarded(v) {
			duties = append(duties, duty{Do: doResync, Link: l.name, Epoch: v.epoch.Number})
		}
	}
	if l := preferred(c.links, v); l != nil && p.Failback == FailbackAuto && !c.isFrozen() {
		duties = append(duties, duty{Do: doFailback, Link: l.name, Epoch: v.epoch.Number})
	}
	return duties
}

// absence damps a link that joins and leaves the set in turn, since each time it
// holds callers up. It is what this host has seen of the link.
type absence struct {
	member bool
	since  time.Time     // member: since when; else: since when not
	wait   time.Duration // before it may be brought back
}

// over takes in whether the link is in the set, and reports whether it may be
// brought back, if it is not: after as long as the status checks need to find it
// fit, doubled up to the hold-down each time that it has left soon after it had
// joined.
func (a *absence) over(p *Policy, member bool) bool {
	least := time.Duration(p.Check.Rise) * p.Check.Interval
	switch {
	case member && !a.member:
		*a = absence{member: true, since: now(), wait: a.wait}
	case !member && (a.member || a.since.IsZero()):
		wait := least
		if a.member && time.Since(a.since) < p.HoldDown {
			wait = min(max(2*a.wait, least), max(p.HoldDown, least))
		}
		*a = absence{since: now(), wait: wait}
	}
	return !member && time.Since(a.since) >= a.wait
}

// preferred returns the first standby of the set that stands before the active
// link in the order of the chain; nil if there is none.
func preferred(links []*link, v *view) *link {
	for _, l := range links {
		switch {
		case l == v.active:
			return nil
		case v.holds(l):
			return l
		}
	}
	return nil
}

// beginDuty starts the workflow of d, which another host may have done, and
// returns whether it is there.
func (c *Chain) beginDuty(v *view, d duty) bool {
	ctx, cancel := context.WithTimeout(v.ctx, c.policy().Timeout)
	defer cancel()
	if d.Do == doResync {
		c.passing(stepPrimarySeen)
	} else {
		flaps, err := c.flaps(ctx, d.Link)
		if err != nil {
			return false
		}
		d.Flaps = flaps
	}
	input, err := json.Marshal(d)
	if err != nil {
		return false
	}
	_, err = c.start(ctx, Workflow{ID: d.id(), Kind: stewardKind, Input: input})
	class := driver.ClassOf(err) // of another host, which has counted the flaps otherwise
	return err == nil || class == driver.Exists
}

// steward is the handler of the stewards' workflows.
func (c *Chain) steward(ctx context.Context, h *Handle) ([]byte, error) {
	var d duty
	if err := json.Unmarshal(h.Input(), &d); err != nil {
		return nil, Permanent(err)
	}
	l := c.linkNamed(d.Link)
	v := c.view.Load()
	switch {
	case v.epoch.Number < d.Epoch:
		return nil, fmt.Errorf("this host has not heard of epoch %d yet", d.Epoch)
	case v.epoch.Number > d.Epoch:
		return outdated, nil
	case l == nil:
		return nil, errStranger
	case d.Do == doResync:
		return c.bringBack(ctx, h, v, l)
	}
	return c.failBack(ctx, h, v, l, d.Flaps)
}

// The results of stewards' workflows.
var (
	outdated = []byte("outdated") // the chain has moved on
	done     = []byte("done")
)

// bringBack brings l into the in-sync set.
func (c *Chain) bringBack(ctx context.Context, h *Handle, v *view, l *link) ([]byte, error) {
	p := c.policy()
	switch {
	case v.counts(l): // a link that joins makes another number
		return nil, fmt.Errorf("this host has not heard yet that link %q has left the in-sync set", l.name)
	case p.Failback == FailbackOff:
		return nil, errors.New("the policy of this host leaves links out that were dropped")
	case !l.risen(p):
		return nil, fmt.Errorf("link %q is not fit to be brought back: %w", l.name, l.evidence())
	}
	r := &resync{c: c, v: v, to: l, step: h.Step(), save: func(ctx context.Context, step string, p resyncPoint) error {
		state, err := json.Marshal(p)
		if err != nil {
			return err
		}
		return h.Save(ctx, step, state)
	}}
	if err := json.Unmarshal(h.State(), &r.point); err != nil {
		r.step = ""
	}
	err := r.run(ctx)
	switch {
	case err == nil:
		c.passing(stepJoined)
		return done, nil
	case c.view.Load().epoch.Number != v.epoch.Number:
		return outdated, nil
	case ctx.Err() != nil:
		return nil, err
	}
	c.toldResyncFailed(r, err)
	switch driver.ClassOf(err) {
	case driver.Lost, driver.CursorLost, driver.Invalid, driver.Internal:
		// What is in the save point does not hold any more: the link has lost what was
		// copied, the feed does not reach back so far, or the links were found to differ.
		if err := h.Save(ctx, "", nil); err != nil {
			return nil, err
		}
	}
	return nil, err
}

func (c *Chain) toldResyncing(r *resync) {
	r.told = time.Now()
	c.log.Info("resync begun", zap.String("link", r.to.name), zap.String("from", r.v.active.name), zap.Stringer("epoch", r.v.epoch),
		zap.String("step", r.step), zap.Int64("done", r.point.Done), zap.Int64("about", r.point.About))
	c.events.emit(ResyncStarted{At: now(), Link: r.to.name, From: r.v.active.name, Epoch: r.v.epoch.Clone(), Step: r.step,
		Done: r.point.Done, About: r.point.About})
}

func (c *Chain) toldResynced(r *resync, took time.Duration) {
	c.log.Info("resync done", zap.String("link", r.to.name), zap.Int64("copied", r.copied), zap.Duration("took", took))
	c.events.emit(Resynced{At: now(), Link: r.to.name, Copied: r.copied, Took: took})
}

func (c *Chain) toldResyncFailed(r *resync, err error) {
	c.log.Warn("resync failed: it will be tried again", zap.String("link", r.to.name), zap.String("step", r.step), zap.Error(err))
	c.events.emit(ResyncFailed{At: now(), Link: r.to.name, Step: r.step, Cause: err})
}
