// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"

	"github.com/understudy-dev/understudy/driver"
)

// replica is what all followers of a log compute alike: a pure function of the
// events from start on. It is guarded by the machine's lock.
type replica struct {
	window Position // [Window]
	begun  bool     // something was applied
	start  Position // of the first event applied
	next   Position // of the next event to apply
	last   Place    // where to resume

	ready bool // the beginning of the log, or a checkpoint, was seen: events can be decided
	exact bool // it began where the log may begin: at the end of the log the table equals that of any other replica
	// settled: it has caught up since, so that what it decides is decided for good.
	settled bool

	incarnation uint64
	epoch       driver.Epoch
	touch       Position // all events that named epoch or incarnation stand before
	checkpoint  Position // the highest start of a checkpoint
	truncated   Position // the highest accepted truncation

	table  *table
	claims map[driver.Token]claim
	forgot Position // all Checkpointed events, which forget claims, stand before
	ghosts ghosts
	tokens recent[driver.Token, use] // of Claimed events
	feed   feed
}

func newReplica(window Position, feedLength int) *replica {
	return &replica{
		window: window,
		table:  newTable(),
		claims: map[driver.Token]claim{},
		feed:   feed{limit: feedLength},
	}
}

// errStale is the verdict of an event whose author knew too little of the log: it
// certainly did not count, and may be written anew by an author who has applied
// it. It never leaves the machine.
var errStale = errors.New("the log has moved on")

// errRepeated is the verdict of a Claimed event whose token another claim brought
// first. It never leaves the machine.
var errRepeated = errors.New("another claim has the token")

// errUndecided is the verdict of an event that a replica which started too late
// cannot decide. No waiting call ever sees it, because calls are served by exact
// replicas only.
var errUndecided = errors.New("not decided")

// apply applies the event at pos, which must be next, and returns its verdict.
func (r *replica) apply(pos Position, e *Event) driver.Verdict {
	if !r.begun {
		r.begun, r.start = true, pos
	}
	r.ghosts.prune(pos, r.window)
	r.tokens.prune(pos, r.window)
	v := r.decide(pos, e)
	r.next = pos + 1
	r.last = Place{Next: r.next, Batch: e.Origin.Batch.ID, Index: e.Index}
	return v
}

func (r *replica) decide(pos Position, e *Event) driver.Verdict {
	switch e.Kind {
	case Committed, Claimed, Merged:
		return r.change(pos, e)
	case Compacted:
		return r.repeat(pos, e)
	case Expired:
		return r.expire(pos, e)
	case EpochAdvanced:
		return r.advance(pos, e)
	case Created:
		return r.create(pos, e)
	case Checkpointed:
		return r.check(pos, e)
	case ClaimsKept:
		return r.keepClaims(pos, e)
	case Truncated:
		return r.truncate(pos, e)
	case Probed:
		return driver.Verdict{}
	}
	return driver.Verdict{Err: &driver.Error{Class: driver.Internal, Detail: "unknown event: " + e.Kind.String()}}
}

// decidable reports whether the replica knows all that may stand between what the
// event's author knew and the event.
func (r *replica) decidable(e *Event) bool { return e.Origin.After >= r.start }

// stale reports whether the event stands too far from what its author knew, or
// before it, as when the log was restored from a backup.
func (r *replica) stale(pos Position, e *Event) bool {
	return pos > e.Origin.After+r.window || pos < e.Origin.After
}

// create applies a Created event.
func (r *replica) create(pos Position, e *Event) driver.Verdict {
	c, err := carried[Creation](e)
	if err != nil {
		return driver.Verdict{Err: err}
	}
	r.touch = pos + 1
	switch {
	case c.Replaces == 0 && pos == r.start && pos == e.Origin.After:
		r.incarnation, r.checkpoint = c.Incarnation, pos
		r.ready, r.exact, r.settled = true, true, true
	case r.ready && c.Replaces != 0 && c.Replaces == r.incarnation:
		r.incarnation = c.Incarnation
	default:
		return driver.Verdict{}
	}
	return driver.Verdict{Applied: true}
}

// advance applies an EpochAdvanced event.
func (r *replica) advance(pos Position, e *Event) driver.Verdict {
	a, err := carried[Advance](e)
	if err != nil {
		return driver.Verdict{Err: err}
	}
	r.touch = pos + 1
	if !r.ready {
		return driver.Verdict{Err: errUndecided}
	}
	store, err := r.epoch.AdmitAdvance(a.Expect, a.Next)
	if store {
		r.epoch = a.Next.Clone()
	}
	return driver.Verdict{Err: err, Applied: store}
}

// check applies a Checkpointed event.
func (r *replica) check(pos Position, e *Event) driver.Verdict {
	r.forgetClaims(pos, e)
	c, err := carried[Checkpoint](e)
	switch {
	case err != nil:
		return driver.Verdict{Err: err}
	case r.stale(pos, e) || r.touch > e.Origin.After:
		return driver.Verdict{Err: errStale}
	case !r.decidable(e):
		return driver.Verdict{Err: errUndecided}
	}
	r.incarnation, r.epoch, r.ready = c.Incarnation, c.Epoch, true
	r.checkpoint = max(r.checkpoint, e.Origin.After)
	return driver.Verdict{Applied: true}
}

// truncate applies a Truncated event. It does not count before the window has
// passed: later events whose authors knew less than up to the truncation are then
// stale for all, also for replicas that could not decide them.
func (r *replica) truncate(pos Position, e *Event) driver.Verdict {
	t, err := carried[Truncation](e)
	switch {
	case err != nil:
		return driver.Verdict{Err: err}
	case !r.ready:
		return driver.Verdict{Err: errUndecided}
	case t.Before > r.checkpoint || r.knownFrom() < t.Before || pos <= t.Before+r.window:
		return driver.Verdict{Err: errStale}
	}
	r.truncated = max(r.truncated, t.Before)
	if !r.settled && t.Before >= r.start {
		// Replicas that began earlier may have refused this very event and accepted a
		// later one, up to which the changes are not certain.
		r.exact = true
		r.feed.reset(pos + 1)
	}
	return driver.Verdict{Applied: true}
}

// knownFrom returns the highest position that the log may be truncated before, as
// far as records and claims are concerned.
func (r *replica) knownFrom() Position {
	lowest := ^Position(0)
	for known := range r.table.known {
		lowest = min(lowest, known)
	}
	return lowest
}

// marks tells how far the replica has come.
func (r *replica) marks() driver.Marks {
	return driver.Marks{{Incarnation: r.incarnation, Sequence: uint64(r.next)}}
}
