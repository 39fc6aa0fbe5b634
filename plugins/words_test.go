// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// What a process has printed before its end is read, however late this process
// comes to it.
func TestLastWordsAreReadLate(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.InfoLevel)
	late := make(chan struct{})
	logger := zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "first" {
			<-late
		}
		return nil
	}))
	script := "echo first >&2; for i in $(seq 400); do echo " + strings.Repeat("x", 100) + " >&2; done; echo the last >&2"
	p := newProcess(exec.CommandContext(t.Context(), "sh", "-c", script), logger)
	require.NoError(t, p.Start(t.Context()))
	<-p.exited
	<-time.After(2 * pipeGrace)
	close(late)
	<-p.drained
	require.Equal(t, "the last", p.stderr.lastWords())
	require.Len(t, logs.All(), 402)
}

// A child of another group that prints on and on is not listened to for long. It
// ends when nobody reads the pipe any more.
func TestChildThatPrintsOnIsLeft(t *testing.T) {
	t.Parallel()
	p := newProcess(exec.CommandContext(t.Context(), "sh", "-c", "setsid sh -c 'while :; do echo still here; done' >&2 & sleep 0.3"), zap.NewNop())
	require.NoError(t, p.Start(t.Context()))
	select {
	case <-p.drained:
	case <-time.After(time.Minute):
		require.Fail(t, "it is still listened to")
	}
}
