// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Divergence says how a record of a returning link stands to what the chain
// holds. See "What the returning link holds" in docs/epochs.md.
type Divergence string

// The ways in which a record can stand to that of the active link. The first two
// are no findings.
const (
	DivergenceNone   Divergence = "none"   // the same transition
	DivergenceOlder  Divergence = "older"  // an earlier revision, or none
	DivergenceBehind Divergence = "behind" // another transition that the chain has overtaken: replaced
	DivergenceAhead  Divergence = "ahead"  // a newer one that was never acknowledged: replaced
	// DivergenceUnknown is a workflow that the chain does not have, changed within
	// the retention: it is taken over into the chain.
	DivergenceUnknown Divergence = "unknown"
	// DivergenceForgotten is a workflow that the chain has finished and forgotten:
	// it is cancelled in the returning link.
	DivergenceForgotten Divergence = "forgotten"
)

// finding reports whether a record that stands so is reported before anything is
// done.
func (d Divergence) finding() bool { return d != DivergenceNone && d != DivergenceOlder }

// classify tells how theirs, a record of a returning link (nil: it has none),
// stands to ours, that of the active link, which was read afterwards (nil: it has
// none). now is the active link's time, retention that of the chain.
func classify(theirs, ours *driver.Record, now time.Time, retention time.Duration) Divergence {
	switch {
	case theirs == nil:
		return DivergenceOlder
	case ours == nil:
		return classifyUnknown(theirs, now, retention)
	}
	switch order := driver.Compare(theirs, ours); {
	case order == 0:
		return DivergenceNone
	case order > 0:
		return DivergenceAhead
	case theirs.Revision < ours.Revision, overBefore(theirs, ours):
		return DivergenceOlder
	}
	return DivergenceBehind
}

// overBefore reports whether theirs is another workflow, which had expired when ours
// was started with its id.
func overBefore(theirs, ours *driver.Record) bool {
	return !theirs.Expires.IsZero() && !theirs.Expires.After(ours.Created)
}

func classifyUnknown(theirs *driver.Record, now time.Time, retention time.Duration) Divergence {
	switch {
	case retention < 0 || now.Sub(theirs.Updated) < retention:
		return DivergenceUnknown
	case theirs.Status.Finished(): // both links have forgotten it, or will
		return DivergenceNone
	}
	return DivergenceForgotten
}

// Diverged is one record of a returning link that the chain has since decided
// otherwise: a line in the report file. It has no payloads.
type Diverged struct {
	Divergence Divergence `json:"divergence"`
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`
	// Theirs is what the returning link holds, Ours what the chain holds; nil: it
	// has no such workflow.
	Theirs *Version `json:"theirs"`
	Ours   *Version `json:"ours"`
}

// Version is one state of a record, without its payloads.
type Version struct {
	Epoch    uint64       `json:"epoch"`
	Revision uint64       `json:"revision"`
	Token    driver.Token `json:"token"`
	Status   string       `json:"status"`
	Step     string       `json:"step,omitempty"`
	Updated  time.Time    `json:"updated"`
}

func versionOf(r *driver.Record) *Version {
	if r == nil {
		return nil
	}
	return &Version{Epoch: r.Epoch, Revision: r.Revision, Token: r.Token, Status: r.Status.String(), Step: r.Step, Updated: r.Updated}
}

// restamped returns the transition that commits a record of the active link anew,
// as it is: the same content, and so the same lease, as another revision of the
// present epoch.
func restamped(s driver.Stamp, r driver.Record) driver.Transition {
	t := driver.Transition{Base: r.Token, Record: r}
	t.Record.Revision, t.Record.Epoch, t.Record.Token = r.Revision+1, s.Epoch, s.Token
	return t
}

// cancelled returns the record that ends a forgotten one in the returning link.
// It keeps the time of the last change, so that it stays forgotten.
func cancelled(s driver.Stamp, r driver.Record, expires time.Time) (driver.Record, error) {
	t, err := driver.Cancel(s, r, "the chain had finished and forgotten this workflow while the link that holds it was away", expires)
	t.Record.Updated = r.Updated
	return t.Record, err
}
