// SPDX-License-Identifier: Apache-2.0

package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/ledger"
)

type line struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

func open(t *testing.T, path string, opt ledger.Options) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(path, "id", opt)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			require.ErrorIs(t, err, ledger.ErrClosed)
		}
	})
	return l
}

func ids(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	for l, err := range ledger.Read(path, "id") {
		require.NoError(t, err)
		all = append(all, l.ID)
		require.Equal(t, len(all), l.Number)
	}
	return all
}

func TestAppendOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.ndjson")
	l := open(t, path, ledger.Options{})
	for i, want := range []bool{true, false, false} {
		written, err := l.Append(t.Context(), line{ID: "a", Text: fmt.Sprint("try ", i)})
		require.NoError(t, err)
		require.Equal(t, want, written)
	}
	again := open(t, path, ledger.Options{})
	written, err := again.Append(t.Context(), line{ID: "a"})
	require.NoError(t, err)
	require.False(t, written, "a handle opened later knows the line")
	written, err = again.Append(t.Context(), line{ID: "b"})
	require.NoError(t, err)
	require.True(t, written)
	written, err = l.Append(t.Context(), line{ID: "b"})
	require.NoError(t, err)
	require.False(t, written, "a handle opened before sees lines of others")

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, []string{`{"id":"a","text":"try 0"}`, `{"id":"b","text":""}`, ""}, strings.Split(string(text), "\n"))
}

func TestManyHandlesAndGoroutines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.ndjson")
	const handles, workers, lines = 4, 4, 25
	var wg sync.WaitGroup
	written := make(chan string, handles*workers*lines)
	for range handles {
		l := open(t, path, ledger.Options{})
		for range workers {
			wg.Go(func() {
				for i := range lines {
					id := fmt.Sprint("call-", i)
					ok, err := l.Append(t.Context(), line{ID: id})
					if err != nil {
						t.Error(err)
					}
					if ok {
						written <- id
					}
				}
			})
		}
	}
	wg.Wait()
	close(written)
	var won []string
	for id := range written {
		won = append(won, id)
	}
	require.Len(t, won, lines, "each id is written by one of those who tried")
	require.ElementsMatch(t, won, ids(t, path))
}

func TestTornLastLine(t *testing.T) {
	t.Parallel()
	first, last := `{"id":"a","text":"å"}`+"\n", `{"id":"b","text":"ö \" }"}`
	for cut := range len(last) + 1 {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "index.ndjson")
			require.NoError(t, os.WriteFile(path, []byte(first+last[:cut]), 0o600))
			torn := 0
			l := open(t, path, ledger.Options{Repaired: func(_ string, n int) { torn = n }})
			written, err := l.Append(t.Context(), line{ID: "b", Text: "anew"})
			require.NoError(t, err)

			whole := cut == len(last)
			require.Equal(t, !whole, written, "a line that lacks only its line end is kept")
			if whole {
				require.Zero(t, torn)
			} else {
				require.Equal(t, cut, torn)
			}
			require.Equal(t, []string{"a", "b"}, ids(t, path))
		})
	}
}

func TestTornLineOfNULs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.ndjson")
	require.NoError(t, os.WriteFile(path, []byte(`{"id":"a"}`+"\n"+strings.Repeat("\x00", 5000)), 0o600))
	require.Equal(t, []string{"a"}, ids(t, path), "readers leave it out")
	_, err := open(t, path, ledger.Options{}).Append(t.Context(), line{ID: "b"})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, ids(t, path))
}

func TestDamagedLineIsAnErrorWithItsPlace(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]string{
		"NotJSON": `{"id":"b","te` + "\n", "NoID": `{"text":"b"}` + "\n", "EmptyID": `{"id":""}` + "\n", "IDIsANumber": `{"id":7}` + "\n", "Blank": "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "index.ndjson")
			text := `{"id":"a"}` + "\n" + bad + `{"id":"c"}` + "\n"
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			l := open(t, path, ledger.Options{})
			for range 2 {
				_, err := l.Append(t.Context(), line{ID: "d"})
				require.ErrorContains(t, err, "line 2")
			}
			var last error
			for _, err := range ledger.Read(path, "id") {
				last = err
			}
			require.ErrorContains(t, last, "line 2")
			kept, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, text, string(kept), "nothing is changed")
		})
	}
}

func TestAppendRefusesWhatItCouldNotFindAgain(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "index.ndjson"), ledger.Options{})
	for _, v := range []any{line{}, "text", map[string]int{"id": 7}, func() {}} {
		_, err := l.Append(t.Context(), v)
		require.Error(t, err, "%T", v)
	}
}

func TestFileThatWasMovedAwayOrEmptied(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.ndjson")
	l := open(t, path, ledger.Options{})
	appendLine := func(id string) {
		_, err := l.Append(t.Context(), line{ID: id})
		require.NoError(t, err)
	}
	appendLine("a")
	require.NoError(t, os.Rename(path, path+".1"))
	appendLine("b")
	require.Equal(t, []string{"b"}, ids(t, path))
	require.Equal(t, []string{"a"}, ids(t, path+".1"))
	require.NoError(t, os.Truncate(path, 0))
	appendLine("b")
	require.Equal(t, []string{"b"}, ids(t, path))
}

func TestWaitForTheLockEndsWithTheContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.ndjson")
	l := open(t, path, ledger.Options{})
	other, err := os.Open(path)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = l.Append(ctx, line{ID: "a"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "another writer")

	require.NoError(t, other.Close())
	written, err := l.Append(t.Context(), line{ID: "a"})
	require.NoError(t, err)
	require.True(t, written)
}

func TestWaitForAnotherGoroutineEndsWithTheContext(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(entered); <-leave })
	l := open(t, filepath.Join(t.TempDir(), "index.ndjson"), ledger.Options{At: func(string) { once() }})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Append(t.Context(), line{ID: "a"}); err != nil {
			t.Error(err)
		}
	})
	<-entered
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("shutting down")
	cancel(cause)
	_, err := l.Append(ctx, line{ID: "b"})
	require.ErrorIs(t, err, cause)
	close(leave)
	wg.Wait()
}

func TestClosed(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "index.ndjson"), ledger.Options{})
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Close(), ledger.ErrClosed)
	_, err := l.Append(t.Context(), line{ID: "a"})
	require.ErrorIs(t, err, ledger.ErrClosed)
}

func TestReadWithoutAFile(t *testing.T) {
	t.Parallel()
	require.Empty(t, ids(t, filepath.Join(t.TempDir(), "none.ndjson")))
}

func BenchmarkAppend(b *testing.B) {
	l, err := ledger.Open(filepath.Join(b.TempDir(), "index.ndjson"), "id", ledger.Options{})
	require.NoError(b, err)
	defer l.Close()
	for i := 0; b.Loop(); i++ {
		_, err := l.Append(b.Context(), line{ID: fmt.Sprint(i)})
		require.NoError(b, err)
	}
}
