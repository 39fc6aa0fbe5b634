// SPDX-License-Identifier: Apache-2.0

package sample_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/ledger"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wavtest"
)

// sounds is a folder with a few voice files of different lengths, one of them in a folder below.
func sounds(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "digits"), 0o755))
	for i, name := range []string{"hello.wav", "goodbye.wav", "digits/1.wav", "silence.wav"} {
		length := time.Duration(200+1300*i) * time.Millisecond
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), wavtest.PCM(length, byte(i)), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "readme.txt"), []byte("not a voice"), 0o600))
	return dir
}

// TestRecorderFindsWhatIsExpected lets the recorder's steps loose on the data: every line must end as the list says.
func TestRecorderFindsWhatIsExpected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	expected, err := sample.Generate(sample.Options{Sounds: sounds(t), Out: dir, Calls: 60, Seed: 7})
	require.NoError(t, err)
	require.Equal(t, 63, expected.Lines)
	require.Equal(t, expected.Lines, expected.Archived+len(expected.SetAside))
	stored, err := sample.ReadExpected(dir)
	require.NoError(t, err)
	require.Equal(t, expected, stored)

	j, err := job.New(job.Config{
		Monitor: filepath.Join(dir, sample.MonitorDir), Archive: filepath.Join(dir, "archive"),
		Index: filepath.Join(dir, "index.ndjson"), SetAside: filepath.Join(dir, "set-aside.ndjson"),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	master, err := os.Open(filepath.Join(dir, sample.MasterFile))
	require.NoError(t, err)
	defer master.Close()

	got := map[int]job.Reason{}
	lines := 0
	for entry, err := range job.Entries(master, time.UTC) {
		require.NoError(t, err)
		lines++
		_, err := j.Run(t.Context(), entry, "", nil, func(context.Context, string, []byte) error { return nil })
		if rejection, ok := errors.AsType[*job.Rejection](err); ok {
			got[entry.Line] = rejection.Reason
			continue
		}
		require.NoError(t, err)
	}
	want := map[int]job.Reason{}
	kinds := map[job.Reason]bool{}
	for _, f := range expected.SetAside {
		want[f.Line] = f.Reason
		kinds[f.Reason] = true
	}
	require.Equal(t, want, got)
	require.Len(t, kinds, 6, "every kind of fault but those that need a recorder at work")
	require.Equal(t, expected.Lines, lines)
	require.Equal(t, expected.Archived, count(t, filepath.Join(dir, "index.ndjson"), "uniqueid"))
	require.Equal(t, len(expected.SetAside), count(t, filepath.Join(dir, "set-aside.ndjson"), "id"))
	require.Len(t, tree(t, filepath.Join(dir, "archive")), expected.Archived)
}

func count(t *testing.T, path, key string) int {
	t.Helper()
	n := 0
	for _, err := range ledger.Read(path, key) {
		require.NoError(t, err)
		n++
	}
	return n
}

// tree returns the files below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path[len(dir):]] = string(data)
		return err
	}))
	return files
}

func TestSameSeedSameBytes(t *testing.T) {
	t.Parallel()
	voices, a, b := sounds(t), t.TempDir(), filepath.Join(t.TempDir(), "new")
	generate := func(out string, seed uint64) map[string]string {
		_, err := sample.Generate(sample.Options{Sounds: voices, Out: out, Calls: 40, Seed: seed})
		require.NoError(t, err)
		return tree(t, out)
	}
	first := generate(a, 1)
	require.Equal(t, first, generate(b, 1))
	require.NotEqual(t, first, generate(b, 2), "another seed gives other data")
	require.Equal(t, first, generate(b, 1), "what an earlier run has left is replaced")
	require.Greater(t, len(first), 30)
}

func TestManyCallsOverFewVoices(t *testing.T) {
	t.Parallel()
	expected, err := sample.Generate(sample.Options{Sounds: sounds(t), Out: t.TempDir(), Calls: 300})
	require.NoError(t, err)
	require.Equal(t, 300, expected.Lines-3, "and three that are listed twice")
}

func TestGenerateRefuses(t *testing.T) {
	t.Parallel()
	voices := sounds(t)
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "thesis.txt"), []byte("precious"), 0o600))
	damaged := sounds(t)
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "bad.wav"), []byte("RIFF"), 0o600))
	tests := []struct {
		name string
		o    sample.Options
		want string
	}{
		{"OtherFiles", sample.Options{Sounds: voices, Out: full, Calls: 40}, "holds other files"},
		{"NoSounds", sample.Options{Sounds: filepath.Join(voices, "none"), Out: t.TempDir()}, "no such file"},
		{"EmptySounds", sample.Options{Sounds: t.TempDir(), Out: t.TempDir()}, "no .wav files in"},
		{"DamagedSounds", sample.Options{Sounds: damaged, Out: t.TempDir()}, "bad.wav: truncated WAV file"},
		{"TooFewCalls", sample.Options{Sounds: voices, Out: t.TempDir()}, "4 calls are too few"},
		{"NegativeCalls", sample.Options{Sounds: voices, Out: t.TempDir(), Calls: -1}, "must not be negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := sample.Generate(tt.o)
			require.ErrorContains(t, err, tt.want)
		})
	}
	require.Equal(t, map[string]string{"/thesis.txt": "precious"}, tree(t, full))
}

func TestReadExpectedRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := sample.ReadExpected(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, sample.ExpectedFile), []byte("{"), 0o600))
	_, err = sample.ReadExpected(dir)
	require.ErrorContains(t, err, filepath.Join(dir, sample.ExpectedFile))
}
