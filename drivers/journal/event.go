// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Position is the place of an event in the log. Positions are consecutive; an
// append gives its events neighbouring ones.
type Position uint64

// Window is how many positions may lie between an event and what its author knew
// of the log. An author that was slower than that is told so and writes anew. It is
// also how many events the log holds at least beyond those that are needed.
const Window = 1 << 13

// Kind says what an event is. The numbers are fixed for ever: logs may store
// them.
type Kind uint8

// The kinds of events.
const (
	Created       Kind = 1  // the log begins, or its history was found to have branched; carries [Creation]
	Committed     Kind = 2  // a transition asked for by Commit
	Claimed       Kind = 3  // a transition made by Claim
	Merged        Kind = 4  // a record brought by Merge
	Expired       Kind = 5  // a finished record leaves
	EpochAdvanced Kind = 6  // carries [Advance]
	Checkpointed  Kind = 7  // a compaction begins; carries [Checkpoint]
	Compacted     Kind = 8  // a record is repeated as it stands
	ClaimsKept    Kind = 9  // tokens of claims are repeated; carries [Claims]
	Truncated     Kind = 10 // what stands before is no longer needed; carries [Truncation]
	Probed        Kind = 11 // a health check; changes nothing
)

var kindNames = [...]string{"", "created", "committed", "claimed", "merged", "expired", "epoch advanced",
	"checkpointed", "compacted", "claims kept", "truncated", "probed"}

// String returns the name of k in lower case.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// HasRecord reports whether the Data of such events is the encoding of a record.
func (k Kind) HasRecord() bool {
	return k == Committed || k == Claimed || k == Merged || k == Compacted
}

// Batch is what the events of one append have in common.
type Batch struct {
	ID   driver.Token // random; by it an append is recognised when it is read back
	Time time.Time    // of the author's clock
}

// Origin is what the events of one call have in common.
type Origin struct {
	Batch *Batch
	After Position // the author knew all events before this position
	Epoch uint64   // the epoch of the call that asked for it; 0 for events nobody asked for
}

// Event is one entry of the log. Events are never changed once they have been
// appended; their Data may be shared by all replicas of a process.
type Event struct {
	Kind Kind
	// Verb is the transition of a committed or claimed record, for people who read
	// the log; nothing depends on it. It is set only for logs that ask for it.
	Verb Verb
	// Partial: the record of a Committed or Claimed event lacks what never changes
	// after the first revision (see [driver.Record]) except its id. A log may leave
	// that out of revisions above 1; it is filled in from the revision before.
	Partial bool
	Index   uint32 // place in the batch, from 0
	Origin  *Origin
	Base    driver.Token // Committed, Claimed: the transition it follows
	// Data is the record as by driver.AppendRecord where Kind.HasRecord; the id of an
	// Expired record; else the JSON of the type that the kind carries.
	Data []byte
	// Encoded is for the log, which may keep its own form of the event here between
	// [Log.Size] and [Log.Append]. The machine drops it afterwards.
	Encoded any
}

// Creation is carried by Created events.
type Creation struct {
	Incarnation uint64 `json:"incarnation"`
	// Replaces is the incarnation whose history was found to have branched; 0 at the
	// beginning of a log.
	Replaces uint64 `json:"replaces,omitempty"`
}

// Advance is carried by EpochAdvanced events.
type Advance struct {
	Expect driver.EpochVersion `json:"expect"`
	Next   driver.Epoch        `json:"next"`
}

// Checkpoint is carried by Checkpointed events.
type Checkpoint struct {
	Incarnation uint64       `json:"incarnation"`
	Epoch       driver.Epoch `json:"epoch"`
}

// Claims is carried by ClaimsKept events.
type Claims struct {
	Claims []KeptClaim `json:"claims"`
}

// KeptClaim is the token of a claim whose leases have not all ended.
type KeptClaim struct {
	Token driver.Token `json:"token"`
	Until int64        `json:"until"` // end of the leases in milliseconds since 1970
}

// Truncation is carried by Truncated events.
type Truncation struct {
	Before Position `json:"before"`
}

// carrying returns an event of a kind that carries v.
func carrying(kind Kind, v any) (Event, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Event{}, &driver.Error{Class: driver.Internal, Op: "encode " + kind.String() + " event", Cause: err}
	}
	return Event{Kind: kind, Data: data}, nil
}

// carried decodes what an event carries.
func carried[T any](e *Event) (T, error) {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return v, &driver.Error{Class: driver.Internal, Op: "decode " + e.Kind.String() + " event", Cause: err}
	}
	return v, nil
}
