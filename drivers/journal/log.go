// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"

	"github.com/understudy-dev/understudy/driver"
)

// Log is what a log-backed driver supplies. All methods may be called
// concurrently. Each returns within 100 ms after its ctx is done, and makes at
// most one attempt. Errors have a class (see [driver.Class]); any but
// [driver.Unknown] says that nothing was written.
type Log interface {
	// Limits says how appends are to be combined. It is constant.
	Limits() Limits

	// Size returns what e takes of Limits.Bytes. It is called once for each event,
	// before Append, and may keep an encoding in e.Encoded. An error is the verdict
	// of the event: [driver.TooLarge] for one that no append can hold.
	Size(e *Event) (int, error)

	// Append writes the events at the end of the log, all or none, in this order, at
	// consecutive positions and with no other between them. The log may keep the
	// slice.
	Append(ctx context.Context, events []Event) error

	// Bounds returns the position of the first event there is and the one after the
	// last: equal if there is none. What was appended before the call, by anybody,
	// lies before end.
	Bounds(ctx context.Context) (first, end Position, err error)

	// Follow gives every event from the place on to emit, in order, and then each
	// new one as it arrives, until ctx is done, emit fails, or the log cannot go on.
	// It calls emit from one goroutine at a time with events at consecutive
	// positions from at on, and not after it has returned; emit does not block and
	// does not call the log. emit keeps no event's Encoded.
	//
	// Where the place no longer exists because the head was truncated, it goes on
	// at the first event there is. If the event before the place is not the one that
	// the place names, the history was replaced: [driver.Lost].
	Follow(ctx context.Context, from Place, emit func(at Position, events []Event) error) error

	// Truncate removes the events before the given position, or some of them, now or
	// later. It never lowers an earlier truncation.
	Truncate(ctx context.Context, before Position) error

	// Check reports on the health of the product: everything of the response but the
	// receipt, the number of records and the replay.
	Check(ctx context.Context) (driver.ProbeResponse, error)

	// Close lets go of everything within ctx.
	Close(ctx context.Context) error
}

// Limits says how a log wants its appends.
type Limits struct {
	Events   int // events of one append; at least 1
	Bytes    int // sum of their sizes; at least that of the largest event
	InFlight int // appends under way at once; at least 1
	// Verbs: the log shows [Event.Verb] to people.
	Verbs bool
	// Local: Append and Bounds never wait for anything, so there is nothing to gain
	// from combining calls.
	Local bool
}

// Place is where a follower goes on: at Next, after the event with the given
// batch and index. The zero Place is the first event there is.
type Place struct {
	Next  Position
	Batch driver.Token
	Index uint32
}
