// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	maxLineBytes  = 64 << 10 // what is longer is cut
	maxPanicBytes = 64 << 10 // of one panic
)

// eachLine calls f with every line of r, cut to maxLineBytes, until r ends. The
// line is good until f returns.
func eachLine(r io.Reader, f func([]byte)) {
	reader := bufio.NewReaderSize(r, 16<<10)
	var long []byte
	for {
		part, isPrefix, err := reader.ReadLine()
		if err != nil {
			return
		}
		switch {
		case !isPrefix && long == nil:
			f(part)
		case len(long)+len(part) <= maxLineBytes:
			long = append(long, part...)
		}
		if !isPrefix && long != nil {
			f(long)
			long = nil
		}
	}
}

// stderrLog writes what a plugin prints to standard error to the host's log: its
// structured lines at their level, other text at INFO, and a panic with all its
// stacks as one ERROR.
type stderrLog struct {
	logger *zap.Logger
	panic  []byte // the lines of the panic so far

	mu   sync.Mutex
	last string // the last line that was not structured
}

func (l *stderrLog) line(line []byte) {
	if entry, ok := parseEntry(line); ok {
		l.flush()
		entry.write(l.logger)
		l.setLast(entry.message)
		return
	}
	text := strings.TrimSpace(string(line))
	switch {
	case l.panic != nil || startsPanic(text):
		if l.panic == nil {
			l.setLast(text)
		}
		if len(l.panic)+len(line) < maxPanicBytes {
			l.panic = append(append(l.panic, line...), '\n')
		}
	case text != "":
		l.setLast(text)
		l.logger.Info(text, zap.String("stream", "stderr"))
	}
}

// flush writes the panic, if there was one.
func (l *stderrLog) flush() {
	if l.panic == nil {
		return
	}
	first, stack, _ := strings.Cut(string(l.panic), "\n")
	l.panic = nil
	l.logger.Error("plugin panicked", zap.String("panic", first), zap.String("stack", stack))
}

func (l *stderrLog) setLast(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = text
}

// lastWords returns the last line that says why a process ended, "" if none does.
func (l *stderrLog) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// quote returns the beginning of a line as it may stand in an error, whatever a
// process has printed.
func quote(line string) string {
	const most = 200
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return strconv.Quote(line)
}

// startsPanic reports whether the Go runtime begins with line to tell why it ends
// the process.
func startsPanic(line string) bool {
	for _, prefix := range [...]string{"panic: ", "fatal error: ", "runtime: ", "unexpected fault address ", "SIG"} {
		if strings.HasPrefix(line, prefix) && (prefix != "SIG" || strings.Contains(line, ": ")) {
			return true
		}
	}
	return false
}

// entry is one structured line.
type entry struct {
	level   zapcore.Level
	message string
	fields  []zap.Field
}

func (e entry) write(logger *zap.Logger) {
	if checked := logger.Check(e.level, e.message); checked != nil {
		checked.Write(e.fields...)
	}
}

// parseEntry reads a line of hclog. Whatever a plugin prints, it does not fail.
func parseEntry(line []byte) (entry, bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return entry{}, false
	}
	var raw map[string]any
	if json.Unmarshal(line, &raw) != nil {
		return entry{}, false
	}
	message, hasMessage := raw[keyMessage].(string)
	level, hasLevel := raw[keyLevel].(string)
	if !hasMessage || !hasLevel {
		return entry{}, false
	}
	e := entry{message: message, level: levelOf(level)}
	delete(raw, keyMessage)
	delete(raw, keyLevel)
	delete(raw, keyTimestamp)
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		e.fields = append(e.fields, zap.Any(key, raw[key]))
	}
	return e, true
}

func levelOf(name string) zapcore.Level {
	if level, err := zapcore.ParseLevel(name); err == nil && level <= zapcore.ErrorLevel {
		return level
	}
	if name == "trace" {
		return zapcore.DebugLevel
	}
	return zapcore.InfoLevel
}

// lineWriter calls a function with every line written to it.
type lineWriter struct{ w *io.PipeWriter }

// newLineWriter returns a writer, to be closed, whose lines go to f one by one.
func newLineWriter(f func([]byte)) (*lineWriter, <-chan struct{}) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		eachLine(r, f)
	}()
	return &lineWriter{w}, done
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		return len(p), nil // nobody reads any more, and nobody need know
	}
	return n, err
}

// Close implements io.Closer.
func (l *lineWriter) Close() error { return l.w.Close() }
