// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	_ "google.golang.org/grpc/encoding/proto" // registers the standard codec

	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// codec is protobuf, byte for byte, except that the field with the records is
// neither copied when a message is made nor when it is read: the records of a
// message that was read share the memory it came in. The two ends need not both
// use it.
type codec struct{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

func standard() encoding.CodecV2 { return encoding.GetCodecV2("proto") }

// recordsField is the number of the field with the records in every message that
// has one.
const recordsField = 1

// recordsOf returns the field with the records of m, nil if m has none.
func recordsOf(m any) *[]byte {
	switch m := m.(type) {
	case *wirev1.CommitRequest:
		return &m.Transitions
	case *wirev1.MergeRequest:
		return &m.Records
	case *wirev1.ClaimResponse:
		return &m.Records
	case *wirev1.GetResponse:
		return &m.Records
	case *wirev1.ListResponse:
		return &m.Records
	case *wirev1.ChangesResponse:
		return &m.Records
	}
	return nil
}

// Marshal implements encoding.CodecV2. It takes the records out of the message,
// and their memory is used again once they have been sent.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if out, ok := v.(*outgoing); ok {
		out.sent = true
		v = out.message
	}
	records := recordsOf(v)
	if records == nil || len(*records) == 0 {
		return standard().Marshal(v)
	}
	blob := *records
	*records = nil
	message, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("message is %T, want a proto.Message", v)
	}
	size := proto.Size(message) // anew: it has become smaller
	head := make([]byte, 0, size+1+protowire.SizeVarint(uint64(len(blob))))
	head, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(head, message)
	if err != nil {
		return nil, err
	}
	head = protowire.AppendTag(head, recordsField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(blob)))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(&blob, blobs)}, nil
}

// blobs has the memory of records that have been sent.
var blobs = &blobPool{}

// blobPool implements mem.BufferPool for records, whose memory is written over
// and so need not be cleared.
type blobPool struct{ pool sync.Pool }

// maxBlobBytes is the size of the largest piece of memory that is kept.
const maxBlobBytes = 1 << 20

// Get implements mem.BufferPool.
func (p *blobPool) Get(size int) *[]byte {
	b, ok := p.pool.Get().(*[]byte)
	if !ok || cap(*b) < size {
		made := make([]byte, size)
		return &made
	}
	*b = (*b)[:size]
	return b
}

// Put implements mem.BufferPool.
func (p *blobPool) Put(b *[]byte) {
	if cap(*b) <= maxBlobBytes {
		p.pool.Put(b)
	}
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	records := recordsOf(v)
	if records == nil {
		return standard().Unmarshal(data, v)
	}
	message, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("message is %T, want a proto.Message", v)
	}
	rest, blob, err := splitRecords(whole(data))
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(rest, message); err != nil {
		return err
	}
	*records = blob
	return nil
}

// whole returns the bytes of a message in one piece, which is never used again.
func whole(data mem.BufferSlice) []byte {
	if len(data) == 1 {
		if own, ok := data[0].(mem.SliceBuffer); ok { // of no pool
			return own
		}
	}
	return data.Materialize()
}

// splitRecords takes the last field with records out of a message and returns
// the other fields, copied, and the field's content, which shares memory with
// message.
func splitRecords(message []byte) (rest, records []byte, err error) {
	for len(message) > 0 {
		number, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return nil, nil, protowire.ParseError(tag)
		}
		size := protowire.ConsumeFieldValue(number, kind, message[tag:])
		if size < 0 {
			return nil, nil, protowire.ParseError(size)
		}
		if number == recordsField && kind == protowire.BytesType {
			records, _ = protowire.ConsumeBytes(message[tag:])
		} else {
			rest = append(rest, message[:tag+size]...)
		}
		message = message[tag+size:]
	}
	return rest, records, nil
}
