// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"github.com/google/uuid"
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

// frame is a message as it is sent: an event of an append (AppendReq in
// streams.proto) or of a subscription (ReadResp). The generated code makes a map and
// a dozen small pieces of each event, which is what a replay would spend most of
// its time with.
type frame struct{ b []byte }

// frameCodec is the codec of gRPC, except that it leaves frames as they are.
type frameCodec struct{ encoding.CodecV2 }

func newFrameCodec() frameCodec { return frameCodec{encoding.GetCodecV2(protocodec.Name)} }

// Name implements encoding.CodecV2. With it the content type of calls is that of the
// official client, application/grpc without a codec's name.
func (c frameCodec) Name() string { return "" }

// Marshal implements encoding.CodecV2.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f.b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		f.b = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// The numbers of the fields that are written and read, by streams.proto.
const (
	fieldProposed       protowire.Number = 2 // of AppendReq
	fieldProposedID     protowire.Number = 1 // of ProposedMessage, as the following
	fieldProposedSystem protowire.Number = 2
	fieldProposedCustom protowire.Number = 3
	fieldProposedData   protowire.Number = 4
	fieldIDText         protowire.Number = 2 // of UUID
	fieldKey            protowire.Number = 1 // of an entry of a map
	fieldValue          protowire.Number = 2

	fieldEvent    protowire.Number = 1 // of ReadResp
	fieldRecorded protowire.Number = 1 // of ReadEvent
	fieldRevision protowire.Number = 3 // of RecordedEvent, as the following
	fieldMetadata protowire.Number = 7
	fieldData     protowire.Number = 8
)

// proposed makes the message that brings an event to an append. All events are
// JSON.
func proposed(id uuid.UUID, eventType string, metadata, data []byte) frame {
	var scratch [64]byte
	text, _ := id.MarshalText() // never fails
	head := make([]byte, 0, len(eventType)+len(metadata)+128)
	head = appendField(head, fieldProposedID, appendField(scratch[:0], fieldIDText, text))
	head = appendEntry(head, "type", eventType)
	head = appendEntry(head, "content-type", "application/json")
	head = appendField(head, fieldProposedCustom, metadata)
	size := len(head) + protowire.SizeTag(fieldProposedData) + protowire.SizeBytes(len(data))
	b := make([]byte, 0, protowire.SizeTag(fieldProposed)+protowire.SizeBytes(size))
	b = protowire.AppendTag(b, fieldProposed, protowire.BytesType)
	b = append(protowire.AppendVarint(b, uint64(size)), head...)
	return frame{appendField(b, fieldProposedData, data)}
}

func appendField[T string | []byte](dst []byte, number protowire.Number, value T) []byte {
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// appendEntry appends an entry of the system metadata.
func appendEntry(dst []byte, key, value string) []byte {
	var scratch [128]byte
	return appendField(dst, fieldProposedSystem, appendField(appendField(scratch[:0], fieldKey, key), fieldValue, value))
}

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
