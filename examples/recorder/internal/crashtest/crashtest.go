// SPDX-License-Identifier: Apache-2.0

// Package crashtest lets tests kill the code they test, for real, at a point of their choice: the test binary is started
// again as a process of its own, which ends itself with SIGKILL.
package crashtest

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// KillAt returns a hook that ends this process with SIGKILL when it is called with the point.
func KillAt(point string) func(string) {
	return func(reached string) {
		if reached == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal arrives
		}
	}
}

// Command is the test binary with these additional environment variables, from which its TestMain knows what to do.
func Command(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// RequireKilled runs the command and checks that it was killed, and neither ended nor failed before.
func RequireKilled(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "the process should have been killed, but ended with: %v", err)
	status, ok := exit.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "%v", err)
}
