// SPDX-License-Identifier: Apache-2.0

package driver

import "context"

// Store is one opened connection of a driver: it keeps the records of one chain.
//
// # What holds for every method
//
// Concurrency: any number of calls may run at once.
//
// Context: a method returns within 100 ms after ctx is done, with an error that
// wraps ctx's: class [Unknown] if a mutation may have been applied, else
// [Unavailable]. A ctx that is done on entry has no effect on the store.
//
// Ownership: a store keeps no slice or map of a request and gives none of its
// own away; both sides may change theirs once the call has returned. Requests and
// responses are plain values.
//
// Errors: what a method returns is nil or has a class (see [ClassOf]). Any class
// but Unknown means that the call had no effect. Errors of one record of a batch
// are in its [Verdict]; the method's own error means that no record was applied,
// or, if Unknown, that each may have been. A request that breaks a rule of its
// fields is [Invalid] or [TooLarge].
//
// Guard: a request carries what the caller knows, see [Guard]. The store checks
// it before it applies anything, in this order: Seen ([Lost]), the epoch
// ([Fenced], Lost), then the request itself.
//
// After Close every method returns [Unavailable].
type Store interface {
	// Describe says what the store is and can do. It is constant over the life of
	// a store and answers also while the product cannot be reached.
	Describe(ctx context.Context, req DescribeRequest) (DescribeResponse, error)

	// Commit applies each transition whose base the store holds (see
	// [Transition]). The transitions of one record are applied in the order of the
	// batch. A batch is not a transaction: each transition has its own verdict,
	// and each is applied as a whole or not at all, before Commit returns.
	//
	// A repeat of the transition that made the stored revision, recognised by
	// revision and token, is a success that changes nothing.
	//
	// Verdicts: nil; [Exists] with the stored record for a first revision when
	// the id is taken; [Conflict] with the stored record when the base is another;
	// [NotFound] for a later revision when the id is unknown; [Invalid] or
	// [TooLarge] for a transition that fails [Transition.Validate] or whose record
	// is not of the request's epoch; [Full].
	//
	// Of all transitions that name the same base at most one ever succeeds, on
	// however many connections they are sent.
	Commit(ctx context.Context, req CommitRequest) (CommitResponse, error)

	// Claim leases up to req.Limit claimable records of req.Kinds to req.Owner,
	// those due first, first (within each partition): each as by the transition
	// [Claim] with the store's own time as now, req.Token as its token and as that
	// of the lease, and now + req.Lease as its end. No record is given to two
	// claims that overlap. Records of an epoch above the request's, which a merge
	// may have brought, are passed over.
	//
	// A repeat with the same token before the lease ends claims nothing more: it
	// returns the records that the first call leased and that have not been
	// changed since.
	//
	// It returns fewer records than there are rather than more than
	// [MaxBatchBytes], and an empty response, at once, when nothing is claimable.
	Claim(ctx context.Context, req ClaimRequest) (ClaimResponse, error)

	// Get returns the records with the given ids, in the order of the ids, each as
	// it stands after every mutation that was acknowledged before the call.
	// Unknown ids are left out.
	Get(ctx context.Context, req GetRequest) (GetResponse, error)

	// List returns one page of the records of the given kinds and statuses. Over
	// all pages, from an empty cursor to an empty Next, every record that matched
	// throughout comes exactly once; one that changed meanwhile comes once or not
	// at all. The order is the store's own. A cursor that the store did not give
	// is [Invalid].
	List(ctx context.Context, req ListRequest) (ListResponse, error)

	// Merge is replication: it stores each record that is newer, by [Compare],
	// than what the store holds of its id, and leaves the others alone. Older
	// records and repeats are successes, so that the order and number of merges do
	// not matter. It does not look at bases, and takes records of any epoch up to
	// the request's; it is the only mutation that goes on during a [Handover].
	//
	// Verdicts: nil; [Invalid] or [TooLarge] for a record that fails
	// [Record.Validate] or is of an epoch above the request's; [Full].
	Merge(ctx context.Context, req MergeRequest) (MergeResponse, error)

	// Changes feeds every change after req.Cursor to emit, in the order of the
	// store, and then each new one as it happens, until ctx is done or emit
	// returns an error; it returns that error as it is. It calls emit from one goroutine at
	// a time and waits for it: a slow emit slows the feed and nothing else.
	//
	// With an empty cursor it begins now: the first batch is empty, comes at once
	// and has the cursor of the present. With a cursor it begins right after it;
	// cursors stay good over reconnects and are good on every connection to the
	// same data. The first batch comes at once also then, empty if there is
	// nothing to tell.
	//
	// With req.ToEnd it returns nil as soon as emit has had every change that was
	// acknowledged before the call began. What happens during the call may come too,
	// and does not prolong it. The cursor of the last batch is then the place to go
	// on from, without a gap.
	//
	// Commits, claims and merges that changed the store are changes; expiry
	// is none. A change may be left out when a later one of the same record is
	// already there; the last change of a record always comes. The changes of one
	// record come in the order of [Compare].
	//
	// Errors: [CursorLost] when the store no longer reaches back to the cursor:
	// begin anew with List; [Invalid] for a cursor that the store did not give;
	// [Unsupported] without [CapChanges]; [Unavailable] when the feed broke off:
	// go on from the last cursor.
	Changes(ctx context.Context, req ChangesRequest, emit func(ChangeBatch) error) error

	// Epoch returns the epoch record of the store, the zero Epoch if it was never
	// advanced.
	Epoch(ctx context.Context, req EpochRequest) (EpochResponse, error)

	// Advance replaces the epoch record by compare-and-set; see
	// [Epoch.AdmitAdvance] for the rule and the errors. From the moment it returns,
	// every mutation that carries a lower number is [Fenced], on every connection;
	// no mutation of a lower number is applied after it.
	Advance(ctx context.Context, req AdvanceRequest) (AdvanceResponse, error)

	// Probe writes a small value, reads it back, and reports on the health of the
	// store. It needs no epoch and disturbs no record. What it finds wrong while
	// the store still answers stands in Problems; it returns an error when writing
	// or reading back failed. A store that keeps whatever is written to it may leave
	// out the write while one of its own that was read back some seconds ago shows
	// the same, and nothing has failed since; reading it never leaves out.
	Probe(ctx context.Context, req ProbeRequest) (ProbeResponse, error)

	// Close ends the connection and all calls in flight within ctx, and lets go of
	// everything the store holds. Records stay. It returns nil on a closed store.
	Close(ctx context.Context) error
}

// NoChanges is for embedding by stores without [CapChanges].
type NoChanges struct{}

// Changes returns [Unsupported].
func (NoChanges) Changes(context.Context, ChangesRequest, func(ChangeBatch) error) error {
	return &Error{Class: Unsupported, Op: "changes", Detail: "the store has no change feed"}
}
