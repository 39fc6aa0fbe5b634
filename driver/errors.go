// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Class says what an error means for the caller. It is an error itself, so that
// errors.Is(err, driver.Conflict) asks for a class. The numbers are fixed for
// ever: they are sent. The zero Class is "no error".
type Class uint8

// The classes. Except for [Unknown], each says that the operation certainly had
// no effect.
const (
	NotFound    Class = 1  // there is no such workflow
	Exists      Class = 2  // another workflow has the id; carries the stored record
	Conflict    Class = 3  // another transition won the revision; carries the stored record or epoch
	LeaseLost   Class = 4  // the lease has expired or somebody else has it
	Invalid     Class = 5  // the request breaks a rule of the contract
	TooLarge    Class = 6  // the request is over a limit
	Unsupported Class = 7  // the store does not declare the capability
	Denied      Class = 8  // the store refuses our credentials or rights
	Fenced      Class = 9  // a newer epoch exists; carries it
	Lost        Class = 10 // the store is empty or behind what the caller has seen
	CursorLost  Class = 11 // the feed no longer reaches back to the cursor
	Full        Class = 12 // the store has no room for the mutation
	ReadOnly    Class = 13 // the store takes reads only
	Unavailable Class = 14 // the store cannot be reached or does not serve; certainly not done
	Unknown     Class = 15 // the operation may have been done
	Internal    Class = 16 // the driver or the store broke a rule; certainly not done
)

var classNames = [...]string{"ok", "not found", "exists", "conflict", "lease lost", "invalid", "too large",
	"unsupported", "denied", "fenced", "lost", "cursor lost", "full", "read-only", "unavailable", "unknown outcome", "internal"}

// Classes returns all classes in the order of their numbers.
func Classes() []Class {
	all := make([]Class, 0, len(classNames)-1)
	for c := NotFound; int(c) < len(classNames); c++ {
		all = append(all, c)
	}
	return all
}

// String returns the name of c.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Error implements error with the name of c.
func (c Class) Error() string { return c.String() }

// ClassOf returns the class of err: 0 for nil, [Unknown] for an error that has
// none, so that whatever is not understood is never taken for "certainly not
// done".
func ClassOf(err error) Class {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	if c, ok := errors.AsType[Class](err); ok {
		return c
	}
	return Unknown
}

// Error is what a store answers when it does not answer nil. Whoever passes one
// on may fill in fields that are empty, never change others.
type Error struct {
	Class  Class
	Op     string   // what was attempted: "commit"
	Store  string   // on what: the name of the driver or link
	IDs    []string // of the records concerned, if they are few
	Epoch  *Epoch   // Fenced, and Conflict of an advance: the epoch the store holds
	Stored *Record  // Conflict and Exists: the record the store holds; Unknown, of a chain: where others have gone on from it
	Detail string   // what is wrong and what to do about it
	Cause  error
}

// Error returns "store: op ids: class: detail: cause", without the empty parts.
func (e *Error) Error() string {
	parts := make([]string, 0, 5)
	if e.Store != "" {
		parts = append(parts, e.Store)
	}
	if e.Op != "" {
		var op strings.Builder
		op.WriteString(e.Op)
		for _, id := range e.IDs {
			fmt.Fprintf(&op, " %q", id)
		}
		parts = append(parts, op.String())
	}
	parts = append(parts, e.Class.String())
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	if e.Cause != nil {
		parts = append(parts, e.Cause.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is the class of e.
func (e *Error) Is(target error) bool {
	c, ok := target.(Class)
	return ok && c == e.Class
}

// In returns err as an *Error that names the operation and the store, filling in
// only what err does not say itself: nil for nil. An err without a class becomes
// the cause of an [Unknown] one. It is how drivers label what this package's
// functions return.
func In(err error, store, op string, ids ...string) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Class: ClassOf(err), Cause: err}
		if c, isClass := err.(Class); isClass { //nolint:errorlint // a bare class needs no cause; a wrapped one keeps its chain
			e.Class, e.Cause = c, nil
		}
	}
	labelled := *e
	if labelled.Store == "" {
		labelled.Store = store
	}
	if labelled.Op == "" {
		labelled.Op = op
	}
	if len(labelled.IDs) == 0 {
		labelled.IDs = ids
	}
	return &labelled
}

// ContextError returns the error of a call that ended because ctx is done: class
// [Unknown] if the call may have had an effect by then, else [Unavailable]. It
// wraps ctx's error.
func ContextError(ctx context.Context, mayHaveEffect bool) error {
	class := Unavailable
	if mayHaveEffect {
		class = Unknown
	}
	return &Error{Class: class, Cause: context.Cause(ctx)}
}
