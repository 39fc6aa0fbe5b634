// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// head is what the file knows of a stream beside its events.
type head struct {
	number    uint64 // of the stream; the first half of its index keys
	last      int64  // revision of the last event, NoStream before the first
	tombstone uint64 // position of the $streamDeleted event, 0 if there is none
	metadata  uint64 // position of the last event of the metadata stream, 0 if there is none
}

const headSize = 4 * 8

func (h *head) encode() []byte {
	b := make([]byte, 0, headSize)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = binary.BigEndian.AppendUint64(b, uint64(h.last))
	b = binary.BigEndian.AppendUint64(b, h.tombstone)
	return binary.BigEndian.AppendUint64(b, h.metadata)
}

func decodeHead(b []byte) (head, error) {
	if len(b) != headSize {
		return head{}, fmt.Errorf("state of a stream has %d bytes: %w", len(b), errCorrupt)
	}
	return head{
		number:    binary.BigEndian.Uint64(b),
		last:      int64(binary.BigEndian.Uint64(b[8:])),
		tombstone: binary.BigEndian.Uint64(b[16:]),
		metadata:  binary.BigEndian.Uint64(b[24:]),
	}, nil
}

// indexKey orders the events of all streams by stream and revision.
func indexKey(number uint64, revision int64) []byte {
	b := make([]byte, 0, 16)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, number), uint64(revision))
}

const metadataPrefix = "$$"

// IsMetadataStream tells whether the events of a stream are the metadata of another.
func IsMetadataStream(name string) bool { return strings.HasPrefix(name, metadataPrefix) }

// MetadataStream is the name of the stream that holds the metadata of a stream.
func MetadataStream(name string) string { return metadataPrefix + name }

// OriginalStream is the name of the stream whose metadata a metadata stream holds.
func OriginalStream(metadataStream string) string {
	return strings.TrimPrefix(metadataStream, metadataPrefix)
}
