// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestZapHandler(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	log := slog.New(&zapHandler{log: zap.New(core)})
	require.False(t, log.Enabled(t.Context(), slog.LevelDebug))
	log.Debug("not seen")
	log.With("a", 1).WithGroup("g").Warn("seen", "b", "two", slog.Group("h", "c", true), slog.Attr{})
	require.Equal(t, 1, logs.Len())
	line := logs.All()[0]
	require.Equal(t, "seen", line.Message)
	require.Equal(t, zap.WarnLevel, line.Level)
	require.Equal(t, map[string]any{"a": int64(1), "g.b": "two", "g.h.c": true}, line.ContextMap())
	require.Equal(t, zap.ErrorLevel, levelOf(slog.LevelError))
	require.Equal(t, zap.DebugLevel, levelOf(slog.LevelDebug))
}
