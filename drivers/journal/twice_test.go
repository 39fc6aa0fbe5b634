// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// again lets events stand once more at the end.
func (h *history) again(from, to Position) { h.events = append(h.events, h.events[from:to]...) }

// records returns what a replica of the whole log holds, by id.
func (h *history) records() map[string]driver.Record {
	r, all := h.replica(0), map[string]driver.Record{}
	for slot := range r.table.used {
		if data := r.table.at(slot).data; data != nil {
			rec := owned(data)
			all[rec.ID] = rec
		}
	}
	return all
}

func (h *history) advance(expect driver.EpochVersion, next driver.Epoch) {
	h.t.Helper()
	h.carry(h.next(), EpochAdvanced, Advance{Expect: expect, Next: next})
}

// lifetime is a log in which every kind of event has counted.
func lifetime(t *testing.T) (h *history, ended string) {
	t.Helper()
	h = newHistory(t, 50)
	a := h.start(1, "a", 1)
	b := h.start(2, "b", 2)
	h.claim(3, a, 9, time.Hour)
	tr, err := driver.Cancel(h.stamp(3), b, "no", testTime)
	h.commit(h.next(), tr, err)
	merged := a
	merged.ID, merged.Token, merged.Revision = "m", numbered(4), 5
	h.append(h.next(), Event{Kind: Merged, Data: driver.AppendRecord(nil, &merged)})
	h.append(h.next(), Event{Kind: Expired, Data: []byte("b")})
	h.advance(driver.EpochVersion{}, driver.Epoch{Number: 1, Token: numbered(20)})
	h.checkpoint(h.next(), testTime)
	h.compacted(merged)
	return h, "b"
}

func TestWhatCountedAndStandsTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	h, ended := lifetime(t)
	want, epoch := h.records(), h.replica(0).epoch
	require.NotContains(t, want, ended)
	n := h.next()
	for pos := Position(1); pos < n; pos++ { // each alone, and then all in their order
		h.again(pos, pos+1)
		require.Equal(t, want, h.records(), "the event at %d, %s, stands twice", pos, h.events[pos].Kind)
	}
	h.again(1, n)
	require.Equal(t, want, h.records())
	require.Equal(t, epoch, h.replica(0).epoch)
}

// TestRefusedCommitCountsWhereItStandsBehindItsBase shows why an append is attempted
// once: its author was told that it was not done.
func TestRefusedCommitCountsWhereItStandsBehindItsBase(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 50)
	tr, err := driver.Start(h.stamp(1), driver.Workflow{ID: "a", Kind: "k", Due: testTime})
	require.NoError(t, err)
	early := h.next()
	ending, err := driver.Cancel(h.stamp(2), tr.Record, "no", testTime)
	h.commit(h.next(), ending, err)
	require.Empty(t, h.records(), "its base is not there")
	h.append(h.next(), Event{Kind: Merged, Data: driver.AppendRecord(nil, &tr.Record)})
	require.Equal(t, driver.Ready, h.stored(0, "a").Status)
	h.again(early, early+1)
	require.Equal(t, driver.Cancelled, h.stored(0, "a").Status)
}

func TestRefusedStartStaysRefusedWhereItStandsTwice(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 50)
	h.start(1, "a", 1)
	second := h.next()
	h.start(2, "a", 2) // there is one already
	h.append(h.next(), Event{Kind: Expired, Data: []byte("a")})
	require.Empty(t, h.records())
	h.again(second, second+1)
	require.Empty(t, h.records(), "what it did not know of has left")
}
