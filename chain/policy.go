// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Policy says when the chain retries, when it moves on and when it comes back.
// Zero fields mean the defaults; negative ones are refused.
type Policy struct {
	// Retries after the first failure of the active link, after which the chain
	// fails over. All callers share one count. Default 3.
	Retries int
	// Timeout of an incident: the chain fails over at the latest when this much
	// time has passed since the start of the first attempt that failed, everything
	// included. Default 10 s.
	Timeout time.Duration
	// Attempt is the limit of one call to a store; not above Timeout. Default
	// 2.5 s, or Timeout if that is less.
	Attempt time.Duration
	// Backoff is the mean pause before the first retry; it doubles with each one up
	// to MaxBackoff, and is spread by ±25 %. Defaults 50 ms and 1 s.
	Backoff, MaxBackoff time.Duration
	// MaxWaiting bounds the calls that wait or are under way at once on this host.
	// A call above it fails at once, as driver.Unavailable, so that links that are
	// down for long do not fill the memory. Default 100,000.
	MaxWaiting int

	// Check is how the links are watched.
	Check Check

	// Mirror is how long a standby may fail before the chain goes on without it; not
	// above Timeout. Default 2.5 s, or Timeout if that is less.
	Mirror time.Duration
	// MirrorMode says whether a call returns before the standbys have what it did.
	// Default MirrorSync.
	MirrorMode MirrorMode
	// Outbox bounds the records that this host keeps for a standby: with MirrorAsync
	// those on their way to it (when it is full, calls wait as with MirrorSync), with
	// StaleServe those that it has missed. Default 65,536.
	Outbox int
	// MinInSync is how many standbys must be in step for anything to be
	// acknowledged: less than the number of links. With fewer, mutations wait. The
	// default, 0, goes on with the active link alone; docs/epochs.md says what either
	// gives up.
	MinInSync int
	// StaleStandby says what becomes of calls when the active link is down and no
	// standby holds everything that was acknowledged. Default StaleWait.
	StaleStandby StaleStandby

	// Failback says whether the chain goes back to a link that stands before the
	// active one, once it is in step again. Default FailbackAuto.
	Failback Failback
	// HoldDown is how long such a link must have been healthy first. It doubles each
	// time the link fails again soon after, up to MaxHoldDown. Defaults 60 s and
	// 30 min.
	HoldDown, MaxHoldDown time.Duration
	// Handover is the longest that mutations are held back while a link joins the
	// in-sync set; what has not succeeded by then is rolled back. Not above Timeout.
	// Default 2 s, or Timeout if that is less.
	Handover time.Duration
	// ResyncRate bounds the records per second that are compared with, and copied to, a
	// link that comes back, to spare the stores: in pages of up to 256. What is written
	// meanwhile comes on top. Default 0: no bound.
	ResyncRate int
}

// Check is how the links are watched, with traffic and without. A status check
// writes a small value and reads it back, as driver.Store's Probe says, and reads
// the epoch.
type Check struct {
	// Interval between the status checks of one link, shortened by up to 25 % so
	// that hosts do not check in step; a standby that stays down is checked less
	// often, down to an eighth. Default 1 s, or Timeout / Fall if that is less.
	Interval time.Duration
	// Fall is the number of status checks that fail in a row before the chain fails
	// over from an active link without traffic; Fall × Interval is not above
	// Timeout. Default 3.
	Fall int
	// Rise is the number of status checks that succeed in a row before a link is
	// brought back. Default 3.
	Rise int
	// Slow is the latency budget. A status check that takes longer counts as failed.
	// One of the active link also does if more than half of the commits that have
	// succeeded since the one before took longer, each from its start to its answer
	// and whatever the number of its records: slow calls lead to a failover when that
	// is so for Fall checks in a row, and a single one never does. It should leave
	// room for the largest batches. A link that is only slow goes on serving while no
	// standby can take over. Below Attempt. Default 0: none.
	Slow time.Duration
}

// Failback says who brings the chain back to a link that stands before the
// active one.
type Failback string

// The values of [Policy].Failback.
const (
	FailbackAuto   Failback = "auto"   // the chain itself, after the hold-down
	FailbackManual Failback = "manual" // links are brought into step; [Chain.SwitchTo] does the rest
	FailbackOff    Failback = "off"    // links that were dropped stay out
)

// MirrorMode says when a mutation is acknowledged.
type MirrorMode string

// The values of [Policy].MirrorMode.
const (
	MirrorSync MirrorMode = "sync" // when every standby in step has it
	// When the active link has it. The standbys get it a little later, at most a
	// quarter of a second if they can follow, and of what a workflow goes through in
	// that time only the latest. A failover may miss what was last acknowledged if the
	// host is lost with the active link.
	MirrorAsync MirrorMode = "async"
)

// StaleStandby says what a standby that misses something is good for.
type StaleStandby string

// The values of [Policy].StaleStandby.
const (
	StaleWait StaleStandby = "wait" // nothing: calls wait for the active link or a standby in step
	// It takes over: each host brings what it has acknowledged without it (up to
	// Outbox records), and nothing is handed out for the time of Mirror so that all
	// can. What a host that is gone acknowledged is missing until the other link
	// returns, whose resync reports it.
	StaleServe StaleStandby = "serve"
)

// WithDefaults returns p with the defaults in the place of zero fields.
func (p Policy) WithDefaults() Policy {
	set(&p.Retries, 3)
	set(&p.Timeout, 10*time.Second)
	set(&p.Attempt, min(2500*time.Millisecond, p.Timeout))
	set(&p.Backoff, min(50*time.Millisecond, cmp.Or(p.MaxBackoff, time.Second)))
	set(&p.MaxBackoff, max(time.Second, p.Backoff))
	set(&p.MaxWaiting, 100_000)
	set(&p.Check.Fall, 3)
	set(&p.Check.Rise, 3)
	set(&p.Check.Interval, min(time.Second, p.Timeout/time.Duration(max(p.Check.Fall, 1))))
	set(&p.Mirror, min(2500*time.Millisecond, p.Timeout))
	set(&p.MirrorMode, MirrorSync)
	set(&p.Outbox, 65_536)
	set(&p.StaleStandby, StaleWait)
	set(&p.Failback, FailbackAuto)
	set(&p.HoldDown, min(time.Minute, cmp.Or(p.MaxHoldDown, time.Minute)))
	set(&p.MaxHoldDown, max(30*time.Minute, p.HoldDown))
	set(&p.Handover, min(2*time.Second, p.Timeout))
	return p
}

// set puts a default in the place of a zero value.
func set[T comparable](value *T, def T) { *value = cmp.Or(*value, def) }

// Validate returns every problem of p in a chain of the given number of links,
// joined, each a driver.Invalid that begins with the name of its field; nil if
// there is none. Contradictions come with their arithmetic.
func (p Policy) Validate(links int) error {
	p = p.WithDefaults()
	var problems []error
	p.validate(links, func(format string, args ...any) {
		problems = append(problems, &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf(format, args...)})
	})
	return errors.Join(problems...)
}

func (p *Policy) validate(links int, bad func(format string, args ...any)) {
	p.validateSigns(bad)
	oneOf(bad, "MirrorMode", p.MirrorMode, MirrorSync, MirrorAsync)
	oneOf(bad, "StaleStandby", p.StaleStandby, StaleWait, StaleServe)
	oneOf(bad, "Failback", p.Failback, FailbackAuto, FailbackManual, FailbackOff)
	if p.Attempt > p.Timeout {
		bad("Policy.Attempt is %s: one attempt would be longer than Policy.Timeout, %s", p.Attempt, p.Timeout)
	}
	if p.Backoff > p.MaxBackoff {
		bad("Policy.Backoff is %s: more than Policy.MaxBackoff, %s", p.Backoff, p.MaxBackoff)
	}
	if pauses := p.pauses(); pauses > p.Timeout {
		bad("Policy.Retries is %d: never reached, as the pauses before them alone, from %s doubled up to %s, add up to %s, more than Policy.Timeout, %s",
			p.Retries, p.Backoff, p.MaxBackoff, pauses, p.Timeout)
	}
	if p.Mirror > p.Timeout {
		bad("Policy.Mirror is %s: a failing standby would hold up calls for longer than a failing active link, Policy.Timeout, %s", p.Mirror, p.Timeout)
	}
	if p.Handover > p.Timeout {
		bad("Policy.Handover is %s: a link that comes back would hold up calls for longer than one that fails, Policy.Timeout, %s", p.Handover, p.Timeout)
	}
	if sum := times(p.Check.Fall, p.Check.Interval); sum > p.Timeout {
		bad("Policy.Check.Interval is %s: %d status checks (Policy.Check.Fall) take %d × %s = %s, more than Policy.Timeout, %s",
			p.Check.Interval, p.Check.Fall, p.Check.Fall, p.Check.Interval, sum, p.Timeout)
	}
	if p.Check.Slow > 0 && p.Check.Fall > 0 && p.Check.Slow >= p.checkLimit() {
		bad("Policy.Check.Slow is %s: want less than a status check may take at all, %s (the lesser of Policy.Attempt, %s, and Policy.Timeout / Policy.Check.Fall, %s / %d)",
			p.Check.Slow, p.checkLimit(), p.Attempt, p.Timeout, p.Check.Fall)
	}
	if p.MinInSync >= max(links, 1) {
		bad("Policy.MinInSync is %d: a chain of %d links has at most %d standbys, so nothing would ever be acknowledged", p.MinInSync, links, max(links, 1)-1)
	}
	if p.HoldDown > p.MaxHoldDown {
		bad("Policy.HoldDown is %s: more than Policy.MaxHoldDown, %s", p.HoldDown, p.MaxHoldDown)
	}
}

// validateSigns refuses negative values.
func (p *Policy) validateSigns(bad func(format string, args ...any)) {
	for _, n := range [...]struct {
		name  string
		value int
		def   string
	}{{"Retries", p.Retries, "the default, 3"}, {"MaxWaiting", p.MaxWaiting, "the default, 100,000"}, {"Check.Fall", p.Check.Fall, "the default, 3"},
		{"Check.Rise", p.Check.Rise, "the default, 3"}, {"Outbox", p.Outbox, "the default, 65,536"}, {"MinInSync", p.MinInSync, "none"},
		{"ResyncRate", p.ResyncRate, "no bound"}} {
		if n.value < 0 {
			bad("Policy.%s is %d: want 0 (%s) or more", n.name, n.value, n.def)
		}
	}
	for _, d := range [...]struct {
		name  string
		value time.Duration
	}{{"Timeout", p.Timeout}, {"Attempt", p.Attempt}, {"Backoff", p.Backoff}, {"MaxBackoff", p.MaxBackoff}, {"Check.Interval", p.Check.Interval},
		{"Check.Slow", p.Check.Slow}, {"Mirror", p.Mirror}, {"HoldDown", p.HoldDown}, {"MaxHoldDown", p.MaxHoldDown}, {"Handover", p.Handover}} {
		if d.value < 0 {
			bad("Policy.%s is %s: want 0 (the default) or more", d.name, d.value)
		}
	}
}

func oneOf[T ~string](bad func(format string, args ...any), name string, value T, allowed ...T) {
	if !slices.Contains(allowed, value) {
		bad("Policy.%s is %q: want one of %q", name, value, allowed)
	}
}

// pauses returns the sum of the mean pauses before all retries.
func (p *Policy) pauses() time.Duration {
	sum, next := time.Duration(0), p.Backoff
	for n := range p.Retries {
		if next = min(next, p.MaxBackoff); next == p.MaxBackoff {
			return sum + times(p.Retries-n, next)
		}
		sum, next = sum+next, 2*next
	}
	return sum
}

// times is n × d, or about a century if that is less.
func times(n int, d time.Duration) time.Duration {
	return time.Duration(min(float64(n)*float64(d), 100*365*24*float64(time.Hour)))
}

// checkLimit is how long one status check may take, so that Fall of them fit into
// the budget of an incident.
func (p *Policy) checkLimit() time.Duration {
	return min(p.Attempt, p.Timeout/time.Duration(p.Check.Fall))
}

// pause returns the pause before retry n, the first being 0.
func (p *Policy) pause(n int) time.Duration { return backoff(p.Backoff, p.MaxBackoff, n) }

// backoff returns base doubled n times, at most limit, spread by ±25 % so that
// hosts that failed together do not come back together.
func backoff(base, limit time.Duration, n int) time.Duration {
	return jitter(time.Duration(min(float64(limit), math.Ldexp(float64(base), n))))
}

func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}
