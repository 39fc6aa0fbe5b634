// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func (f *fixture) setMetadata(stream, doc string) {
	f.t.Helper()
	_, err := f.client.AppendToStream(f.t.Context(), "$$"+stream, esdb.AppendToStreamOptions{},
		esdb.EventData{EventType: "$metadata", ContentType: esdb.ContentTypeJson, Data: []byte(doc)})
	require.NoError(f.t, err)
}

func (f *fixture) metadataDocument(stream string) string {
	f.t.Helper()
	events, err := f.read("$$"+stream, esdb.ReadStreamOptions{From: esdb.Start{}})
	require.NoError(f.t, err)
	require.Len(f.t, events, 1, "a metadata stream keeps its last event")
	return string(events[0].OriginalEvent().Data)
}

func TestMetadataBoundWhatIsVisible(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	tests := []struct {
		name, doc string
		want      []uint64
	}{
		{name: "max-count", doc: `{"$maxCount":2}`, want: []uint64{3, 4}},
		{name: "tb", doc: `{"$tb":3}`, want: []uint64{3, 4}},
		{name: "larger-bound", doc: `{"$tb":1,"$maxCount":2}`, want: []uint64{3, 4}},
		{name: "all-truncated", doc: `{"$tb":5}`},
		{name: "unknown-keys", doc: `{"mine":{"$tb":4},"$maxCount":1}`, want: []uint64{4}},
		{name: "broken", doc: `{"$maxCount":1`, want: []uint64{0, 1, 2, 3, 4}},
		{name: "wrong-type", doc: `{"$maxCount":"1"}`, want: []uint64{0, 1, 2, 3, 4}},
		{name: "zero", doc: `{"$maxCount":0}`, want: []uint64{0, 1, 2, 3, 4}},
		{name: "empty", doc: ``, want: []uint64{0, 1, 2, 3, 4}},
	}
	for _, test := range tests {
		f.mustWrite(test.name, esdb.NoStream{}, ids(5)...)
		f.setMetadata(test.name, `{"$maxCount":4}`)
		f.setMetadata(test.name, test.doc)
	}
	check := func() {
		for _, test := range tests {
			require.Equal(t, test.want, f.revisions(test.name), test.name)
			require.Equal(t, test.doc, f.metadataDocument(test.name), "metadata are stored as they came")
		}
	}
	check()
	f.restart()
	check()
	f.setMetadata("tb", `{"$tb":1}`)
	require.Equal(t, []uint64{1, 2, 3, 4}, f.revisions("tb"), "$tb can be lowered")
	require.EqualValues(t, 5, f.mustWrite("all-truncated", esdb.Revision(4), uuid.New()))
	require.Equal(t, []uint64{5}, f.revisions("all-truncated"))
}

func TestMaxAgeHidesOldEvents(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.setMetadata("s", `{"$maxAge":5}`)
	f.mustWrite("s", esdb.Any{}, ids(40)...)
	require.Eventually(t, func() bool { return len(f.revisions("s")) == 0 }, waiting, 50*time.Millisecond)
	require.EqualValues(t, 40, f.mustWrite("s", esdb.Revision(39), uuid.New()), "the stream exists and goes on numbering")
	require.Equal(t, []uint64{40}, f.revisions("s"))
	f.restart()
	f.setMetadata("s", `{}`)
	require.Len(t, f.revisions("s"), 41, "nothing is scavenged")
}

func TestDeleteAndRevive(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(3)...)
	f.setMetadata("s", `{"$maxCount":10,"mine":1}`)
	_, err := f.client.DeleteStream(t.Context(), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(1)})
	require.Error(t, err)
	_, err = f.client.DeleteStream(t.Context(), "missing", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	require.Error(t, err)
	_, err = f.client.DeleteStream(t.Context(), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Revision(2)})
	require.NoError(t, err)
	deleted := func() {
		_, err := f.read("s", esdb.ReadStreamOptions{From: esdb.Start{}})
		requireCode(t, esdb.ErrorCodeResourceNotFound, err)
		require.JSONEq(t, `{"$tb":9223372036854775807}`, f.metadataDocument("s"))
		_, err = f.write("s", esdb.StreamExists{}, uuid.New())
		requireCode(t, esdb.ErrorCodeStreamDeleted, err)
	}
	deleted()
	f.restart()
	deleted()
	require.EqualValues(t, 4, f.mustWrite("s", esdb.NoStream{}, ids(2)...), "numbering goes on")
	require.JSONEq(t, `{"$tb":3}`, f.metadataDocument("s"))
	f.restart()
	require.Equal(t, []uint64{3, 4}, f.revisions("s"))

	_, err = f.client.DeleteStream(t.Context(), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	require.NoError(t, err)
	f.setMetadata("s", `{"$maxCount":7}`)
	require.JSONEq(t, `{"$maxCount":7,"$tb":5}`, f.metadataDocument("s"), "writing the metadata revives too")
	require.Empty(t, f.revisions("s"))
}

func TestTombstoneIsForEver(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("grün", esdb.NoStream{}, ids(3)...)
	_, err := f.client.TombstoneStream(t.Context(), "grün", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Revision(2)})
	require.NoError(t, err)
	check := func() {
		_, err := f.read("grün", esdb.ReadStreamOptions{From: esdb.Start{}})
		requireCode(t, esdb.ErrorCodeStreamDeleted, err)
		_, err = f.write("grün", esdb.Any{}, uuid.New())
		requireCode(t, esdb.ErrorCodeStreamDeleted, err)
		_, err = f.write("$$grün", esdb.Any{}, uuid.New())
		requireCode(t, esdb.ErrorCodeStreamDeleted, err)
		_, err = f.client.TombstoneStream(t.Context(), "grün", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
		require.Error(t, err)
		_, trailer, err := f.wire.append(t.Context(), "grün", uuid.New())
		requireStatus(t, codes.FailedPrecondition, err)
		require.Equal(t, "stream-deleted", one(trailer, "exception"))
		require.Equal(t, "gr%C3%BCn", one(trailer, "stream-name"), "what a trailer cannot carry is escaped")
	}
	check()
	f.restart()
	check()
}

func TestLinksAreResolvedOnRequest(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(3)...)
	for _, data := range []string{"1@s", "-1@s", "9@s", "0@missing", "garbage", "5"} {
		_, err := f.client.AppendToStream(t.Context(), "links", esdb.AppendToStreamOptions{},
			esdb.EventData{EventType: "$>", ContentType: esdb.ContentTypeBinary, Data: []byte(data)})
		require.NoError(t, err)
	}
	f.restart()
	got, err := f.read("links", esdb.ReadStreamOptions{From: esdb.Start{}, ResolveLinkTos: true})
	require.NoError(t, err)
	require.Len(t, got, 6)
	for i, revision := range []uint64{1, 2} { // -1 stands for the last event
		require.Equal(t, "s", got[i].Event.StreamID)
		require.Equal(t, revision, got[i].Event.EventNumber)
		require.Equal(t, "links", got[i].Link.StreamID)
	}
	for _, e := range []*esdb.ResolvedEvent{got[2], got[3], got[5]} {
		require.Nil(t, e.Event, "an unresolvable link has only the link")
		require.NotNil(t, e.Link)
	}
	require.Nil(t, got[4].Link, "data without a number are no link")
	unresolved, err := f.read("links", esdb.ReadStreamOptions{From: esdb.Start{}})
	require.NoError(t, err)
	for _, e := range unresolved {
		require.Nil(t, e.Link)
		require.Equal(t, "links", e.Event.StreamID)
	}
}
