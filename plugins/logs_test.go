// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"
)

func TestPluginLogs(t *testing.T) {
	t.Parallel()
	store, logs := launch(t, spec("serve"))
	_, err := get(t.Context(), store, "log", "w-1")
	require.NoError(t, err)
	for message, want := range map[string]struct {
		level  zapcore.Level
		fields map[string]any
	}{
		"a detail":          {zapcore.DebugLevel, map[string]any{"n": 1.0}},
		"a line":            {zapcore.InfoLevel, map[string]any{"id": "w-1"}},
		"a warning":         {zapcore.WarnLevel, nil},
		"an error":          {zapcore.ErrorLevel, map[string]any{"error": "cause"}},
		"printed to stdout": {zapcore.InfoLevel, map[string]any{"stream": "stdout"}},
		"printed to stderr": {zapcore.InfoLevel, map[string]any{"stream": "stderr"}},
	} {
		eventually(t, func() bool { return logs.FilterMessage(message).Len() == 1 }, message)
		entry := logs.FilterMessage(message).All()[0]
		require.Equal(t, want.level, entry.Level, message)
		fields := map[string]any{"driver": "fake", "link": "first"}
		maps.Copy(fields, want.fields)
		require.Equal(t, fields, entry.ContextMap(), message)
	}
}

func TestPanicIsOneError(t *testing.T) {
	t.Parallel()
	store, logs := launch(t, spec("serve"))
	_, err := get(t.Context(), store, "panic")
	require.Error(t, err)
	eventually(t, restarted(store, 1), "a new process")
	panics := logs.FilterMessage("plugin panicked").All()
	require.Len(t, panics, 1)
	require.Equal(t, zapcore.ErrorLevel, panics[0].Level)
	fields := panics[0].ContextMap()
	require.Equal(t, "fake", fields["driver"])
	require.Equal(t, "panic: the fake has panicked", fields["panic"])
	require.Contains(t, fields["stack"], "plugins_test.(*fakeStore).Get")
	for _, entry := range logs.All() {
		require.False(t, strings.HasPrefix(entry.Message, "goroutine "), "a part of the stack by itself")
	}
}

// Whatever a plugin prints, the host reads on.
func TestStrangeLines(t *testing.T) {
	t.Parallel()
	store, logs := launch(t, spec("serve"))
	long := strings.Repeat("0123456789abcdef", 16<<10)
	lines := []string{
		"{", "{}", "null", `{"@message":1,"@level":2,"@timestamp":3}`, `{"@level":"info"}`, `{"@message":"x","@level":"what"}`,
		`{"@message":"m","@level":"trace","@timestamp":"yesterday","nested":{"a":[1,2]}}`, "\x00\xff\xfe", "", "   ", long,
	}
	_, err := get(t.Context(), store, append([]string{"raw"}, append(lines, "the end")...)...)
	require.NoError(t, err)
	eventually(t, func() bool { return logs.FilterMessage("the end").Len() == 1 }, "the last line")
	require.Equal(t, 1, logs.FilterMessage("m").FilterLevelExact(zapcore.DebugLevel).Len())
	require.Equal(t, 1, logs.FilterMessage("x").FilterLevelExact(zapcore.InfoLevel).Len())
	for _, entry := range logs.All() {
		require.LessOrEqual(t, len(entry.Message), 64<<10)
	}
}

// A plugin that prints without end slows nobody else down.
func TestChattyPlugin(t *testing.T) {
	t.Parallel()
	store, logs := launch(t, spec("serve"))
	lines := make([]string, 2000)
	for i := range lines {
		lines[i] = strings.Repeat("chatter ", 60)
	}
	talk := append([]string{"raw"}, lines...)
	for range 5 {
		_, err := get(t.Context(), store, talk...)
		require.NoError(t, err)
		require.NoError(t, commit(t.Context(), store, "a"))
	}
	eventually(t, func() bool { return logs.FilterMessage(strings.TrimSpace(lines[0])).Len() == 5*len(lines) }, "all lines")
}
