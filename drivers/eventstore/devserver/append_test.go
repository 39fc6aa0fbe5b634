// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func TestAppendKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	want := []esdb.EventData{
		{EventID: uuid.New(), EventType: "A", ContentType: esdb.ContentTypeJson, Data: []byte(`{"a":1}`), Metadata: []byte(`{"$correlationId":"c"}`)},
		{EventID: uuid.New(), EventType: "B", ContentType: esdb.ContentTypeBinary, Data: []byte{0, 1, 0xff}},
		{EventID: uuid.New(), EventType: "$>", ContentType: esdb.ContentTypeBinary, Data: []byte("nonsense")},
	}
	for _, stream := range []string{"orders", "a/b c", "ünïcode", "$sys", "$$meta"} {
		r, err := f.client.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, want...)
		require.NoError(t, err)
		require.EqualValues(t, 2, r.NextExpectedVersion)
		require.Equal(t, r.CommitPosition, r.PreparePosition)
	}
	check := func() {
		for _, stream := range []string{"orders", "a/b c", "ünïcode", "$sys"} {
			got, err := f.read(stream, esdb.ReadStreamOptions{From: esdb.Start{}})
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for i, e := range got {
				o := e.OriginalEvent()
				require.Equal(t, stream, o.StreamID)
				require.EqualValues(t, i, o.EventNumber)
				require.Equal(t, want[i].EventID, o.EventID)
				require.Equal(t, want[i].EventType, o.EventType)
				require.Equal(t, want[i].Data, o.Data)
				require.True(t, bytes.Equal(want[i].Metadata, o.UserMetadata))
				require.WithinDuration(t, time.Now(), o.CreatedDate, time.Hour)
			}
			require.Equal(t, "application/json", got[0].OriginalEvent().ContentType)
			require.Equal(t, "application/octet-stream", got[1].OriginalEvent().ContentType)
		}
	}
	check()
	f.restart()
	check()
	require.EqualValues(t, 3, f.mustWrite("orders", esdb.Revision(2), uuid.New()), "numbering goes on after a restart")
}

func TestAppendChecksTheExpectedVersion(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(3)...)
	check := func() {
		for _, refused := range []esdb.ExpectedRevision{esdb.NoStream{}, esdb.Revision(1), esdb.Revision(7)} {
			_, err := f.write("s", refused, uuid.New())
			requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
		}
		_, err := f.write("missing", esdb.StreamExists{}, uuid.New())
		requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
		require.Equal(t, []uint64{0, 1, 2}, f.revisions("s"), "a refused append writes nothing")
	}
	check()
	f.restart()
	check()
	require.EqualValues(t, 3, f.mustWrite("s", esdb.Revision(2), uuid.New()))
	require.EqualValues(t, 4, f.mustWrite("s", esdb.StreamExists{}, uuid.New()))
	require.EqualValues(t, 5, f.mustWrite("s", esdb.Any{}, uuid.New()))
	require.EqualValues(t, 5, f.mustWrite("s", esdb.Any{}), "an empty append writes nothing")
}

func TestAppendTakesUpToTheLimit(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	half := esdb.EventData{EventType: "Big", ContentType: esdb.ContentTypeBinary, Data: make([]byte, devserver.MaxAppendSize/2)}
	over := half
	over.Data = make([]byte, devserver.MaxAppendSize/2+1)
	_, err := f.client.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, half, half)
	require.NoError(t, err)
	_, err = f.client.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, half, over)
	require.Error(t, err)
	require.Equal(t, []uint64{0, 1}, f.revisions("s"))
}

func TestAppendIsWrittenAtHalfClose(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	call, err := f.wire.streams.Append(ctx)
	require.NoError(t, err)
	r, _, err := f.wire.append(t.Context(), "other", uuid.New())
	require.NoError(t, err)
	require.NotNil(t, r.GetSuccess())
	cancel()
	_, err = call.CloseAndRecv()
	requireStatus(t, codes.Canceled, err)
	_, err = f.read("s", esdb.ReadStreamOptions{From: esdb.Start{}})
	requireCode(t, esdb.ErrorCodeResourceNotFound, err)
}

func TestAppendRefusesWhatWouldStopARealServer(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	_, _, err := f.wire.append(t.Context(), "$$", uuid.New())
	requireStatus(t, codes.InvalidArgument, err)
	require.ErrorContains(t, err, "$$")
	known := ids(3)
	f.mustWrite("s", esdb.Any{}, known...)
	_, _, err = f.wire.append(t.Context(), "s", known[2], known[0])
	requireStatus(t, codes.InvalidArgument, err)
	require.ErrorContains(t, err, "never answers")
	require.Equal(t, []uint64{0, 1, 2}, f.revisions("s"))
}

func TestAppendRefusesNamesThatCannotBeStored(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	_, _, err := f.wire.append(t.Context(), "", uuid.New())
	requireStatus(t, codes.Unknown, err)
	long := string(bytes.Repeat([]byte("n"), 40_000))
	_, _, err = f.wire.append(t.Context(), long, uuid.New())
	requireStatus(t, codes.InvalidArgument, err)
	_, _, err = f.wire.append(t.Context(), long[:32764], uuid.New())
	require.NoError(t, err)
	var m esdb.StreamMetadata
	m.SetMaxCount(1)
	_, err = f.client.SetStreamMetadata(t.Context(), long[:32764], esdb.AppendToStreamOptions{}, m)
	require.Error(t, err, "the name of the metadata stream is too long")
}
