// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// appending is an append with anything in it.
func (f *fixture) appending(stream string, exists bool, m *api.AppendReq_ProposedMessage) (metadata.MD, error) {
	call, err := f.wire.streams.Append(f.t.Context())
	if err != nil {
		return nil, err
	}
	o := &api.AppendReq_Options{StreamIdentifier: name(stream), ExpectedStreamRevision: &api.AppendReq_Options_Any{Any: &shared.Empty{}}}
	if exists {
		o.ExpectedStreamRevision = &api.AppendReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	}
	for _, req := range []*api.AppendReq{
		{Content: &api.AppendReq_Options_{Options: o}},
		{Content: &api.AppendReq_ProposedMessage_{ProposedMessage: m}},
	} {
		if call.Send(req) != nil {
			break // the answer says why
		}
	}
	_, err = call.CloseAndRecv()
	return call.Trailer(), err
}

func (f *fixture) deleting(stream string, expected esdb.ExpectedRevision) (metadata.MD, error) {
	o := &api.DeleteReq_Options{StreamIdentifier: name(stream)}
	switch x := expected.(type) {
	case esdb.Any:
		o.ExpectedStreamRevision = &api.DeleteReq_Options_Any{Any: &shared.Empty{}}
	case esdb.NoStream:
		o.ExpectedStreamRevision = &api.DeleteReq_Options_NoStream{NoStream: &shared.Empty{}}
	case esdb.StreamExists:
		o.ExpectedStreamRevision = &api.DeleteReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	case esdb.StreamRevision:
		o.ExpectedStreamRevision = &api.DeleteReq_Options_Revision{Revision: x.Value}
	}
	var trailer metadata.MD
	_, err := f.wire.streams.Delete(f.t.Context(), &api.DeleteReq{Options: o}, grpc.Trailer(&trailer))
	return trailer, err
}

func TestErrorsCarryTheirTrailers(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(3)...)
	f.mustWrite("soft", esdb.NoStream{}, ids(3)...)
	f.mustWrite("hard", esdb.NoStream{}, ids(3)...)
	_, err := f.deleting("soft", esdb.Any{})
	require.NoError(t, err)
	_, err = f.client.TombstoneStream(t.Context(), "hard", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
	require.NoError(t, err)

	id := &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}}
	both := map[string]string{"type": "T", "content-type": "application/json"}
	deleted := func(stream string) map[string]string {
		return map[string]string{"exception": "stream-deleted", "stream-name": stream}
	}
	wrong := func(stream, expected, actual string) map[string]string {
		return map[string]string{"exception": "wrong-expected-version", "stream-name": stream, "expected-version": expected, "actual-version": actual}
	}
	missing := map[string]string{"exception": "missing-required-metadata-property", "required-metadata-properties": "type,content-type"}
	message := func(m *api.AppendReq_ProposedMessage) func() (metadata.MD, error) {
		return func() (metadata.MD, error) { return f.appending("s", false, m) }
	}
	remove := func(stream string, expected esdb.ExpectedRevision) func() (metadata.MD, error) {
		return func() (metadata.MD, error) { return f.deleting(stream, expected) }
	}
	tests := []struct {
		name     string
		call     func() (metadata.MD, error)
		code     codes.Code
		trailers map[string]string
	}{
		{"TombstonedStream", func() (metadata.MD, error) {
			return f.appending("hard", false, &api.AppendReq_ProposedMessage{Id: id, Metadata: both})
		},
			codes.FailedPrecondition, deleted("hard")},
		{"MetadataOfTombstonedStream", func() (metadata.MD, error) {
			return f.appending("$$hard", false, &api.AppendReq_ProposedMessage{Id: id, Metadata: both})
		},
			codes.FailedPrecondition, deleted("$$hard")},
		{"SoftDeletedStreamExists", func() (metadata.MD, error) {
			return f.appending("soft", true, &api.AppendReq_ProposedMessage{Id: id, Metadata: both})
		},
			codes.FailedPrecondition, deleted("soft")},
		{"ReadOfTombstonedStream", func() (metadata.MD, error) {
			_, trailer, err := f.wire.read(t.Context(), streamRead("hard"))
			return trailer, err
		}, codes.FailedPrecondition, deleted("hard")},
		{"DeleteOfTombstonedStream", remove("hard", esdb.Any{}), codes.FailedPrecondition, deleted("hard")},
		{"DeleteAtOtherRevision", remove("s", esdb.Revision(7)), codes.FailedPrecondition, wrong("s", "7", "2")},
		{"DeleteNoStream", remove("s", esdb.NoStream{}), codes.FailedPrecondition, wrong("s", "-1", "2")},
		{"DeleteMissingAny", remove("missing", esdb.Any{}), codes.FailedPrecondition, wrong("missing", "-2", "-1")},
		{"DeleteMissingExists", remove("missing", esdb.StreamExists{}), codes.FailedPrecondition, wrong("missing", "-4", "-1")},
		{"TooBig", message(&api.AppendReq_ProposedMessage{Id: id, Metadata: both, Data: make([]byte, devserver.MaxAppendSize+1)}),
			codes.InvalidArgument, map[string]string{"exception": "maximum-append-size-exceeded", "maximum-append-size": "1048576"}},
		{"NoType", message(&api.AppendReq_ProposedMessage{Id: id, Metadata: map[string]string{"content-type": "application/json"}}), codes.InvalidArgument, missing},
		{"NoContentType", message(&api.AppendReq_ProposedMessage{Id: id, Metadata: map[string]string{"type": "T"}}), codes.InvalidArgument, missing},
		{"EmptyType", message(&api.AppendReq_ProposedMessage{Id: id, Metadata: map[string]string{"type": "", "content-type": "application/json"}}), codes.Unknown, nil},
		{"NoID", message(&api.AppendReq_ProposedMessage{Metadata: both}), codes.Unknown, nil},
		{"NilID", message(&api.AppendReq_ProposedMessage{Id: &shared.UUID{Value: &shared.UUID_String_{String_: uuid.Nil.String()}}, Metadata: both}), codes.Unknown, nil},
		{"NoUUID", message(&api.AppendReq_ProposedMessage{Id: &shared.UUID{Value: &shared.UUID_String_{String_: "nonsense"}}, Metadata: both}), codes.Unknown, nil},
	}
	check := func() {
		for _, test := range tests {
			trailer, err := test.call()
			requireStatus(t, test.code, err)
			for key, want := range test.trailers {
				require.Equal(t, want, one(trailer, key), "%s: %s", test.name, key)
			}
			if test.trailers == nil {
				require.Empty(t, trailer.Get("exception"), test.name)
			}
		}
		require.Equal(t, []uint64{0, 1, 2}, f.revisions("s"), "none of them wrote anything")
	}
	check()
	f.restart()
	check()
}
