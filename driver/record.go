// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Status says where a workflow stands. The numbers are fixed for ever: they are
// stored and sent.
type Status uint8

// The statuses of a record. The zero Status is that of a workflow that does not
// exist.
const (
	Absent    Status = 0 // there is no such workflow
	Ready     Status = 1 // claimable from Due on
	Leased    Status = 2 // a worker holds it until Due
	Waiting   Status = 3 // parked; claimable from Due on if that is set, else until it is requeued
	Succeeded Status = 4 // ended well
	Failed    Status = 5 // ended by a permanent failure: the dead letter
	Cancelled Status = 6 // ended by request
	Held      Status = 7 // reserved: stored, mirrored and listed, never claimable
)

var statusNames = [...]string{"absent", "ready", "leased", "waiting", "succeeded", "failed", "cancelled", "held"}

// String returns the name of s in lower case.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Finished reports whether s is an end: nothing claims such a record any more,
// and its retention runs.
func (s Status) Finished() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Lease is the right of one worker to advance a workflow until its record's Due.
// The zero Lease means that nobody holds it.
type Lease struct {
	Owner string // the host instance that holds it
	Token Token  // names the claim that gave it; the holder proves itself by it
}

// Record is the whole state of one workflow. It is small enough to be rewritten
// at each step.
//
// ID, Kind, Input, Labels and Created never change after revision 1; a store may
// rely on it. All times are instants with millisecond precision; stores return
// them in UTC. The zero time means "not set". A nil and an empty slice or map
// mean the same, and stores return nil for both.
type Record struct {
	ID   string // unique in its chain until the record has expired
	Kind string // what sort of workflow it is: the unit that workers claim by

	Revision uint64 // +1 at each transition, 1 at creation: the compare-and-set counter
	Epoch    uint64 // the epoch under which this revision was written
	Token    Token  // names the very transition that made this revision
	Status   Status

	// Due is the only index of claimable work. Ready: claimable from then on.
	// Leased: the end of the lease, from when on anybody may claim it. Waiting:
	// claimable from then on. Zero: never claimable.
	Due     time.Time
	Lease   Lease  // set if and only if Status is Leased
	Attempt uint32 // claims since the last save point or yield

	Step  string // name of the last save point; empty before the first
	State []byte // its data

	Input []byte
	// Output is what the workflow has come to. Until it has succeeded it belongs to
	// the host, which keeps there what it knows of effects outside the store.
	Output  []byte
	Failure string // why the last attempt failed, or why it was cancelled

	Created, Updated time.Time
	// Expires is when the store may forget a finished record. Zero: never. Set on
	// finished records only.
	Expires time.Time

	Labels map[string]string
}

// Claimable reports whether r can be claimed at now.
func (r *Record) Claimable(now time.Time) bool {
	return !r.Due.IsZero() && !r.Due.After(now)
}

// Clone returns a deep copy of r.
func (r Record) Clone() Record {
	r.State = bytes.Clone(r.State)
	r.Input = bytes.Clone(r.Input)
	r.Output = bytes.Clone(r.Output)
	r.Labels = maps.Clone(r.Labels)
	return r
}

// Compare orders two records with one id by age: by epoch, then creation, then
// revision, then token. A later creation is another workflow, with an id that was
// used anew when the one before had expired: a store may hold that one still. The
// token only breaks ties between records that should not both exist, in the same
// way on every store, so that merging is free of order. It returns 0 if and only if
// a and b are the same transition.
func Compare(a, b *Record) int {
	return cmp.Or(
		cmp.Compare(a.Epoch, b.Epoch),
		a.Created.Compare(b.Created),
		cmp.Compare(a.Revision, b.Revision),
		bytes.Compare(a.Token[:], b.Token[:]),
	)
}

// Equal reports whether a and b agree in every field. Times are compared as
// instants, nil and empty slices and maps are equal.
func Equal(a, b *Record) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.Revision == b.Revision && a.Epoch == b.Epoch &&
		a.Token == b.Token && a.Status == b.Status && a.Due.Equal(b.Due) && a.Lease == b.Lease &&
		a.Attempt == b.Attempt && a.Step == b.Step && bytes.Equal(a.State, b.State) &&
		bytes.Equal(a.Input, b.Input) && bytes.Equal(a.Output, b.Output) && a.Failure == b.Failure &&
		a.Created.Equal(b.Created) && a.Updated.Equal(b.Updated) && a.Expires.Equal(b.Expires) &&
		maps.Equal(a.Labels, b.Labels)
}

// Millis returns t as records hold it: in UTC, cut to whole milliseconds,
// without a monotonic reading. The zero time stays zero.
func Millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// sortedLabels returns the keys of labels in order, for encodings that must not
// depend on the order of a map.
func sortedLabels(labels map[string]string) []string {
	if len(labels) == 0 {
		return nil // most records have none, and this is on the way of each
	}
	return slices.Sorted(maps.Keys(labels))
}
