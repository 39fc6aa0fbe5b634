// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"slices"
	"time"
)

// Guard is what the caller of a mutation knows; a store that knows better, or
// has forgotten, refuses.
type Guard struct {
	// Epoch is the number of the epoch the caller acts in; see [Epoch.Admit].
	Epoch uint64
	// Seen is the highest that the caller has seen of the store; see [Marks.Check].
	// Empty: the caller trusts the store as it is.
	Seen Marks
}

// Receipt comes with every answer.
type Receipt struct {
	// Marks tells how far the partitions that the call touched have come.
	Marks Marks
	// Time is the store's own time when it answered: the one that decides what is
	// due. Callers make due times and lease ends from it, not from their clock.
	Time time.Time
}

// Verdict is what became of one record of a batch.
type Verdict struct {
	// Err is nil if the store holds the transition (a repeat included) or, for a
	// merge, this record or a newer one.
	Err error
	// Applied is whether this call changed the store.
	Applied bool
}

// CommitRequest is the request of [Store.Commit]: at most [MaxBatch] transitions
// of at most [MaxBatchBytes] together.
type CommitRequest struct {
	Guard
	Transitions []Transition
}

// CommitResponse has one verdict for each transition, in their order.
type CommitResponse struct {
	Receipt
	Verdicts []Verdict
}

// ClaimRequest is the request of [Store.Claim].
type ClaimRequest struct {
	Guard
	Owner string        // who claims: the host instance; 1–256 bytes
	Token Token         // names the claim and the leases it gives
	Kinds []string      // 1–64 kinds
	Limit int           // 1–256 records
	Lease time.Duration // whole milliseconds, from 1 ms to 24 h
}

// ClaimResponse has the claimed records as they now stand.
type ClaimResponse struct {
	Receipt
	Records []Record
	// Next is the earliest due time among the other records of the kinds, a past
	// one included: when to claim again if nothing changes. Zero: there are none.
	Next time.Time
}

// GetRequest is the request of [Store.Get]: 1–256 ids.
type GetRequest struct {
	Seen Marks
	IDs  []string
}

// GetResponse has the records found, in the order of the ids asked for.
type GetResponse struct {
	Receipt
	Records []Record
}

// ListRequest is the request of [Store.List].
type ListRequest struct {
	Seen     Marks
	Kinds    []string // empty: all
	Statuses []Status // empty: all
	Cursor   string   // empty: the first page; else the Next of the page before, with the same filter
	Limit    int      // 1–256 records a page
}

// ListResponse is one page: at most Limit records, and fewer, even none, where
// the store prefers it; only an empty Next means the end.
type ListResponse struct {
	Receipt
	Records []Record
	Next    string
}

// MergeRequest is the request of [Store.Merge]: at most [MaxBatch] records of at
// most [MaxBatchBytes] together.
type MergeRequest struct {
	Guard
	Records []Record
}

// MergeResponse has one verdict for each record, in their order.
type MergeResponse struct {
	Receipt
	Verdicts []Verdict
}

// ChangesRequest is the request of [Store.Changes].
type ChangesRequest struct {
	Seen   Marks
	Cursor string // empty: begin now
	// Records asks for the records themselves. Each is as it stands when it is
	// read, so it may be of a later revision than the change, and is left out
	// (with its change) once it has expired.
	Records bool
	// ToEnd ends the call with nil once every change has been emitted that was
	// there when it began: on every partition, whatever is changed meanwhile.
	ToEnd bool
}

// ChangeBatch is a stretch of the feed.
type ChangeBatch struct {
	Receipt
	Changes []Change
	Cursor  string // the place after the last of Changes: opaque, at most 1 KiB
}

// Change tells that a record has come to a revision.
type Change struct {
	ID, Kind string
	Revision uint64
	Epoch    uint64
	Status   Status
	Due      time.Time
	Record   *Record // only if asked for
}

// EpochRequest is the request of [Store.Epoch].
type EpochRequest struct{}

// EpochResponse has the epoch record of the store.
type EpochResponse struct {
	Receipt
	Epoch Epoch
}

// AdvanceRequest is the request of [Store.Advance].
type AdvanceRequest struct {
	Seen   Marks
	Expect EpochVersion // what the store must hold; zero: a store never advanced
	Next   Epoch
}

// AdvanceResponse has the epoch record as it now stands: that of the request.
type AdvanceResponse struct {
	Receipt
	Epoch Epoch
}

// Capability names something that not every store has. Unknown ones are ignored.
type Capability string

const (
	// CapChanges is the change feed. Without it Changes is Unsupported.
	CapChanges Capability = "changes"
	// CapShared means that several processes may open the same data at once. Without it a
	// second Open of the same data is refused with Unsupported.
	CapShared Capability = "shared"
	// CapDurable means that what was acknowledged is still there after the driver's process
	// has been killed and opened again.
	CapDurable Capability = "durable"
)

// Capabilities returns all capabilities of this version of the contract.
func Capabilities() []Capability { return []Capability{CapChanges, CapDurable, CapShared} }

// Protection says how the connections of a store are protected, from weak to
// strong. The numbers are fixed.
type Protection uint8

const (
	// Plain is a connection over a network that anybody on the way can read.
	Plain Protection = 0
	// Local never leaves the machine: loopback, a Unix socket, or no connection.
	Local Protection = 1
	// TLS is encrypted and authenticates the server.
	TLS Protection = 2
	// MutualTLS authenticates both sides.
	MutualTLS Protection = 3
)

// String returns the name of p in lower case.
func (p Protection) String() string {
	names := [...]string{"plain", "local", "tls", "mutual tls"}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown protection"
}

// DescribeRequest is the request of [Store.Describe].
type DescribeRequest struct{}

// DescribeResponse says what a store is and can do.
type DescribeResponse struct {
	Driver       string // name of the driver
	Version      string // of the driver
	Contract     int    // [Contract] as the driver was built with it
	Capabilities []Capability
	Protection   Protection
	// Details are further facts for people, such as the address (never a secret).
	Details map[string]string
}

// Has reports whether the store declares c.
func (d *DescribeResponse) Has(c Capability) bool {
	return slices.Contains(d.Capabilities, c)
}

// ProbeRequest is the request of [Store.Probe].
type ProbeRequest struct {
	Seen Marks // checked as for every call; empty: report on the store as it is
}

// ProbeResponse reports on the health of a store.
type ProbeResponse struct {
	Receipt
	// Problems make the store unfit to be active, each with what to do about it.
	// None: it is healthy.
	Problems []Problem
	// Warnings do not make it unfit.
	Warnings []Problem
	// Role is the product's word for what the server is: "master", "leader".
	Role string
	// Generation changes whenever the product itself may have failed over or
	// restarted, and its data may have gone back.
	Generation string
	// Durability says what an acknowledgement survives, in words.
	Durability string
	Records    int64 // held now; -1: not known
	UsedBytes  int64 // of the resource that fills first; -1: not known
	LimitBytes int64 // its size; -1: not known or none
	// Catching up: Done of Total steps before the store serves; both 0 if it does.
	ReplayDone, ReplayTotal int64
	// Details are further facts for people, never a secret.
	Details map[string]string
}

// Healthy reports whether the probe found no problem.
func (p *ProbeResponse) Healthy() bool { return len(p.Problems) == 0 }

// Problem is one finding of a probe.
type Problem struct {
	Code string `json:"code"` // stable and machine-readable: "maxmemory-policy"
	Text string `json:"text"` // what is wrong and what to do
}
