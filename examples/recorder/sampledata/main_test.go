// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/examples/recorder/internal/wavtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	sounds := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(sounds, "hello.wav"), wavtest.PCM(time.Second, 1), 0o600))
	tests := []struct {
		name   string
		args   []string
		status int
		stdout string
		stderr string
	}{
		{"Data", []string{"-sounds", sounds, "-out", filepath.Join(t.TempDir(), "new"), "-calls", "50"}, 0, "53 lines in Master.csv, 34 calls to archive, 19 lines", ""},
		{"Help", []string{"-h"}, 0, "", "-seed"},
		{"NoSounds", []string{"-out", "x"}, 2, "", "sampledata: give -sounds FOLDER"},
		{"NoOut", []string{"-sounds", sounds}, 2, "", "sampledata: give -out FOLDER"},
		{"Argument", []string{"-sounds", sounds, "-out", "x", "y"}, 2, "", `unexpected argument "y"`},
		{"UnknownFlag", []string{"-sound", sounds}, 2, "", "-sound"},
		{"TooFew", []string{"-sounds", sounds, "-out", t.TempDir()}, 1, "", "1 calls are too few"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, tt.status, run(tt.args, &stdout, &stderr), stderr.String())
			require.Contains(t, stdout.String(), tt.stdout)
			require.Contains(t, stderr.String(), tt.stderr)
		})
	}
}
