// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapHandler brings the log lines of a linked driver, which knows only slog, into
// the log of the chain.
type zapHandler struct {
	log    *zap.Logger
	prefix string // of the keys: the open groups
}

func levelOf(level slog.Level) zapcore.Level {
	switch {
	case level >= slog.LevelError:
		return zapcore.ErrorLevel
	case level >= slog.LevelWarn:
		return zapcore.WarnLevel
	case level >= slog.LevelInfo:
		return zapcore.InfoLevel
	}
	return zapcore.DebugLevel
}

// Enabled implements slog.Handler.
func (h *zapHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.log.Core().Enabled(levelOf(level))
}

// Handle implements slog.Handler.
func (h *zapHandler) Handle(_ context.Context, r slog.Record) error {
	fields := make([]zap.Field, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		fields = append(fields, h.fields(h.prefix, a)...)
		return true
	})
	h.log.Log(levelOf(r.Level), r.Message, fields...)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *zapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var fields []zap.Field
	for _, a := range attrs {
		fields = append(fields, h.fields(h.prefix, a)...)
	}
	return &zapHandler{h.log.With(fields...), h.prefix}
}

// WithGroup implements slog.Handler.
func (h *zapHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &zapHandler{h.log, h.prefix + name + "."}
}

func (h *zapHandler) fields(prefix string, a slog.Attr) []zap.Field {
	value := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
		return nil
	case value.Kind() != slog.KindGroup:
		return []zap.Field{zap.Any(prefix+a.Key, value.Any())}
	case a.Key != "":
		prefix += a.Key + "."
	}
	var fields []zap.Field
	for _, member := range value.Group() {
		fields = append(fields, h.fields(prefix, member)...)
	}
	return fields
}
