// SPDX-License-Identifier: Apache-2.0

package job_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
)

// finished is a bench whose call is archived, with a second call that is set aside, and the file that lists both.
func finished(t *testing.T) (b bench, master string) {
	t.Helper()
	b = setup(t)
	b.entry.Call.AMAFlags = "OMIT"
	missing := b.entry
	missing.Call.UniqueID = "1772442900.99"
	j := open(t, b.cfg)
	var file strings.Builder
	for _, e := range []job.Entry{b.entry, missing} {
		require.NoError(t, cdr.Write(&file, &e.Call))
		_, _ = j.Run(t.Context(), e, "", nil, func(context.Context, string, []byte) error { return nil })
	}
	return b, file.String()
}

func audit(t *testing.T, cfg job.Config, master string) job.Report {
	t.Helper()
	report, err := job.Audit(t.Context(), cfg, job.Entries(strings.NewReader(master), time.UTC))
	require.NoError(t, err)
	return report
}

func TestAuditFindsNothing(t *testing.T) {
	t.Parallel()
	b, master := finished(t)
	report := audit(t, b.cfg, master)
	require.Equal(t, job.Report{Lines: 2, Archived: 1, SetAside: map[job.Reason]int{job.Missing: 1}}, report)
	require.True(t, report.OK())
}

func TestAuditFinds(t *testing.T) {
	t.Parallel()
	const id = "1772442900.17"
	appendTo := func(t *testing.T, path, line string) {
		t.Helper()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(text, line+"\n"...), 0o600))
	}
	tests := []struct {
		name   string
		spoil  func(t *testing.T, b *bench)
		report job.Report // what is added to the lists
	}{
		{
			"Lost", func(t *testing.T, b *bench) { require.NoError(t, os.Truncate(b.cfg.SetAside, 0)) },
			job.Report{Lost: []string{"1772442900.99"}},
		},
		{
			"TwiceInTheIndex", func(t *testing.T, b *bench) {
				text, err := os.ReadFile(b.cfg.Index)
				require.NoError(t, err)
				appendTo(t, b.cfg.Index, strings.TrimSpace(string(text)))
			},
			job.Report{Twice: []string{id + ": twice in index.ndjson"}},
		},
		{
			"ArchivedAndSetAside", func(t *testing.T, b *bench) { appendTo(t, b.cfg.SetAside, `{"id":"`+id+`"}`) },
			job.Report{Twice: []string{id + ": archived and set aside"}},
		},
		{
			"StillRecorded", func(t *testing.T, b *bench) { write(t, b.recorded(), recording) },
			job.Report{Twice: []string{id + ": archived, but still among the recordings"}},
		},
		{
			"NotInTheArchive", func(t *testing.T, b *bench) { require.NoError(t, os.Remove(b.archived())) },
			job.Report{Wrong: []string{id + ": in the index, but 2026/03/02/" + id + ".wav is not in the archive"}},
		},
		{
			"OtherContents", func(t *testing.T, b *bench) { write(t, b.archived(), recording[1:]) },
			job.Report{Wrong: []string{id + ": 2026/03/02/" + id + ".wav is not the recording that the index describes"}},
		},
		{
			"Stray", func(t *testing.T, b *bench) { write(t, filepath.Join(b.cfg.Archive, "x.wav"), recording) },
			job.Report{Wrong: []string{"x.wav: in the archive, but not in the index"}},
		},
		{
			"NeverListed", func(t *testing.T, b *bench) { appendTo(t, b.cfg.SetAside, `{"id":"7.7"}`) },
			job.Report{Wrong: []string{"7.7: set aside, but not in the call-detail file"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, master := finished(t)
			tt.spoil(t, &b)
			report := audit(t, b.cfg, master)
			require.False(t, report.OK())
			require.Equal(t, tt.report.Lost, report.Lost)
			require.Equal(t, tt.report.Twice, report.Twice)
			require.Equal(t, tt.report.Wrong, report.Wrong)
		})
	}
}
