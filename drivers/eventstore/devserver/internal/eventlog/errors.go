// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"errors"
	"fmt"
)

// ErrClosed is the error of every call after Close.
var ErrClosed = errors.New("event log is closed")

// WrongVersionError is the answer to a write whose expected version is not that of the stream. Nothing was written.
type WrongVersionError struct {
	Stream   string
	Expected int64 // a revision, or one of NoStream, Any and StreamExists
	Current  int64 // revision of the last event, or NoStream
}

func (e *WrongVersionError) Error() string {
	return fmt.Sprintf("stream %q: expected version %d, actual version %d", e.Stream, e.Expected, e.Current)
}

// DeletedError is the answer to a call on a tombstoned stream, and to a write that expects a soft-deleted stream to
// exist. Nothing was written.
type DeletedError struct{ Stream string }

func (e *DeletedError) Error() string { return fmt.Sprintf("stream %q is deleted", e.Stream) }

// RequestError is the answer to a call that no stored state could satisfy. Nothing was written. The real server
// gives no answer or ends its process on some of these.
type RequestError struct{ Reason string }

func (e *RequestError) Error() string { return e.Reason }

// ErrPosition is the answer to a read from a position at which no record starts.
var ErrPosition = errors.New("no record starts at this position")
