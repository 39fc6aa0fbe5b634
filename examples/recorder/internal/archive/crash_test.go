// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/examples/recorder/internal/crashtest"
)

// The test binary started again with these moves the file in the folder, and kills itself at the point.
const (
	envDir   = "ARCHIVE_TEST_DIR"
	envPoint = "ARCHIVE_TEST_POINT"
	envCopy  = "ARCHIVE_TEST_COPY"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		move := newMove(dir, os.Getenv(envCopy) == "true")
		move.At = crashtest.KillAt(os.Getenv(envPoint))
		fmt.Fprintln(os.Stderr, "not killed:", move.Do(context.Background()))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestKilledAtEachPoint(t *testing.T) {
	t.Parallel()
	for _, copying := range []bool{false, true} {
		for _, point := range []string{FolderMade, Copied, Moved, Settled} {
			if point == Copied && !copying {
				continue
			}
			t.Run(fmt.Sprintf("%s/Copying=%t", point, copying), func(t *testing.T) {
				t.Parallel()
				m := setup(t, copying)
				crashtest.RequireKilled(t, crashtest.Command(t,
					envDir+"="+filepath.Dir(m.Root), envPoint+"="+point, fmt.Sprintf("%s=%t", envCopy, copying)))

				require.True(t, exists(m.From) || exists(m.To), "the file is never nowhere")
				require.NoError(t, m.Do(t.Context()))
				requireArchived(t, m)
			})
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
