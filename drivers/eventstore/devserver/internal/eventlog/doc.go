// SPDX-License-Identifier: Apache-2.0

// Package eventlog is the storage of the development server: one log of events in a bbolt file, an index from
// streams to the log, and the rules by which EventStoreDB 23.10.6 accepts, repeats and refuses writes.
//
// It knows nothing of gRPC. Writes go through one goroutine that commits everything that queued up meanwhile in
// one transaction and answers only after the file has been synced. Reads are snapshots of at most a page each.
package eventlog

import "math"

// Expected versions of a write, beside the exact revisions 0, 1, 2 …
const (
	NoStream     int64 = -1
	Any          int64 = -2
	StreamExists int64 = -4
)

// DeletedRevision is the revision of the event that marks a tombstoned stream, and the value of $tb that marks a
// soft-deleted one.
const DeletedRevision int64 = math.MaxInt64

// MaxStreamName is the longest stream name in bytes that can be stored, four bytes less than the longest key of the
// file, so that the name of a metadata stream always fits.
const MaxStreamName = 32768 - 4

// Event types with a meaning of their own.
const (
	TypeMetadata      = "$metadata"
	TypeStreamDeleted = "$streamDeleted"
	TypeLink          = "$>"
)
