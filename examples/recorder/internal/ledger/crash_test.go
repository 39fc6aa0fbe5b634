// SPDX-License-Identifier: Apache-2.0

package ledger_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/examples/recorder/internal/crashtest"
	"github.com/understudy-dev/understudy/examples/recorder/internal/ledger"
)

// The test binary started again with these appends to a file, and kills itself at the point, if one is given.
const (
	envPath  = "LEDGER_TEST_PATH"
	envPoint = "LEDGER_TEST_POINT"
)

const childLines = 20

func TestMain(m *testing.M) {
	if os.Getenv(envPath) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func child() error {
	l, err := ledger.Open(os.Getenv(envPath), "id", ledger.Options{At: crashtest.KillAt(os.Getenv(envPoint))})
	if err != nil {
		return err
	}
	for i := range childLines {
		if _, err := l.Append(context.Background(), line{ID: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	return l.Close()
}

func command(t *testing.T, path, point string) *exec.Cmd {
	t.Helper()
	return crashtest.Command(t, envPath+"="+path, envPoint+"="+point)
}

func TestKilledWriter(t *testing.T) {
	t.Parallel()
	for _, point := range []string{ledger.Locked, ledger.Written, ledger.Synced} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "index.ndjson")
			crashtest.RequireKilled(t, command(t, path, point))
			l := open(t, path, ledger.Options{})
			written, err := l.Append(t.Context(), line{ID: "0"})
			require.NoError(t, err, "the lock died with its holder")
			require.Equal(t, point == ledger.Locked, written)
			require.Equal(t, []string{"0"}, ids(t, path))
		})
	}
}

func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.ndjson")
	var running []*exec.Cmd
	for range 3 {
		cmd := command(t, path, "")
		require.NoError(t, cmd.Start())
		running = append(running, cmd)
	}
	for _, cmd := range running {
		require.NoError(t, cmd.Wait())
	}
	var want []string
	for i := range childLines {
		want = append(want, fmt.Sprint(i))
	}
	require.ElementsMatch(t, want, ids(t, path))
}
