// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"slices"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// TestRepeats writes a, b, c and then sends some of these ids and a new one again.
func TestRepeats(t *testing.T) {
	t.Parallel()
	const wrong = -1
	tests := []struct {
		name     string
		expected esdb.ExpectedRevision
		again    string
		running  int // number of the answer while the server runs; wrong is a wrong version
		restart  int // and after a restart
	}{
		{name: "NoStream", expected: esdb.NoStream{}, again: "abc", running: 2, restart: 2},
		{name: "NoStreamPart", expected: esdb.NoStream{}, again: "ab", running: 1, restart: 1},
		{name: "NoStreamOtherOrder", expected: esdb.NoStream{}, again: "ba", running: wrong, restart: wrong},
		{name: "NoStreamBeyondTheEnd", expected: esdb.NoStream{}, again: "abcd", running: wrong, restart: wrong},
		{name: "Exact", expected: esdb.Revision(0), again: "bc", running: 2, restart: 2},
		{name: "ExactOtherEvent", expected: esdb.Revision(0), again: "c", running: wrong, restart: wrong},
		{name: "ExactCurrentIsNoRepeat", expected: esdb.Revision(2), again: "abc", running: 5, restart: 5},
		{name: "ExactTooHigh", expected: esdb.Revision(3), again: "a", running: wrong, restart: wrong},
		{name: "Any", expected: esdb.Any{}, again: "abc", running: 2, restart: 5},
		{name: "AnyGap", expected: esdb.Any{}, again: "ac", running: 2, restart: 4},
		{name: "AnyLastOne", expected: esdb.Any{}, again: "c", running: 2, restart: 3},
		{name: "AnyOneBack", expected: esdb.Any{}, again: "ba", running: 0, restart: 4},
		{name: "AnyFirstUnknown", expected: esdb.Any{}, again: "da", running: 4, restart: 4},
		{name: "AnyLaterUnknown", expected: esdb.Any{}, again: "cd", running: wrong, restart: 4},
		{name: "StreamExists", expected: esdb.StreamExists{}, again: "abc", running: 2, restart: 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, devserver.Options{})
			send := func(stream string, restart bool, want int) {
				letters := map[rune]uuid.UUID{'a': uuid.New(), 'b': uuid.New(), 'c': uuid.New(), 'd': uuid.New()}
				f.mustWrite(stream, esdb.NoStream{}, letters['a'], letters['b'], letters['c'])
				if restart {
					f.restart()
				}
				var again []uuid.UUID
				for _, r := range test.again {
					again = append(again, letters[r])
				}
				last, err := f.write(stream, test.expected, again...)
				if want == wrong {
					requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
					return
				}
				require.NoError(t, err)
				require.EqualValues(t, want, last)
			}
			send("running", false, test.running)
			send("restarted", true, test.restart)
		})
	}
}

func TestRepeatsAreForgottenBeyondTheCache(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{RecentIDs: 3})
	first := uuid.New()
	f.mustWrite("s", esdb.Any{}, first)
	f.mustWrite("s", esdb.Any{}, ids(2)...)
	require.EqualValues(t, 0, f.mustWrite("s", esdb.Any{}, first), "still known")
	f.mustWrite("s", esdb.Any{}, uuid.New())
	require.EqualValues(t, 4, f.mustWrite("s", esdb.Any{}, first), "the fourth id drove out the first")
}

func TestRepeatsOfInvisibleEventsHaveNoPosition(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	known := ids(2)
	first, _, err := f.wire.append(t.Context(), "s", known...)
	require.NoError(t, err)
	again, _, err := f.wire.append(t.Context(), "s", known...)
	require.NoError(t, err)
	require.Equal(t, first.GetSuccess().GetPosition().GetCommitPosition(), again.GetSuccess().GetPosition().GetCommitPosition())
	_, err = f.client.DeleteStream(t.Context(), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	require.NoError(t, err)
	again, _, err = f.wire.append(t.Context(), "s", known...)
	require.NoError(t, err)
	require.EqualValues(t, 1, again.GetSuccess().GetCurrentRevision())
	require.NotNil(t, again.GetSuccess().GetNoPosition())
	_, err = f.read("s", esdb.ReadStreamOptions{From: esdb.Start{}})
	requireCode(t, esdb.ErrorCodeResourceNotFound, err)
}

func TestTheSameIdMayLiveInSeveralStreams(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	id := uuid.New()
	streams := []string{"one", "two", "three"}
	for _, s := range streams {
		require.EqualValues(t, 0, f.mustWrite(s, esdb.Any{}, id))
	}
	for _, s := range slices.Backward(streams) {
		require.Equal(t, []uint64{0}, f.revisions(s))
	}
}
