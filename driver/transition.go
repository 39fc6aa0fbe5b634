// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Transition is a record together with what it follows. A store applies it if it
// holds the record's id at exactly one revision less, made by the transition
// that Base names; for revision 1, if it holds none and Base is zero.
//
// Base makes the compare-and-set exact also between stores: two stores may have
// given one revision to different transitions before they were reconciled.
type Transition struct {
	Base   Token
	Record Record
}

// Validate is [Record.Validate] and checks that Base is zero for the first
// revision only.
func (t *Transition) Validate() error {
	if (t.Record.Revision == 1) != t.Base.IsZero() {
		return invalid("revision %d with base token %s: the first revision has none, every other one has", t.Record.Revision, t.Base)
	}
	return t.Record.Validate()
}

// Admit decides whether a store that holds stored (nil: none with this id)
// applies t. It is the same in every store: (true, nil) to apply it, (false, nil)
// for a repeat of the transition that made stored, or the verdict: [NotFound],
// [Exists] or [Conflict], the latter two with stored. A record of a newer epoch,
// which a merge may have brought, is a Conflict too: revisions of one record
// never go back in epoch.
func (t *Transition) Admit(stored *Record) (bool, error) {
	r := &t.Record
	switch {
	case stored == nil && r.Revision == 1:
		return true, nil
	case stored == nil:
		return false, &Error{Class: NotFound, IDs: []string{r.ID}, Detail: fmt.Sprintf("no workflow to move to revision %d", r.Revision)}
	case stored.Revision == r.Revision && stored.Token == r.Token:
		return false, nil
	case r.Revision == 1:
		return false, carrying(Exists, stored, "the id is taken")
	case stored.Revision+1 == r.Revision && stored.Token == t.Base && stored.Epoch <= r.Epoch:
		return true, nil
	}
	return false, carrying(Conflict, stored, fmt.Sprintf("revision %d in epoch %d is stored", stored.Revision, stored.Epoch))
}

func carrying(class Class, stored *Record, detail string) error {
	c := stored.Clone()
	return &Error{Class: class, IDs: []string{c.ID}, Stored: &c, Detail: detail}
}

// Stamp is what every transition puts on the record.
type Stamp struct {
	Epoch uint64    // the epoch it is made in
	Token Token     // names it; never used for another transition of the record
	Now   time.Time // the store's time as far as the caller knows it
	Lease Token     // the lease it is made under; zero for Start, Claim, Cancel and Requeue
}

// Workflow is what [Start] makes a record of.
type Workflow struct {
	ID, Kind string
	Input    []byte
	Labels   map[string]string
	Due      time.Time // claimable from; zero: at once
}

// Start returns the transition that creates w, Ready. Errors: [Invalid],
// [TooLarge].
//
// Like all transition functions it is pure: it changes nothing, and the record
// it returns shares the slices and the map it was given.
func Start(s Stamp, w Workflow) (Transition, error) {
	due := w.Due
	if due.IsZero() {
		due = s.Now
	}
	r := Record{ID: w.ID, Kind: w.Kind, Input: w.Input, Labels: w.Labels, Created: Millis(s.Now), Due: Millis(due)}
	return next(VerbStart, s, r, Ready)
}

// Claim returns the transition that leases r to owner until the given time; the
// lease gets the token of the stamp. Errors: [Conflict] with r if it is not
// claimable at s.Now; [Invalid].
func Claim(s Stamp, r Record, owner string, until time.Time) (Transition, error) {
	if !r.Claimable(s.Now) {
		return Transition{}, refuse(Conflict, VerbClaim, &r, "it is %s and not due", r.Status)
	}
	from := r
	from.Lease = Lease{Owner: owner, Token: s.Token}
	from.Due = Millis(until)
	if from.Attempt < math.MaxUint32 {
		from.Attempt++
	}
	return next(VerbClaim, s, from, Leased)
}

// Extend returns the transition that moves the end of the lease: the heartbeat.
// Errors: [LeaseLost], [Invalid].
func Extend(s Stamp, r Record, until time.Time) (Transition, error) {
	if err := held(VerbExtend, s, &r); err != nil {
		return Transition{}, err
	}
	r.Due = Millis(until)
	return next(VerbExtend, s, r, Leased)
}

// Save returns the transition that records a save point and moves the end of the
// lease. It resets the count of attempts. Errors: [LeaseLost], [Invalid],
// [TooLarge].
func Save(s Stamp, r Record, step string, state []byte, until time.Time) (Transition, error) {
	if err := held(VerbSave, s, &r); err != nil {
		return Transition{}, err
	}
	r.Step, r.State, r.Attempt, r.Due = step, state, 1, Millis(until)
	return next(VerbSave, s, r, Leased)
}

// Yield returns the transition that records a save point and hands the workflow
// to whoever claims it from due on: an asynchronous continuation. Errors as of
// [Save].
func Yield(s Stamp, r Record, step string, state []byte, due time.Time) (Transition, error) {
	return leave(VerbYield, s, r, Ready, func(r *Record) {
		r.Step, r.State, r.Attempt, r.Due = step, state, 0, Millis(due)
	})
}

// Wait returns the transition that records a save point and parks the workflow
// until it is requeued, or until due if that is not zero. Errors as of [Save].
func Wait(s Stamp, r Record, step string, state []byte, due time.Time) (Transition, error) {
	return leave(VerbWait, s, r, Waiting, func(r *Record) {
		r.Step, r.State, r.Attempt, r.Due = step, state, 0, Millis(due)
	})
}

// Succeed returns the transition that ends the workflow well. A store may forget
// it from expires on; zero: never. Errors as of [Save].
func Succeed(s Stamp, r Record, output []byte, expires time.Time) (Transition, error) {
	return leave(VerbSucceed, s, r, Succeeded, func(r *Record) {
		r.Output, r.Failure, r.Due, r.Expires = output, "", time.Time{}, Millis(expires)
	})
}

// Failure is how an attempt failed and what is to follow.
type Failure struct {
	Reason      string    // cut to MaxFailureBytes
	Retry       time.Time // when to try again; zero: never, the failure is permanent
	MaxAttempts uint32    // attempts since the last save point after which to give up; 0: no limit
	Expires     time.Time // when a store may forget the record if this is the end; zero: never
}

// Fail returns the transition that ends an attempt: back to Ready from f.Retry
// on, or to Failed, the dead letter, if the failure is permanent or the attempts
// are exhausted. The save point stays. Errors as of [Save].
func Fail(s Stamp, r Record, f Failure) (Transition, error) {
	to := Ready
	if f.Retry.IsZero() || f.MaxAttempts > 0 && r.Attempt >= f.MaxAttempts {
		to = Failed
	}
	return leave(VerbFail, s, r, to, func(r *Record) {
		r.Failure = cut(f.Reason, MaxFailureBytes)
		if to == Ready {
			r.Due = Millis(f.Retry)
		} else {
			r.Due, r.Expires = time.Time{}, Millis(f.Expires)
		}
	})
}

// Release returns the transition that gives the lease back without counting the
// attempt; the workflow is claimable from due on. Errors as of [Save].
func Release(s Stamp, r Record, due time.Time) (Transition, error) {
	return leave(VerbRelease, s, r, Ready, func(r *Record) {
		r.Due = Millis(due)
		if r.Attempt > 0 {
			r.Attempt--
		}
	})
}

// Cancel returns the transition that ends the workflow by request. Its holder, if
// any, has then lost the lease. Errors: [Conflict] with r if it has ended
// already.
func Cancel(s Stamp, r Record, reason string, expires time.Time) (Transition, error) {
	if !allowed(VerbCancel, r.Status, Cancelled) {
		return Transition{}, refuse(Conflict, VerbCancel, &r, "it is %s", r.Status)
	}
	r.Failure, r.Due, r.Lease, r.Expires = cut(reason, MaxFailureBytes), time.Time{}, Lease{}, Millis(expires)
	return next(VerbCancel, s, r, Cancelled)
}

// Requeue returns the transition that brings a failed, cancelled or waiting
// workflow back, from its last save point, with a fresh count of attempts; it is
// claimable from due on. Errors: [Conflict] with r if it is in another status.
func Requeue(s Stamp, r Record, due time.Time) (Transition, error) {
	if !allowed(VerbRequeue, r.Status, Ready) {
		return Transition{}, refuse(Conflict, VerbRequeue, &r, "it is %s", r.Status)
	}
	r.Due, r.Attempt, r.Expires = Millis(due), 0, time.Time{}
	return next(VerbRequeue, s, r, Ready)
}

// leave is what all transitions that end a lease have in common.
func leave(verb Verb, s Stamp, r Record, to Status, change func(*Record)) (Transition, error) {
	if err := held(verb, s, &r); err != nil {
		return Transition{}, err
	}
	r.Lease = Lease{}
	change(&r)
	return next(verb, s, r, to)
}

// held reports why the stamp's lease does not hold r at the stamp's time.
func held(verb Verb, s Stamp, r *Record) error {
	switch {
	case r.Status != Leased:
		return refuse(LeaseLost, verb, r, "it is %s", r.Status)
	case r.Lease.Token != s.Lease || s.Lease.IsZero():
		return refuse(LeaseLost, verb, r, "it is leased to %s by another claim", r.Lease.Owner)
	case r.Claimable(s.Now):
		return refuse(LeaseLost, verb, r, "the lease ended at %s", r.Due.Format(time.RFC3339Nano))
	}
	return nil
}

// next makes the successor of r.
func next(verb Verb, s Stamp, r Record, to Status) (Transition, error) {
	base := r.Token
	if !allowed(verb, r.Status, to) {
		return Transition{}, refuse(Conflict, verb, &r, "it is %s", r.Status)
	}
	r.Status = to
	r.Revision++
	r.Epoch, r.Token, r.Updated = s.Epoch, s.Token, Millis(s.Now)
	t := Transition{Base: base, Record: r}
	if err := t.Validate(); err != nil {
		return Transition{}, In(err, "", string(verb), r.ID)
	}
	return t, nil
}

func refuse(class Class, verb Verb, r *Record, format string, args ...any) error {
	stored := r.Clone()
	return &Error{Class: class, Op: string(verb), IDs: []string{r.ID}, Stored: &stored, Detail: fmt.Sprintf(format, args...)}
}

// cut returns the longest prefix of s that is valid UTF-8 of at most limit bytes;
// invalid bytes are replaced first.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
