// SPDX-License-Identifier: Apache-2.0

package job_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/ledger"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wavtest"
)

var recording = wavtest.PCM(2500*time.Millisecond, 7)

// bench is a folder with one recorded call.
type bench struct {
	cfg   job.Config
	entry job.Entry
}

func newBench(dir string) bench {
	start := time.Date(2026, 3, 2, 9, 15, 0, 0, time.UTC)
	return bench{
		cfg: job.Config{
			Monitor: filepath.Join(dir, "monitor"), Archive: filepath.Join(dir, "archive"),
			Index: filepath.Join(dir, "index.ndjson"), SetAside: filepath.Join(dir, "set-aside.ndjson"),
		},
		entry: job.Entry{Line: 3, Call: cdr.Call{
			Src: "1001", Dst: "1002", Start: start, Answer: start, End: start.Add(2 * time.Second),
			Duration: 2, BillSec: 2, Disposition: cdr.Answered, UniqueID: "1772442900.17",
		}},
	}
}

func (b *bench) recorded() string {
	return filepath.Join(b.cfg.Monitor, "2026", "03", "02", "1772442900.17.wav")
}
func (b *bench) archived() string {
	return filepath.Join(b.cfg.Archive, "2026", "03", "02", "1772442900.17.wav")
}

func setup(t *testing.T) bench {
	t.Helper()
	b := newBench(t.TempDir())
	write(t, b.recorded(), recording)
	return b
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func open(t *testing.T, cfg job.Config) *job.Job {
	t.Helper()
	j, err := job.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// saves keeps the save points of one workflow.
type saves struct {
	steps  []string
	states [][]byte
}

func (s *saves) save(_ context.Context, step string, state []byte) error {
	s.steps, s.states = append(s.steps, step), append(s.states, state)
	return nil
}

func lines[T any](t *testing.T, path, key string) []T {
	t.Helper()
	var all []T
	for l, err := range ledger.Read(path, key) {
		require.NoError(t, err)
		var v T
		require.NoError(t, json.Unmarshal(l.Text, &v))
		all = append(all, v)
	}
	return all
}

// requireDone checks that the call is archived and in the index, once, and nowhere else.
func requireDone(t *testing.T, b bench, output []byte) {
	t.Helper()
	sum := sha256.Sum256(recording)
	want := job.IndexLine{
		UniqueID: "1772442900.17", Src: "1001", Dst: "1002", Start: b.entry.Call.Start, BillSec: 2, DurationMS: 2500,
		Format: "PCM", Bytes: int64(len(recording)), SHA256: hex.EncodeToString(sum[:]), Path: "2026/03/02/1772442900.17.wav",
	}
	require.Equal(t, []job.IndexLine{want}, lines[job.IndexLine](t, b.cfg.Index, "uniqueid"))
	var got job.IndexLine
	require.NoError(t, json.Unmarshal(output, &got))
	require.Equal(t, want, got)
	require.Empty(t, lines[job.SetAsideLine](t, b.cfg.SetAside, "id"))

	var files []string
	require.NoError(t, filepath.WalkDir(filepath.Dir(b.cfg.Archive), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) != ".ndjson" {
			files = append(files, path)
		}
		return err
	}))
	require.Equal(t, []string{b.archived()}, files)
	stored, err := os.ReadFile(b.archived())
	require.NoError(t, err)
	require.Equal(t, recording, stored)
}

func TestRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var s saves
	output, err := open(t, b.cfg).Run(t.Context(), b.entry, "", nil, s.save)
	require.NoError(t, err)
	require.Equal(t, job.Steps(), s.steps)
	require.Equal(t, []string{"verify", "checksum", "archive", "index"}, s.steps)
	requireDone(t, b, output)
}

func TestRunFromEverySavePoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := open(t, b.cfg)
	var s saves
	_, err := j.Run(t.Context(), b.entry, "", nil, s.save)
	require.NoError(t, err)
	for i, step := range s.steps {
		var rest saves
		output, err := j.Run(t.Context(), b.entry, step, s.states[i], rest.save)
		require.NoError(t, err, "after %s", step)
		require.Len(t, rest.steps, len(s.steps)-1-i, "no step is done again")
		requireDone(t, b, output)
	}
	output, err := j.Run(t.Context(), b.entry, "", nil, new(saves).save)
	require.NoError(t, err, "all save points were lost after the call was archived")
	requireDone(t, b, output)
}

func TestRunByManyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	for range 8 {
		j := open(t, b.cfg)
		wg.Go(func() {
			if _, err := j.Run(t.Context(), b.entry, "", nil, new(saves).save); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	output, err := open(t, b.cfg).Run(t.Context(), b.entry, "", nil, new(saves).save)
	require.NoError(t, err)
	requireDone(t, b, output)
}

func TestFlatFolder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, os.Rename(b.recorded(), filepath.Join(b.cfg.Monitor, "1772442900.17.wav")))
	output, err := open(t, b.cfg).Run(t.Context(), b.entry, "", nil, new(saves).save)
	require.NoError(t, err)
	requireDone(t, b, output)
}

func TestUnsavedStepIsRepeated(t *testing.T) {
	t.Parallel()
	for _, failing := range job.Steps() {
		t.Run(failing, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			j := open(t, b.cfg)
			var s saves
			lost := errors.New("lease lost")
			_, err := j.Run(t.Context(), b.entry, "", nil, func(ctx context.Context, step string, state []byte) error {
				if step == failing {
					return lost
				}
				return s.save(ctx, step, state)
			})
			require.ErrorIs(t, err, lost)
			done, state := "", []byte(nil)
			if n := len(s.steps); n > 0 {
				done, state = s.steps[n-1], s.states[n-1]
			}
			output, err := j.Run(t.Context(), b.entry, done, state, s.save)
			require.NoError(t, err)
			require.Equal(t, job.Steps(), s.steps)
			requireDone(t, b, output)
		})
	}
}

func TestBadSavePoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := open(t, b.cfg)
	_, err := j.Run(t.Context(), b.entry, "transcribe", nil, new(saves).save)
	require.ErrorContains(t, err, `unknown save point "transcribe"; the steps are [verify checksum archive index]`)
	_, err = j.Run(t.Context(), b.entry, "verify", []byte("?"), new(saves).save)
	require.ErrorContains(t, err, `state of save point "verify"`)
	require.FileExists(t, b.recorded())
}

func TestUnreachableFolderIsNoMissingRecording(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, os.Rename(b.cfg.Monitor, b.cfg.Monitor+".unmounted"))
	_, err := open(t, b.cfg).Run(t.Context(), b.entry, "", nil, new(saves).save)
	var rejection *job.Rejection
	require.NotErrorAs(t, err, &rejection)
	require.ErrorContains(t, err, "the folder of the recordings cannot be reached")
	require.Empty(t, lines[job.SetAsideLine](t, b.cfg.SetAside, "id"))
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := b.cfg
	cfg.Tolerance = -time.Second
	_, err := job.New(cfg)
	require.ErrorContains(t, err, "-1s")
	cfg = b.cfg
	cfg.Index = filepath.Join(t.TempDir(), "none", "index.ndjson")
	_, err = job.New(cfg)
	require.ErrorContains(t, err, "open the index")
	cfg = b.cfg
	cfg.SetAside = b.cfg.Monitor
	_, err = job.New(cfg)
	require.ErrorContains(t, err, "open the set-aside file")
}
