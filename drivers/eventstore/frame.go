// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// recorded is what the driver needs of an event that was read.
type recorded struct {
	revision       uint64
	metadata, data []byte
}

// frame is a message of a subscription (ReadResp in streams.proto) as it came. The
// generated code makes a map and a dozen small pieces of each event, which is what
// a replay would spend most of its time with.
type frame struct{ b []byte }

// frameCodec is the codec of gRPC, except that it leaves frames as they are.
type frameCodec struct{ encoding.CodecV2 }

func newFrameCodec() frameCodec { return frameCodec{encoding.GetCodecV2(protocodec.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		f.b = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// The numbers of the fields that are read, by streams.proto.
const (
	fieldEvent    protowire.Number = 1 // of ReadResp
	fieldRecorded protowire.Number = 1 // of ReadEvent
	fieldRevision protowire.Number = 3 // of RecordedEvent, as the following
	fieldMetadata protowire.Number = 7
	fieldData     protowire.Number = 8
)

// event returns the event that the message brings; false if it brings none. What
// it returns shares the memory of the frame.
func (f frame) event() (recorded, bool, error) {
	var e recorded
	outer, found, err := submessage(f.b, fieldEvent)
	if err != nil || !found {
		return e, false, err
	}
	inner, found, err := submessage(outer, fieldRecorded)
	if err != nil || !found {
		return e, false, err
	}
	err = eachField(inner, func(number protowire.Number, kind protowire.Type, value []byte) {
		switch {
		case number == fieldRevision && kind == protowire.VarintType:
			e.revision, _ = protowire.ConsumeVarint(value)
		case number == fieldMetadata && kind == protowire.BytesType:
			e.metadata, _ = protowire.ConsumeBytes(value)
		case number == fieldData && kind == protowire.BytesType:
			e.data, _ = protowire.ConsumeBytes(value)
		}
	})
	return e, true, err
}

// submessage returns the field of the number, a message.
func submessage(b []byte, want protowire.Number) (inner []byte, found bool, err error) {
	err = eachField(b, func(number protowire.Number, kind protowire.Type, value []byte) {
		if number == want && kind == protowire.BytesType {
			inner, _ = protowire.ConsumeBytes(value)
			found = true
		}
	})
	return inner, found, err
}

// eachField calls visit with each field; value is well-formed.
func eachField(b []byte, visit func(number protowire.Number, kind protowire.Type, value []byte)) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return protowire.ParseError(n)
		}
		visit(number, kind, b[:n])
		b = b[n:]
	}
	return nil
}
