// SPDX-License-Identifier: Apache-2.0

package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/examples/recorder/internal/archive"
	"github.com/understudy-dev/understudy/examples/recorder/internal/crashtest"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
)

// The test binary started again with these works on the call in the folder, and kills itself at the point.
const (
	envDir   = "JOB_TEST_DIR"
	envPoint = "JOB_TEST_POINT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		fmt.Fprintln(os.Stderr, "not killed:", child(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

type savePoint struct {
	Step  string
	State json.RawMessage
}

func child(dir string) error {
	b := newBench(dir)
	b.cfg.At = crashtest.KillAt(os.Getenv(envPoint))
	j, err := job.New(b.cfg)
	if err != nil {
		return err
	}
	_, err = j.Run(context.Background(), b.entry, "", nil, func(_ context.Context, step string, state []byte) error {
		point, err := json.Marshal(savePoint{step, state})
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "save.json"), point, 0o600))
	})
	return err
}

func TestKilledAtEachPoint(t *testing.T) {
	t.Parallel()
	for _, point := range job.Points() {
		if point == "archive: "+archive.Copied { // only on another file system: covered in package archive
			continue
		}
		t.Run(strings.ReplaceAll(point, " ", ""), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			dir := filepath.Dir(b.cfg.Archive)
			settingAside := strings.HasPrefix(point, "set aside")
			if settingAside {
				require.NoError(t, os.Remove(b.recorded()))
			}
			crashtest.RequireKilled(t, crashtest.Command(t, envDir+"="+dir, envPoint+"="+point))

			var saved savePoint
			if text, err := os.ReadFile(filepath.Join(dir, "save.json")); err == nil {
				require.NoError(t, json.Unmarshal(text, &saved))
				require.NoError(t, os.Remove(filepath.Join(dir, "save.json")))
			}
			var rest saves
			output, err := open(t, b.cfg).Run(t.Context(), b.entry, saved.Step, saved.State, rest.save)
			if settingAside {
				var rejection *job.Rejection
				require.ErrorAs(t, err, &rejection)
				require.Len(t, lines[job.SetAsideLine](t, b.cfg.SetAside, "id"), 1)
				return
			}
			require.NoError(t, err)
			require.Equal(t, job.Steps()[slices.Index(job.Steps(), saved.Step)+1:], rest.steps)
			requireDone(t, b, output)
		})
	}
}
