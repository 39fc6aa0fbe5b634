// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"slices"
)

// EpochState says what the chain does in an epoch. The numbers are fixed.
type EpochState uint8

const (
	// Serving is the normal state: the active link takes commits and claims.
	Serving EpochState = 0
	// Handover stops all writers: a store in this state refuses [Store.Commit] and
	// [Store.Claim] with [Fenced], and takes [Store.Merge].
	Handover EpochState = 1
)

// String returns the name of s in lower case.
func (s EpochState) String() string {
	switch s {
	case Serving:
		return "serving"
	case Handover:
		return "handover"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Epoch is the record of one "which link is active" decision. Each store keeps
// one for the chain; a store that was never advanced has the zero Epoch.
//
// Number is the fence: a store refuses mutations that carry a lower one. Version
// counts the changes of the record within one number (of the in-sync set, say),
// which fence nobody.
type Epoch struct {
	Number  uint64
	Version uint64
	Token   Token      // names the very change that made this version
	Active  string     // name of the link that serves
	State   EpochState // what the chain does in it
	InSync  []string   // sorted names of the standbys that hold everything acknowledged
	// Incarnations is how the links that count were last known to hold everything
	// acknowledged, sorted by link. Nothing is known of a link that is not there.
	Incarnations []LinkIncarnation `json:",omitempty"`
}

// LinkIncarnation is the incarnation of the store of one link, as of
// [Marks.Incarnation].
type LinkIncarnation struct {
	Link        string
	Incarnation uint64
}

// Clone returns a deep copy of e.
func (e Epoch) Clone() Epoch {
	e.InSync, e.Incarnations = slices.Clone(e.InSync), slices.Clone(e.Incarnations)
	return e
}

// Equal reports whether e and o agree in every field.
func (e Epoch) Equal(o Epoch) bool {
	return e.Number == o.Number && e.Version == o.Version && e.Token == o.Token &&
		e.Active == o.Active && e.State == o.State && slices.Equal(e.InSync, o.InSync) &&
		slices.Equal(e.Incarnations, o.Incarnations)
}

// String returns e as it stands in log lines: 7.2 redis serving [eventstore].
func (e Epoch) String() string {
	return fmt.Sprintf("%d.%d %s %s %v", e.Number, e.Version, e.Active, e.State, e.InSync)
}

// Admit decides whether a store that holds epoch e takes a mutation which
// carries number: nil, or the error the store answers. It is the same in every
// store. A merge is admitted by [Epoch.AdmitMerge].
//
// Lower numbers, and every number while e is in state [Handover], are [Fenced]
// with e. A higher number means that the caller knows of a decision the store
// has missed: [Lost].
func (e Epoch) Admit(number uint64) error {
	if number > e.Number {
		return &Error{Class: Lost, Epoch: clonePtr(e),
			Detail: fmt.Sprintf("the store is at epoch %d and has missed epoch %d: advance it first", e.Number, number)}
	}
	if number == e.Number && e.State == Handover {
		return &Error{Class: Fenced, Epoch: clonePtr(e), Detail: fmt.Sprintf("epoch %d is being handed over", e.Number)}
	}
	return e.AdmitMerge(number)
}

// AdmitMerge is [Epoch.Admit] for merges: replication may run ahead of the
// store's epoch and goes on during a handover, so only lower numbers are
// refused.
func (e Epoch) AdmitMerge(number uint64) error {
	if number < e.Number {
		return &Error{Class: Fenced, Epoch: clonePtr(e), Detail: fmt.Sprintf("epoch %d was followed by %d", number, e.Number)}
	}
	return nil
}

// AdmitAdvance decides whether a store that holds epoch e replaces it by
// req.Next. It is the same in every store: (true, nil) to store it, (false, nil)
// for a repeat of the change that made e, or the error the store answers.
//
// next follows expect if its number is higher, or its version is higher within
// the same number: versions may be skipped, so that a store which missed some can
// be told the present one.
//
// An error is [Fenced] if e has a higher number than next, [Invalid] if next
// does not follow expect, [Conflict] if e is not what was expected. Fenced and
// Conflict carry e.
func (e Epoch) AdmitAdvance(expect EpochVersion, next Epoch) (bool, error) {
	if err := next.validate(expect); err != nil {
		return false, err
	}
	switch {
	case e.Equal(next):
		return false, nil
	case e.Number > next.Number:
		return false, &Error{Class: Fenced, Epoch: clonePtr(e), Detail: fmt.Sprintf("epoch %d was followed by %d", next.Number, e.Number)}
	case e.Number != expect.Number || e.Version != expect.Version:
		return false, &Error{Class: Conflict, Epoch: clonePtr(e),
			Detail: fmt.Sprintf("the epoch is %d.%d, not %d.%d", e.Number, e.Version, expect.Number, expect.Version)}
	}
	return true, nil
}

func (e Epoch) validate(expect EpochVersion) error {
	switch {
	case e.Number < expect.Number, e.Number == expect.Number && e.Version <= expect.Version:
		return invalid("epoch %d.%d does not follow %d.%d: want a higher number, or a higher version of the same",
			e.Number, e.Version, expect.Number, expect.Version)
	case e.Number == 0:
		return invalid("epoch number is 0: the first is 1")
	case e.Token.IsZero():
		return invalid("epoch token is zero: each change needs a random token")
	case e.State > Handover:
		return invalid("epoch state is %s: want serving or handover", e.State)
	case len(e.InSync) > MaxLinks:
		return tooLargeIn("in-sync set", len(e.InSync), MaxLinks, "names")
	case !slices.IsSorted(e.InSync):
		return invalid("in-sync set %q is not sorted", e.InSync)
	case len(e.Incarnations) > MaxLinks:
		return tooLargeIn("incarnations", len(e.Incarnations), MaxLinks, "links")
	}
	names := append([]string{e.Active}, e.InSync...)
	for i, known := range e.Incarnations {
		if i > 0 && known.Link <= e.Incarnations[i-1].Link {
			return invalid("incarnations are not sorted by link, each once: %q follows %q", known.Link, e.Incarnations[i-1].Link)
		}
		names = append(names, known.Link)
	}
	for _, name := range names {
		if err := ValidateName("link", name); err != nil {
			return err
		}
	}
	return nil
}

// MaxLinks is the number of links a chain can have.
const MaxLinks = 16

// EpochVersion is what an advance expects to find.
type EpochVersion struct{ Number, Version uint64 }

// At returns the version of e, for use as the expectation of an advance.
func (e Epoch) At() EpochVersion { return EpochVersion{e.Number, e.Version} }

func clonePtr(e Epoch) *Epoch {
	c := e.Clone()
	return &c
}
