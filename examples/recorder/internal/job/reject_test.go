// SPDX-License-Identifier: Apache-2.0

package job_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wav"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wavtest"
)

func TestRejections(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		spoil  func(t *testing.T, b *bench)
		reason job.Reason
		detail string
	}{
		{"Missing", func(t *testing.T, b *bench) { require.NoError(t, os.Remove(b.recorded())) }, job.Missing, "no recording 1772442900.17.wav"},
		{"Unanswered", func(t *testing.T, b *bench) {
			require.NoError(t, os.Remove(b.recorded()))
			b.entry.Call.Disposition = "NO ANSWER"
		}, job.Unanswered, "disposition NO ANSWER: there is no recording"},
		{"Truncated", func(t *testing.T, b *bench) { write(t, b.recorded(), recording[:1000]) }, job.Damaged, "promises 40000 bytes of samples, 956 are there"},
		{"NotRIFF", func(t *testing.T, b *bench) { write(t, b.recorded(), []byte("<html>404</html>")) }, job.Damaged, `begins with "<htm"`},
		{"Folder", func(t *testing.T, b *bench) {
			require.NoError(t, os.Remove(b.recorded()))
			require.NoError(t, os.Mkdir(b.recorded(), 0o755))
		}, job.Damaged, "not a file"},
		{"TooShort", func(t *testing.T, b *bench) { write(t, b.recorded(), wavtest.PCM(0, 1)); b.entry.Call.BillSec = 3 }, job.WrongLength, "the recording is 0s long, the call 3s"},
		{"TooLong", func(t *testing.T, b *bench) { write(t, b.recorded(), wavtest.PCM(4010*time.Millisecond, 1)) }, job.WrongLength, "4.01s long, the call 2s; at most 2s"},
		{"Occupied", func(t *testing.T, b *bench) { write(t, b.archived(), []byte("another")) }, job.Occupied, "taken by another file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tt.spoil(t, &b)
			j := open(t, b.cfg)
			for range 2 {
				_, err := j.Run(t.Context(), b.entry, "", nil, new(saves).save)
				var rejection *job.Rejection
				require.ErrorAs(t, err, &rejection)
				require.Equal(t, tt.reason, rejection.Reason)
				require.ErrorContains(t, err, tt.detail)
				require.ErrorContains(t, err, "1772442900.17")
			}
			setAside := lines[job.SetAsideLine](t, b.cfg.SetAside, "id")
			require.Len(t, setAside, 1, "set aside once, however often it is tried")
			require.Equal(t, "1772442900.17", setAside[0].ID)
			require.Equal(t, 3, setAside[0].Line)
			require.Equal(t, tt.reason, setAside[0].Reason)
			require.Contains(t, setAside[0].Detail, tt.detail)
			require.Empty(t, lines[job.IndexLine](t, b.cfg.Index, "uniqueid"))
		})
	}
}

func TestToleranceIsInclusive(t *testing.T) {
	t.Parallel()
	for length, ok := range map[time.Duration]bool{0: true, 4 * time.Second: true, 4001 * time.Millisecond: false} {
		b := setup(t)
		write(t, b.recorded(), wavtest.PCM(length, 1))
		_, err := open(t, b.cfg).Run(t.Context(), b.entry, "", nil, new(saves).save)
		require.Equal(t, ok, err == nil, "%s: %v", length, err)
	}
}

func TestDamageKeepsItsCause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	write(t, b.recorded(), recording[:1000])
	_, err := open(t, b.cfg).Run(t.Context(), b.entry, "", nil, new(saves).save)
	require.ErrorIs(t, err, wav.ErrTruncated)
}

func TestChangedWhileProcessed(t *testing.T) {
	t.Parallel()
	for step, grow := range map[string]int{"verify": 2, "checksum": 2} {
		b := setup(t)
		var s saves
		_, err := open(t, b.cfg).Run(t.Context(), b.entry, "", nil, func(ctx context.Context, done string, state []byte) error {
			if done == step {
				write(t, b.recorded(), append(bytes.Clone(recording), make([]byte, grow)...))
			}
			return s.save(ctx, done, state)
		})
		var rejection *job.Rejection
		require.ErrorAs(t, err, &rejection, "changed after %s", step)
		require.Equal(t, job.Changed, rejection.Reason)
		require.FileExists(t, b.recorded())
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	b := newBench(t.TempDir())
	other := b.entry.Call
	other.UniqueID, other.AMAFlags = "1772442900.18", "OMIT"
	first := b.entry.Call
	first.AMAFlags = "DOCUMENTATION"
	again := first
	again.Dst = "1003"
	var file strings.Builder
	for _, c := range []cdr.Call{first, other, again} {
		require.NoError(t, cdr.Write(&file, &c))
	}
	file.WriteString("garbage\n")

	read := func() (entries []job.Entry) {
		for e, err := range job.Entries(strings.NewReader(file.String()), time.UTC) {
			require.NoError(t, err)
			entries = append(entries, e)
		}
		return entries
	}
	entries := read()
	require.Len(t, entries, 4)
	require.Equal(t, job.Entry{Line: 1, Call: first}, entries[0])
	require.Equal(t, "1772442900.17", entries[0].ID())
	require.Nil(t, entries[1].Rejected)
	require.Equal(t, &job.Rejection{Reason: job.ListedTwice, Detail: "line 1 lists the call as well"}, entries[2].Rejected)
	require.Contains(t, entries[2].Text, "1003")
	require.Equal(t, job.Unreadable, entries[3].Rejected.Reason)
	require.Equal(t, "garbage", entries[3].Text)

	seen := map[string]bool{}
	for i, e := range read() {
		require.Equal(t, entries[i].ID(), e.ID(), "an id is the same each time")
		require.False(t, seen[e.ID()], "%s twice", e.ID())
		seen[e.ID()] = true
		require.LessOrEqual(t, len(e.ID()), 256)
	}
}

func TestRejectedEntryIsSetAside(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entry := job.Entry{Line: 9, Text: "garbage", Rejected: &job.Rejection{Reason: job.Unreadable, Detail: "line 9: 1 columns"}}
	encoded, err := json.Marshal(entry)
	require.NoError(t, err)
	var decoded job.Entry
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	require.Equal(t, entry, decoded)

	_, err = open(t, b.cfg).Run(t.Context(), decoded, "", nil, new(saves).save)
	var rejection *job.Rejection
	require.ErrorAs(t, err, &rejection)
	require.Equal(t, []job.SetAsideLine{{ID: entry.ID(), Line: 9, Reason: job.Unreadable, Detail: "line 9: 1 columns", Text: "garbage"}},
		lines[job.SetAsideLine](t, b.cfg.SetAside, "id"))
}
