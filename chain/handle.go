// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Handle is a workflow in the hands of a [Handler]. It must not be used after the
// handler has returned, except by [Handle.Record]. Its methods may be called from several goroutines.
type Handle struct {
	c     *Chain
	lease time.Duration

	turn chan struct{} // holds one while nobody changes the workflow

	mu       sync.Mutex
	record   driver.Record
	released bool        // by Yield or by waiting for an operator
	extended time.Time   // when the transition was made that last moved the end of the lease
	expiry   *time.Timer // ends the lease for the handler
	lose     context.CancelCauseFunc
	acting   map[string]bool // the effects under way; see Once
}

// leaseMargin is the part of a lease, at its end, in which the handler must
// already have stopped.
const leaseMargin = 8

// newHandle returns a handle on a record whose lease began at since or later. No
// clock of a store is needed for that. When the lease is over already, it is lost
// before newHandle returns.
func (c *Chain) newHandle(r driver.Record, since time.Time, lease time.Duration, lose context.CancelCauseFunc) *Handle {
	h := &Handle{c: c, lease: lease, turn: make(chan struct{}, 1), record: r, extended: since, lose: lose}
	expire := func() {
		lose(&driver.Error{Class: driver.LeaseLost, Store: c.config.Name, IDs: []string{r.ID},
			Detail: fmt.Sprintf("no heartbeat arrived for most of the lease of %s", lease)})
	}
	left := time.Until(h.end())
	if left <= 0 {
		expire()
	}
	h.expiry = time.AfterFunc(left, expire)
	return h
}

// end returns when the handler must have stopped. The caller holds h.mu, or is
// newHandle.
func (h *Handle) end() time.Time { return h.extended.Add(h.lease - h.lease/leaseMargin) }

// leaseFrom returns the end of a lease that is extended now. As far as the time of
// the store is not known, the lease is longer: it must not end there before it
// does here.
func (h *Handle) leaseFrom(s driver.Stamp) time.Time {
	return s.Now.Add(min(h.lease+h.c.view.Load().active.clock.slack(), driver.MaxLease))
}

// snapshot returns the record, which shares memory with the handle.
func (h *Handle) snapshot() driver.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.record
}

// Record returns a copy of the workflow as of the last transition under the lease
// that is known to be done. Its revision grows with each transition, over
// failovers too, so it can serve as a fencing token outside of the stores. Record
// may be called after the handler has returned: once the handler's context is
// done, a finished status says that the end was acknowledged.
func (h *Handle) Record() Record { return h.snapshot().Clone() }

// ID returns the id of the workflow.
func (h *Handle) ID() string { return h.snapshot().ID }

// Input returns a copy of what the workflow was started with.
func (h *Handle) Input() []byte { return bytes.Clone(h.snapshot().Input) }

// Label returns the label with the given key, empty if there is none.
func (h *Handle) Label(key string) string { return h.snapshot().Labels[key] }

// Step returns the name of the last save point, empty before the first.
func (h *Handle) Step() string { return h.snapshot().Step }

// State returns a copy of the data of the last save point.
func (h *Handle) State() []byte { return bytes.Clone(h.snapshot().State) }

// Attempt returns which attempt since the last save point this is; the first
// is 1.
func (h *Handle) Attempt() int { return int(h.snapshot().Attempt) }

// IdempotencyKey returns a key for an effect outside the store that belongs to a
// step. It is the same in every attempt, on every host and over failovers, and
// different for every workflow and step: 32 hexadecimal digits.
func (h *Handle) IdempotencyKey(step string) string {
	r := h.snapshot()
	return h.c.idempotencyKey(&r, step)
}

func (c *Chain) idempotencyKey(r *Record, step string) string {
	hash := sha256.New()
	for _, part := range []string{c.config.Name, r.ID, strconv.FormatInt(r.Created.UnixMilli(), 10), step} {
		_, _ = fmt.Fprintf(hash, "%d:%s", len(part), part) // a hash never fails
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// Save records a save point: from now on every attempt begins with this step and
// state. It returns when the save point is on the active link and, but for
// [MirrorAsync], on every standby of the in-sync set, and extends the lease.
//
// Errors: driver.LeaseLost when another worker may have the workflow, and the
// handler must stop; driver.Invalid, driver.TooLarge; driver.Unavailable and
// driver.Unknown when ctx ended first: saving again is then safe. An error that is
// both driver.Unknown and driver.LeaseLost (errors.Is) says that another worker
// may have the workflow, and may go on from this save point.
func (h *Handle) Save(ctx context.Context, step string, state []byte) error {
	state = bytes.Clone(state)
	return h.apply(ctx, driver.VerbSave, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		return sparing(r, func(r driver.Record) (driver.Transition, error) {
			return roomy(driver.Save(s, r, step, state, h.leaseFrom(s)))
		})
	})
}

// Yield records a save point and gives the workflow back, to be continued at once
// by whoever claims it. Errors as of [Handle.Save].
func (h *Handle) Yield(ctx context.Context, step string, state []byte) error {
	state = bytes.Clone(state)
	return h.apply(ctx, driver.VerbYield, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		return sparing(r, func(r driver.Record) (driver.Transition, error) {
			return roomy(driver.Yield(s, r, step, state, s.Now))
		})
	})
}

// extend is the heartbeat.
func (h *Handle) extend(ctx context.Context) error {
	return h.apply(ctx, driver.VerbExtend, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		return driver.Extend(s, r, h.leaseFrom(s))
	})
}

// apply makes a transition under the lease, one at a time. When something else
// has moved the record while the lease is still ours, such as a commit of ours
// whose answer was lost, it is made anew from what is stored.
func (h *Handle) apply(ctx context.Context, verb driver.Verb, transition func(driver.Stamp, driver.Record) (driver.Transition, error)) error {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return h.c.ended(ctx, string(verb), false, h.ID())
	}
	h.mu.Lock()
	record, released := h.record, h.released
	h.mu.Unlock()
	lease := record.Lease.Token
	if released {
		return &driver.Error{Class: driver.LeaseLost, Store: h.c.config.Name, Op: string(verb), IDs: []string{record.ID},
			Detail: "the workflow has been given back"}
	}
	for {
		made := time.Now()
		t, err := transition(h.c.stamp(lease), record)
		if err != nil {
			return h.lostBy(err, verb, record.ID)
		}
		changed, err := h.c.commit(ctx, verb, t)
		if err == nil {
			h.moved(changed, made)
			return nil
		}
		stored, class := storedIn(err), driver.ClassOf(err)
		if class != driver.Conflict && class != driver.Unknown || stored == nil || stored.Lease.Token != lease {
			return h.lostBy(err, verb, record.ID)
		}
		record = *stored
	}
}

// lostBy turns errors that mean the loss of the lease into that, and ends the
// handler's context then.
func (h *Handle) lostBy(err error, verb driver.Verb, id string) error {
	class, stored := driver.ClassOf(err), storedIn(err)
	overtaken := class == driver.Unknown && stored != nil // others have gone on, perhaps from what this has made
	switch class {
	case driver.Conflict, driver.NotFound, driver.LeaseLost:
	default:
		if !overtaken {
			return driver.In(err, h.c.config.Name, string(verb), id)
		}
	}
	lost := &driver.Error{Class: driver.LeaseLost, Store: h.c.config.Name, Op: string(verb), IDs: []string{id}, Cause: err}
	if e, ok := errors.AsType[*driver.Error](err); ok && (e.Class == driver.LeaseLost || overtaken) {
		lost.Detail, lost.Cause = e.Detail, e.Cause
	}
	h.lose(lost)
	if overtaken {
		return &driver.Error{Class: class, Store: h.c.config.Name, Op: string(verb), IDs: []string{id}, Stored: stored, Cause: lost}
	}
	return lost
}

// moved takes in a transition made at the given time.
func (h *Handle) moved(r driver.Record, made time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record = r
	if r.Status != driver.Leased {
		h.released = true
		return
	}
	h.extended = made
	h.expiry.Reset(time.Until(h.end()))
}

// slack is how far the store may be ahead of its time as it is known.
func (c *clock) slack() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (c.trip/2 + time.Millisecond - 1).Truncate(time.Millisecond)
}

// gone reports whether the workflow has been given back or ended.
func (h *Handle) gone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.released
}

// nextBeat returns when the lease is to be extended again.
func (h *Handle) nextBeat(interval time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Until(h.extended.Add(interval))
}
