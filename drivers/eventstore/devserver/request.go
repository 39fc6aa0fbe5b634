// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// contentTypeJSON is the only content type that is kept; every other one reads back as contentTypeBinary.
const (
	contentTypeJSON   = "application/json"
	contentTypeBinary = "application/octet-stream"
)

// streamName reads the name of a stream, which must not be absent or empty.
func streamName(id *shared.StreamIdentifier) (string, error) {
	if len(id.GetStreamName()) == 0 {
		return "", errThrown
	}
	return strings.ToValidUTF8(string(id.GetStreamName()), "\uFFFD"), nil
}

// expectedVersion reads the expected version of any kind of write. message is the name of the request, for the
// error when there is none.
func expectedVersion(option any, message string) (int64, error) {
	switch o := option.(type) {
	case *api.AppendReq_Options_Revision:
		return revision(o.Revision)
	case *api.DeleteReq_Options_Revision:
		return revision(o.Revision)
	case *api.TombstoneReq_Options_Revision:
		return revision(o.Revision)
	case *api.BatchAppendReq_Options_StreamPosition:
		return revision(o.StreamPosition)
	case *api.AppendReq_Options_NoStream, *api.DeleteReq_Options_NoStream, *api.TombstoneReq_Options_NoStream, *api.BatchAppendReq_Options_NoStream:
		return eventlog.NoStream, nil
	case *api.AppendReq_Options_Any, *api.DeleteReq_Options_Any, *api.TombstoneReq_Options_Any, *api.BatchAppendReq_Options_Any:
		return eventlog.Any, nil
	case *api.AppendReq_Options_StreamExists, *api.DeleteReq_Options_StreamExists, *api.TombstoneReq_Options_StreamExists, *api.BatchAppendReq_Options_StreamExists:
		return eventlog.StreamExists, nil
	}
	return 0, notValid("None", message)
}

// revision reads an exact revision. The greatest number stands for no stream.
func revision(n uint64) (int64, error) {
	switch {
	case n == math.MaxUint64:
		return eventlog.NoStream, nil
	case n > math.MaxInt64:
		return 0, errThrown
	}
	return int64(n), nil
}

// eventID reads the id of an event or of a batch, in either form.
func eventID(id *shared.UUID) (uuid.UUID, error) {
	switch v := id.GetValue().(type) {
	case *shared.UUID_String_:
		parsed, err := uuid.Parse(v.String_)
		if err != nil {
			return uuid.Nil, errThrown
		}
		return parsed, nil
	case *shared.UUID_Structured_:
		var u uuid.UUID
		binary.BigEndian.PutUint64(u[:8], uint64(v.Structured.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(u[8:], uint64(v.Structured.GetLeastSignificantBits()))
		return u, nil
	}
	return uuid.Nil, errThrown
}

// wireID is an id in one of the two forms.
func wireID(u uuid.UUID, structured bool) *shared.UUID {
	if !structured {
		return &shared.UUID{Value: &shared.UUID_String_{String_: u.String()}}
	}
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(u[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(u[8:])),
	}}}
}

// proposed is what the messages of Append and BatchAppend have in common.
type proposed interface {
	GetId() *shared.UUID
	GetMetadata() map[string]string
	GetData() []byte
	GetCustomMetadata() []byte
}

// missingPropertyError names a property that a proposed event lacks.
type missingPropertyError struct{ property string }

func (e *missingPropertyError) Error() string {
	return "required metadata property " + e.property + " is missing"
}

// proposedEvent reads an event that is to be appended. Metadata other than type and content-type are dropped.
func proposedEvent(m proposed) (eventlog.Proposed, error) {
	metadata := m.GetMetadata()
	eventType, ok := metadata["type"]
	if !ok {
		return eventlog.Proposed{}, &missingPropertyError{property: "type"}
	}
	contentType, ok := metadata["content-type"]
	if !ok {
		return eventlog.Proposed{}, &missingPropertyError{property: "content-type"}
	}
	id, err := eventID(m.GetId())
	if err != nil || id == uuid.Nil || eventType == "" {
		return eventlog.Proposed{}, errThrown
	}
	return eventlog.Proposed{ID: id, Type: eventType, JSON: contentType == contentTypeJSON, Data: m.GetData(), Custom: m.GetCustomMetadata()}, nil
}
