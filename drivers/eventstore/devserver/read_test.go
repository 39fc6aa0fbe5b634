// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func TestReadStream(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(100)...)
	tests := []struct {
		name        string
		options     esdb.ReadStreamOptions
		count       uint64
		first, last int // -1: nothing
	}{
		{name: "All", options: esdb.ReadStreamOptions{From: esdb.Start{}}, count: math.MaxUint64, first: 0, last: 99},
		{name: "Some", options: esdb.ReadStreamOptions{From: esdb.Start{}}, count: 40, first: 0, last: 39},
		{name: "FromRevision", options: esdb.ReadStreamOptions{From: esdb.Revision(90)}, count: 5, first: 90, last: 94},
		{name: "BeyondTheEnd", options: esdb.ReadStreamOptions{From: esdb.Revision(100)}, count: 5, first: -1},
		{name: "BackwardsAll", options: esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, count: math.MaxUint64, first: 99, last: 0},
		{name: "BackwardsSome", options: esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, count: 33, first: 99, last: 67},
		{name: "BackwardsFromRevision", options: esdb.ReadStreamOptions{From: esdb.Revision(9), Direction: esdb.Backwards}, count: 50, first: 9, last: 0},
		{name: "BackwardsFromBeyondTheEnd", options: esdb.ReadStreamOptions{From: esdb.Revision(1000), Direction: esdb.Backwards}, count: 2, first: 99, last: 98},
	}
	check := func() {
		for _, test := range tests {
			r, err := f.client.ReadStream(t.Context(), "s", test.options, test.count)
			require.NoError(t, err, test.name)
			got, err := drain(r)
			require.NoError(t, err, test.name)
			r.Close()
			if test.first < 0 {
				require.Empty(t, got, test.name)
				continue
			}
			require.NotEmpty(t, got, test.name)
			require.EqualValues(t, test.first, got[0].OriginalEvent().EventNumber, test.name)
			require.EqualValues(t, test.last, got[len(got)-1].OriginalEvent().EventNumber, test.name)
			require.Len(t, got, max(test.first-test.last, test.last-test.first)+1, test.name)
		}
	}
	check()
	f.restart()
	check()
}

// TestReadsSendNoMoreThanOldClientsKnow: clients before release 21.10 stop at messages they do not know.
func TestReadsSendNoMoreThanOldClientsKnow(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(3)...)
	var m esdb.StreamMetadata
	m.SetTruncateBefore(3)
	_, err := f.client.SetStreamMetadata(t.Context(), "s", esdb.AppendToStreamOptions{}, m)
	require.NoError(t, err)
	got, _, err := f.wire.read(t.Context(), streamRead("s"))
	require.NoError(t, err)
	require.Empty(t, got)
	req := streamRead("s")
	req.Options.ControlOption = &api.ReadReq_Options_ControlOption{Compatibility: 1}
	got, _, err = f.wire.read(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.EqualValues(t, 3, got[0].GetFirstStreamPosition())
	require.EqualValues(t, 2, got[1].GetLastStreamPosition())
}

func TestReadsThatARealServerNeverAnswers(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, uuid.New())
	req := streamRead("s")
	req.Options.UuidOption = nil
	_, _, err := f.wire.read(t.Context(), req)
	requireStatus(t, codes.InvalidArgument, err)
	require.ErrorContains(t, err, "uuid_option")
	req = streamRead("")
	req.Options.StreamOption = &api.ReadReq_Options_All{All: &api.ReadReq_Options_AllOptions{
		AllOption: &api.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}}
	req.Options.CountOption = &api.ReadReq_Options_Count{Count: 0}
	_, _, err = f.wire.read(t.Context(), req)
	requireStatus(t, codes.InvalidArgument, err)
	require.ErrorContains(t, err, "count is 0")
}

func TestReadAll(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	var positions []esdb.Position
	for i := range 50 {
		stream := fmt.Sprintf("s%d", i%3)
		f.mustWrite(stream, esdb.Any{}, uuid.New())
		f.mustWrite(stream, esdb.Any{}) // an empty append takes a position, but is no event
	}
	all := func(o esdb.ReadAllOptions, count uint64) []*esdb.ResolvedEvent {
		r, err := f.client.ReadAll(t.Context(), o, count)
		require.NoError(t, err)
		defer r.Close()
		got, err := drain(r)
		require.NoError(t, err)
		return got
	}
	check := func() {
		forwards := all(esdb.ReadAllOptions{From: esdb.Start{}}, math.MaxUint64)
		require.Len(t, forwards, 50)
		positions = positions[:0]
		for i, e := range forwards {
			o := e.OriginalEvent()
			require.Equal(t, fmt.Sprintf("s%d", i%3), o.StreamID)
			require.EqualValues(t, i/3, o.EventNumber)
			positions = append(positions, o.Position)
		}
		for i, p := range positions {
			require.Equal(t, p, all(esdb.ReadAllOptions{From: p}, 1)[0].OriginalEvent().Position, "forwards a position is inclusive")
			before := all(esdb.ReadAllOptions{From: p, Direction: esdb.Backwards}, 1)
			if i == 0 {
				require.Empty(t, before)
				continue
			}
			require.Equal(t, positions[i-1], before[0].OriginalEvent().Position, "backwards it is exclusive")
		}
		require.Len(t, all(esdb.ReadAllOptions{From: esdb.End{}, Direction: esdb.Backwards}, 10), 10)
		require.Empty(t, all(esdb.ReadAllOptions{From: esdb.End{}}, 10))
	}
	check()
	before := append([]esdb.Position(nil), positions...)
	f.restart()
	check()
	require.Equal(t, before, positions, "positions stay what they were")

	r, err := f.client.ReadAll(t.Context(), esdb.ReadAllOptions{From: esdb.Position{Commit: positions[1].Commit + 1, Prepare: positions[1].Commit + 1}}, 1)
	if err == nil {
		_, err = drain(r)
		r.Close()
	}
	require.Error(t, err, "no record starts there")
}

func TestReadBigEvents(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	big := esdb.EventData{EventType: "Big", ContentType: esdb.ContentTypeBinary, Data: make([]byte, devserver.MaxAppendSize)}
	for i := range big.Data {
		big.Data[i] = byte(i * 7)
	}
	for range 3 {
		_, err := f.client.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, big)
		require.NoError(t, err)
	}
	f.restart()
	got, err := f.read("s", esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards})
	require.NoError(t, err)
	require.Len(t, got, 3)
	for _, e := range got {
		require.Equal(t, big.Data, e.OriginalEvent().Data)
	}
}
