// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB) *Log {
	tb.Helper()
	l, err := Open(tb.TempDir(), 1000)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, l.Close()) })
	return l
}

func proposed(n int) []Proposed {
	out := make([]Proposed, n)
	for i := range out {
		out[i] = Proposed{ID: uuid.New(), Type: "Tested", JSON: i%2 == 0, Data: fmt.Appendf(nil, "data %d", i), Custom: []byte("custom")}
	}
	return out
}

func write(tb testing.TB, l *Log, stream string, n int) Result {
	tb.Helper()
	r, err := l.Append(stream, Any, proposed(n)).Wait(tb.Context())
	require.NoError(tb, err)
	return r
}

func TestRecordsSurviveEncoding(t *testing.T) {
	t.Parallel()
	tests := []Event{
		{Position: 64, Stream: "s", ID: uuid.New(), Type: "T", JSON: true, Created: 17, Data: []byte("{}"), Custom: []byte("c")},
		{Position: math.MaxInt64, Stream: "ünïcode", Revision: DeletedRevision, Type: "$streamDeleted", Created: math.MaxInt64, Data: []byte{}, Custom: []byte{}},
	}
	for _, want := range tests {
		b := encodeEvent(&want)
		got, err := decodeEvent(want.Position, b)
		require.NoError(t, err)
		require.Equal(t, want, got)
		for n := range b[:len(b)-len(want.Data)] {
			_, err := decodeEvent(want.Position, b[:n])
			require.ErrorIs(t, err, errCorrupt, "cut after %d bytes", n)
		}
	}
}

// FuzzRecord: no bytes are a panic, and what can be read is written back alike.
func FuzzRecord(f *testing.F) {
	f.Add(encodeEvent(&Event{Stream: "s", Type: "T", Data: []byte("d"), Custom: []byte("c")}))
	f.Add([]byte{kindEmpty, 0})
	f.Add([]byte{})
	f.Add(append(make([]byte, offsetText), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEvent(1, b)
		if err != nil {
			return
		}
		again, err := decodeEvent(1, encodeEvent(&e))
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

// FuzzPosition: from any position a read either answers ErrPosition or returns events in order on the right side.
func FuzzPosition(f *testing.F) {
	l := open(f)
	for i := range 20 {
		write(f, l, fmt.Sprint("s", i%3), i%4)
	}
	all, err := l.ReadAll(AllQuery{Events: 100, Consider: 100})
	require.NoError(f, err)
	starts := map[uint64]bool{0: true}
	require.NoError(f, l.view(func(s *snapshot) error {
		return s.log.ForEach(func(k, _ []byte) error {
			starts[binary.BigEndian.Uint64(k)] = true
			return nil
		})
	}))
	end, err := l.End()
	require.NoError(f, err)
	for _, p := range []uint64{0, 1, firstPosition, all.Events[3].Position, all.Events[3].Position + 1, end - 1, end, end + 1, math.MaxInt64, math.MaxUint64} {
		f.Add(p, true, uint8(3))
		f.Add(p, false, uint8(0))
	}
	f.Fuzz(func(t *testing.T, from uint64, backward bool, limit uint8) {
		q := AllQuery{From: from, Backward: backward, Exact: true, Events: int(limit) + 1, Consider: int(limit) + 2}
		page, err := l.ReadAll(q)
		valid := starts[from] || from == end || from > end && !backward
		if !valid {
			require.ErrorIs(t, err, ErrPosition)
			return
		}
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Events), q.Events)
		previous := from
		for i, e := range page.Events {
			if backward {
				require.Less(t, e.Position, previous)
			} else {
				require.True(t, e.Position > previous || i == 0 && e.Position == previous)
			}
			previous = e.Position
		}
	})
}

func TestDamageIsReported(t *testing.T) {
	t.Parallel()
	l := open(t)
	r := write(t, l, "s", 1)
	require.NoError(t, l.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketLog).Put(key(r.Position), []byte{kindEvent}) }))
	_, err := l.ReadForward("s", 0, 1)
	require.ErrorIs(t, err, errCorrupt)
	_, err = l.ReadAll(AllQuery{Events: 1, Consider: 1})
	require.ErrorIs(t, err, errCorrupt)
	require.NoError(t, l.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStreams).Put([]byte("s"), []byte{1}) }))
	_, err = l.ReadForward("s", 0, 1)
	require.ErrorIs(t, err, errCorrupt)
	_, err = l.Append("s", Any, proposed(1)).Wait(t.Context())
	require.ErrorIs(t, err, errCorrupt)
	_, err = l.Append("other", Any, proposed(1)).Wait(t.Context())
	require.NoError(t, err, "a failed commit leaves the log usable")
}

func TestAFailedCommitLeavesNoTrace(t *testing.T) {
	t.Parallel()
	l := open(t)
	write(t, l, "good", 1)
	require.NoError(t, l.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStreams).Put([]byte("bad"), []byte{1}) }))
	before, err := l.End()
	require.NoError(t, err)
	events := proposed(2)
	tx, err := l.begin()
	require.NoError(t, err)
	_, err = tx.append("good", Any, events)
	require.NoError(t, err)
	require.Error(t, tx.finish(errCorrupt))
	after, err := l.End()
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.EqualValues(t, 1, write(t, l, "good", 1).Revision)
}

func TestUnknownFormatIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := Open(dir, 1)
	require.NoError(t, err)
	require.NoError(t, l.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketFormat).Put(keyVersion, []byte("2")) }))
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Close(), ErrClosed)
	_, err = Open(dir, 1)
	require.ErrorContains(t, err, `format "2"`)
}

func TestClosedLogRefusesWrites(t *testing.T) {
	t.Parallel()
	l, err := Open(t.TempDir(), 1)
	require.NoError(t, err)
	accepted := l.Append("s", Any, proposed(1))
	require.NoError(t, l.Close())
	_, err = accepted.Wait(t.Context())
	require.NoError(t, err, "what was accepted is finished")
	_, err = l.Append("s", Any, proposed(1)).Wait(t.Context())
	require.ErrorIs(t, err, ErrClosed)
}

func TestIDCacheForgetsTheOldest(t *testing.T) {
	t.Parallel()
	c := newIDCache(2)
	a, b, d := uuid.New(), uuid.New(), uuid.New()
	c.add(a, 1, 0)
	c.add(b, 1, 1)
	c.add(a, 2, 7)
	revision, ok := c.revision(1, a)
	require.True(t, ok)
	require.Zero(t, revision, "the first write counts")
	_, ok = c.revision(2, a)
	require.False(t, ok)
	c.add(d, 1, 2)
	_, ok = c.revision(1, a)
	require.False(t, ok)
	_, ok = c.revision(1, b)
	require.True(t, ok)
	c.clear()
	_, ok = c.revision(1, b)
	require.False(t, ok)
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprint("events=", n), func(b *testing.B) {
			l := open(b)
			events := proposed(n)
			for i := range events {
				events[i].Data = make([]byte, 512)
			}
			for b.Loop() {
				for i := range events {
					events[i].ID = uuid.New()
				}
				_, err := l.Append("s", Any, events).Wait(b.Context())
				require.NoError(b, err)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
