// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// balanced is a demo that went well: call one was archived, call two set aside.
func balanced(t *testing.T) (*demo, *evidence) {
	t.Helper()
	d := &demo{config: Config{Data: t.TempDir()}, work: t.TempDir(), expected: sample.Expected{
		Lines: 2, Archived: 1, SetAside: []sample.Fault{{Line: 2, UniqueID: "two", Reason: job.Damaged}}}}
	for _, path := range []string{filepath.Join(d.config.Data, sample.MonitorDir), filepath.Join(d.work, archiveDir)} {
		require.NoError(t, os.MkdirAll(path, 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(path, "one.wav"), []byte("voice"), 0o600))
	}
	hash, err := sum(filepath.Join(d.work, archiveDir, "one.wav"))
	require.NoError(t, err)
	e := &evidence{
		entries:  []job.Entry{{Line: 1, Call: cdr.Call{UniqueID: "one"}}, {Line: 2, Call: cdr.Call{UniqueID: "two"}}},
		index:    []job.IndexLine{{UniqueID: "one", Path: "one.wav", SHA256: hash}},
		setAside: []job.SetAsideLine{{ID: "two", Line: 2, UniqueID: "two", Reason: job.Damaged}},
		archived: map[string]int{"one.wav": 1},
		workflows: map[string]chain.Record{
			"one": {ID: "one", Status: driver.Succeeded}, "two": {ID: "two", Status: driver.Failed}},
	}
	e.standby = maps.Clone(e.workflows)
	return d, e
}

// TestVerify: each way in which it may have gone wrong is found.
func TestVerify(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		spoil func(*testing.T, *demo, *evidence)
		want  string // a problem
	}{
		{"Nothing", func(*testing.T, *demo, *evidence) {}, ""},
		{"Lost", func(_ *testing.T, _ *demo, e *evidence) {
			e.index, e.archived = nil, map[string]int{}
		}, "lost: line 1, one"},
		{"IndexedTwice", func(_ *testing.T, _ *demo, e *evidence) { e.index = append(e.index, e.index[0]) }, "done twice: one"},
		{"ArchivedTwice", func(_ *testing.T, _ *demo, e *evidence) { e.archived["one.wav"] = 2 }, "done twice: one"},
		{"ArchivedAndSetAside", func(_ *testing.T, _ *demo, e *evidence) {
			e.setAside = append(e.setAside, job.SetAsideLine{ID: "one", Line: 1})
		}, "done twice: one"},
		{"NotInTheArchive", func(_ *testing.T, _ *demo, e *evidence) { delete(e.archived, "one.wav") }, "1 times in the index, 0 in the archive"},
		{"UnknownRecording", func(_ *testing.T, _ *demo, e *evidence) { e.archived["three.wav"] = 1 }, "in no line of Master.csv: three.wav"},
		{"UnknownIndexLine", func(_ *testing.T, _ *demo, e *evidence) {
			e.index = append(e.index, job.IndexLine{UniqueID: "three", Path: "one.wav", SHA256: e.index[0].SHA256})
		}, "in no line of Master.csv: three"},
		{"UnknownSetAside", func(_ *testing.T, _ *demo, e *evidence) {
			e.setAside = append(e.setAside, job.SetAsideLine{ID: "three", Line: 3})
		}, "set aside, but in no line of Master.csv: three"},
		{"WorkflowOpen", func(_ *testing.T, _ *demo, e *evidence) {
			e.workflows["one"] = chain.Record{Status: driver.Leased}
		}, "the workflow of one is leased"},
		{"WorkflowMissing", func(_ *testing.T, _ *demo, e *evidence) { delete(e.workflows, "one") }, "1 workflows for 2 lines"},
		{"LeftBehind", func(_ *testing.T, _ *demo, e *evidence) {
			e.workflows["one"] = chain.Record{Status: driver.Leased}
		}, "left behind: one is leased"},
		{"MissingInTheStandby", func(_ *testing.T, _ *demo, e *evidence) { delete(e.standby, "one") }, "of one is in redis, but not in eventstore"},
		{"OnlyInTheStandby", func(_ *testing.T, _ *demo, e *evidence) { delete(e.workflows, "one") }, "of one is in eventstore, but not in redis"},
		{"OlderInTheStandby", func(_ *testing.T, _ *demo, e *evidence) {
			e.standby["one"] = chain.Record{ID: "one", Status: driver.Leased}
		}, "and leased (epoch 0, revision 0,"},
		{"WrongReason", func(_ *testing.T, _ *demo, e *evidence) { e.setAside[0].Reason = job.Missing }, "line 2 was set aside as missing, want damaged"},
		{"NotSetAside", func(_ *testing.T, _ *demo, e *evidence) { e.setAside = nil }, "line 2 was not set aside"},
		{"SetAsideWithoutReason", func(_ *testing.T, d *demo, _ *evidence) { d.expected.SetAside = nil }, "line 2 was set aside"},
		{"Changed", func(t *testing.T, d *demo, _ *evidence) {
			t.Helper()
			require.NoError(t, os.WriteFile(filepath.Join(d.work, archiveDir, "one.wav"), []byte("noise"), 0o600))
		}, "is not the original"},
		{"Gone", func(t *testing.T, d *demo, _ *evidence) {
			t.Helper()
			require.NoError(t, os.Remove(filepath.Join(d.work, archiveDir, "one.wav")))
		}, "one.wav"},
		{"StillThere", func(t *testing.T, d *demo, _ *evidence) {
			t.Helper()
			require.NoError(t, os.Mkdir(filepath.Join(d.work, sample.MonitorDir), 0o750))
			require.NoError(t, os.WriteFile(filepath.Join(d.work, sample.MonitorDir, "one.wav"), nil, 0o600))
		}, "still where the recorder left it"},
		{"TooFew", func(_ *testing.T, d *demo, _ *evidence) { d.expected.Archived = 2 }, "1 calls in the index, want 2"},
		{"TooFewLines", func(_ *testing.T, d *demo, _ *evidence) { d.expected.Lines = 3 }, "2 lines read, want 3"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, e := balanced(t)
			tc.spoil(t, d, e)
			var r Report
			d.compare(e, &r)
			if tc.want == "" {
				require.True(t, r.OK(), "%q", r.Problems)
				return
			}
			require.False(t, r.OK())
			require.Contains(t, "\n"+join(r.Problems), tc.want)
		})
	}
}

func join(problems []string) string {
	out := ""
	for _, p := range problems {
		out += p + "\n"
	}
	return out
}
