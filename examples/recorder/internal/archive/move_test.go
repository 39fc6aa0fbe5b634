// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// contents is larger than one read of a copy.
var contents = bytes.Repeat([]byte("sample "), 20_000)

// setup writes a recording and describes where it is to go; with copying, as if that were another file system.
func setup(t *testing.T, copying bool) Move {
	t.Helper()
	dir := t.TempDir()
	m := newMove(dir, copying)
	require.NoError(t, os.MkdirAll(filepath.Dir(m.From), 0o755))
	require.NoError(t, os.MkdirAll(m.Root, 0o755))
	require.NoError(t, os.WriteFile(m.From, contents, 0o600))
	return m
}

func newMove(dir string, copying bool) Move {
	m := Move{
		From: filepath.Join(dir, "monitor", "call.wav"), Root: filepath.Join(dir, "archive"),
		To:   filepath.Join(dir, "archive", "2026", "03", "02", "call.wav"),
		Size: int64(len(contents)), SHA256: "fc18dbbf211d77d6e287a9aa0b596e61f25ba074605a696746532e1fbc6bc19d",
	}
	if copying {
		m.rename = func(from, to string) error {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
		}
	}
	return m
}

// requireArchived checks that the file stands at its new place and nothing else is left anywhere.
func requireArchived(t *testing.T, m Move) {
	t.Helper()
	var files []string
	dir := filepath.Dir(m.Root)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	require.Equal(t, []string{m.To}, files)
	got, err := os.ReadFile(m.To)
	require.NoError(t, err)
	require.Equal(t, contents, got)
}

func eachWay(t *testing.T, test func(t *testing.T, copying bool)) {
	t.Helper()
	for name, copying := range map[string]bool{"SameFileSystem": false, "OtherFileSystem": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, copying)
		})
	}
}

func TestMoveAndRepeat(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, copying bool) {
		m := setup(t, copying)
		var points []string
		m.At = func(p string) { points = append(points, p) }
		require.NoError(t, m.Do(t.Context()))
		requireArchived(t, m)
		if copying {
			require.Equal(t, []string{FolderMade, Copied, Moved, Settled}, points)
		} else {
			require.Equal(t, []string{FolderMade, Moved, Settled}, points)
		}
		for range 2 {
			require.NoError(t, m.Do(t.Context()))
			requireArchived(t, m)
		}
		require.NoError(t, os.Remove(filepath.Dir(m.From)))
		require.NoError(t, m.Do(t.Context()), "the recorder's empty folder may go")
	})
}

func TestNothingToMove(t *testing.T) {
	t.Parallel()
	m := setup(t, false)
	require.NoError(t, os.Remove(m.From))
	require.ErrorIs(t, m.Do(t.Context()), fs.ErrNotExist)
}

func TestPlaceIsTaken(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, copying bool) {
		m := setup(t, copying)
		require.NoError(t, os.MkdirAll(filepath.Dir(m.To), 0o755))
		require.NoError(t, os.WriteFile(m.To, []byte("another call"), 0o600))
		require.ErrorIs(t, m.Do(t.Context()), ErrOccupied)
		kept, err := os.ReadFile(m.To)
		require.NoError(t, err)
		require.Equal(t, "another call", string(kept))
		require.FileExists(t, m.From)
	})
}

func TestChangedSource(t *testing.T) {
	t.Parallel()
	t.Run("Size", func(t *testing.T) {
		t.Parallel()
		m := setup(t, false)
		m.Size++
		require.ErrorIs(t, m.Do(t.Context()), ErrChanged)
		require.NoFileExists(t, m.To)
	})
	t.Run("ContentsWhileCopying", func(t *testing.T) {
		t.Parallel()
		m := setup(t, true)
		require.NoError(t, os.WriteFile(m.From, bytes.ToUpper(contents), 0o600))
		require.ErrorIs(t, m.Do(t.Context()), ErrChanged)
		require.NoFileExists(t, m.To)
		entries, err := os.ReadDir(filepath.Dir(m.To))
		require.NoError(t, err)
		require.Empty(t, entries, "no partial copy is left")
	})
	t.Run("ContentsAfterCopying", func(t *testing.T) {
		t.Parallel()
		m := setup(t, true)
		m.At = func(p string) {
			if p == Settled {
				require.NoError(t, os.WriteFile(m.From, []byte("another call"), 0o600))
			}
		}
		require.ErrorIs(t, m.Do(t.Context()), ErrChanged)
		require.FileExists(t, m.From, "a file that is not in the archive is never removed")
		require.FileExists(t, m.To)
	})
}

func TestCancelledCopy(t *testing.T) {
	t.Parallel()
	m := setup(t, true)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("shutting down")
	m.At = func(string) { cancel(stop) }
	require.ErrorIs(t, m.Do(ctx), stop)
	m.At = nil
	require.NoError(t, m.Do(t.Context()))
	requireArchived(t, m)
}

func TestSomebodyElseMovesAtTheSameMoment(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, copying bool) {
		m := setup(t, copying)
		other := m
		m.At = func(p string) {
			if p == FolderMade {
				require.NoError(t, other.Do(t.Context()))
			}
		}
		err := m.Do(t.Context())
		if copying { // reading the source fails: a reason to repeat, and then it is done
			require.ErrorIs(t, err, fs.ErrNotExist)
			err = m.Do(t.Context())
		}
		require.NoError(t, err)
		requireArchived(t, m)
	})
}

func TestErrorNamesBothPlaces(t *testing.T) {
	t.Parallel()
	m := setup(t, false)
	require.NoError(t, os.WriteFile(filepath.Join(m.Root, "2026"), nil, 0o600))
	err := m.Do(t.Context())
	require.ErrorContains(t, err, "move "+m.From+" to "+m.To)
	require.FileExists(t, m.From)
}

func TestSumIsStreamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "abc")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
	sum, size, err := Sum(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, int64(3), size)
	require.True(t, strings.HasPrefix(sum, "ba7816bf"), "the published test vector of SHA-256")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = Sum(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
}
