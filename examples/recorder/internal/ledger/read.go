// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// Line is one line of a ledger.
type Line struct {
	Number int // counted from 1
	ID     string
	Text   []byte // the JSON object, without the line end; valid until the next line
}

// errTorn marks what stands behind the last line end.
var errTorn = errors.New("the last line is torn")

// Read yields the lines of the file at path in their order, and at most one error, as the last. It takes no lock: a line
// that is being written may be missing or torn, and a torn last line is left out. A file that does not exist has no lines.
func Read(path, key string) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		file, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Line{}, err)
			return
		}
		defer file.Close()
		s := scanner{in: bufio.NewReader(file), key: key}
		for {
			line, err := s.next()
			if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
				return
			}
			if err != nil {
				yield(Line{}, fmt.Errorf("read %s: %w", path, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}

// scanner reads lines one after another.
type scanner struct {
	in   *bufio.Reader
	key  string
	line int
	text []byte
}

// next returns the next line; io.EOF at the end; errTorn for a last line without a line end, which is then in s.text.
func (s *scanner) next() (Line, error) {
	s.text = s.text[:0]
	for {
		part, err := s.in.ReadSlice('\n')
		s.text = append(s.text, part...)
		switch {
		case err == nil:
			s.line++
			id, err := idOf(s.text, s.key)
			if err != nil {
				return Line{}, fmt.Errorf("line %d: %w", s.line, err)
			}
			return Line{Number: s.line, ID: id, Text: bytes.TrimSuffix(s.text, []byte("\n"))}, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(s.text) > 0:
			return Line{}, errTorn
		default:
			return Line{}, err
		}
	}
}

// catchUp reads what others have appended since the last time, and repairs a torn end. The file is locked.
func (l *Ledger) catchUp() error {
	size, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size < l.end { // somebody has emptied or shortened it
		l.forget()
	}
	if size == l.end {
		return nil
	}
	l.dirty = true
	s := scanner{in: bufio.NewReader(io.NewSectionReader(l.file, l.end, size-l.end)), key: l.key, line: l.lines}
	for {
		line, err := s.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTorn):
			return l.repair(s.text)
		case err != nil:
			return fmt.Errorf("%w; repair or remove that line", err)
		}
		l.seen[line.ID] = struct{}{}
		l.lines = line.Number
		l.end += int64(len(line.Text)) + 1
	}
}

// repair deals with a last line that has no line end. The beginning of a JSON object is never a JSON object, so
// a whole one lacks only its line end (an editor has saved the file, say); anything else was never acknowledged.
func (l *Ledger) repair(torn []byte) error {
	if id, err := idOf(torn, l.key); err == nil {
		if err := l.write(append(bytes.Clone(torn), '\n')); err != nil {
			return err
		}
		l.seen[id] = struct{}{}
		return nil
	}
	if err := l.file.Truncate(l.end); err != nil {
		return fmt.Errorf("cut off a torn line: %w", err)
	}
	if l.opt.Repaired != nil {
		l.opt.Repaired(l.path, len(torn))
	}
	return nil
}

// idOf returns the string field key of the JSON object in line.
func idOf(line []byte, key string) (string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return "", fmt.Errorf("not a JSON object: %w", err)
	}
	var id string
	if err := json.Unmarshal(object[key], &id); err != nil || id == "" {
		return "", fmt.Errorf("a JSON object without the text field %q", key)
	}
	return id, nil
}
