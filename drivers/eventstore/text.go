// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/understudy-dev/understudy/driver"
)

// writer writes one JSON object, key by key; empty values are left out. It is for
// the hot path, where encoding/json takes too long.
type writer struct{ b []byte }

func (w *writer) key(name string) {
	if len(w.b) == 0 || w.b[len(w.b)-1] == '{' {
		w.b = append(w.b, '"')
	} else {
		w.b = append(w.b, ',', '"')
	}
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

func (w *writer) text(name, value string) {
	if value != "" {
		w.key(name)
		w.b = appendText(w.b, value)
	}
}

func (w *writer) number(name string, value uint64) {
	if value != 0 {
		w.key(name)
		w.b = strconv.AppendUint(w.b, value, 10)
	}
}

func (w *writer) token(name string, t driver.Token) {
	if !t.IsZero() {
		const digits = "0123456789abcdef"
		w.key(name)
		w.b = append(w.b, '"')
		for _, c := range t {
			w.b = append(w.b, digits[c>>4], digits[c&15])
		}
		w.b = append(w.b, '"')
	}
}

func (w *writer) time(name string, t time.Time) {
	if !t.IsZero() {
		w.key(name)
		w.b = append(w.b, '"')
		w.b = t.UTC().AppendFormat(w.b, time.RFC3339Nano)
		w.b = append(w.b, '"')
	}
}

// bytes writes JSON as it is, byte for byte, and everything else under another key
// as base64.
func (w *writer) bytes(name string, value []byte) {
	switch {
	case len(value) == 0:
	case embeddable(value):
		w.key(name)
		w.b = append(w.b, value...)
	default:
		w.key(name + base64Suffix)
		w.b = append(w.b, '"')
		w.b = base64.StdEncoding.AppendEncode(w.b, value)
		w.b = append(w.b, '"')
	}
}

const base64Suffix = "Base64"

// embeddable reports whether value can stand in a JSON document and be cut out of
// it again with all its bytes: white space around it would be lost.
func embeddable(value []byte) bool {
	return !space(value[0]) && !space(value[len(value)-1]) && json.Valid(value) && utf8.Valid(value)
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// appendText appends a JSON string. value is valid UTF-8.
func appendText(dst []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(value)
			if err != nil { // strings can always be encoded
				panic(err) //nolint:forbidigo // see above
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, value...)
	return append(dst, '"')
}

// scanner reads what writer has written. After the first fault, which is kept in
// err, it returns zero values. What it returns shares the memory of b.
type scanner struct {
	b   []byte
	at  int
	err error
}

var errJSON = errors.New("not the JSON that this driver writes")

func (s *scanner) fail() {
	if s.err == nil {
		s.err = fmt.Errorf("%w, at byte %d", errJSON, s.at)
	}
}

// peek returns the next byte that is not white space, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.b); s.at++ {
		if c := s.b[s.at]; !space(c) {
			return c
		}
	}
	return 0
}

func (s *scanner) want(c byte) {
	if s.err == nil && s.peek() == c {
		s.at++
		return
	}
	s.fail()
}

// next goes to the next key of an object and returns it: begin with first true.
// There is none left if it returns nil.
func (s *scanner) next(first bool) []byte {
	if first {
		s.want('{')
	}
	switch c := s.peek(); {
	case s.err != nil:
		return nil
	case c == '}':
		s.at++
		return nil
	case !first:
		s.want(',')
	}
	key := s.text()
	s.want(':')
	if s.err != nil {
		return nil
	}
	return key
}

// end checks that nothing follows.
func (s *scanner) end() error {
	if s.err == nil && s.peek() != 0 {
		s.fail()
	}
	return s.err
}

// text reads a string.
func (s *scanner) text() []byte {
	raw := s.raw()
	if len(raw) < 2 || raw[0] != '"' {
		s.fail()
		return nil
	}
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		s.fail()
	}
	return []byte(text)
}

// raw reads a value of any kind and returns its bytes.
func (s *scanner) raw() []byte {
	c := s.peek()
	start := s.at
	switch {
	case s.err != nil || c == 0:
		s.fail()
		return nil
	case c == '"':
		s.skipText()
	case c == '{' || c == '[':
		s.skipNested()
	default:
		for s.at < len(s.b) && s.b[s.at] != ',' && s.b[s.at] != '}' && s.b[s.at] != ']' && !space(s.b[s.at]) {
			s.at++
		}
		if s.at == start {
			s.fail()
		}
	}
	if s.err != nil {
		return nil
	}
	return s.b[start:s.at:s.at]
}

func (s *scanner) skipText() {
	for s.at++; s.at < len(s.b); s.at++ {
		switch s.b[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return
		}
	}
	s.at = len(s.b)
	s.fail()
}

func (s *scanner) skipNested() {
	for depth := 0; s.at < len(s.b); {
		switch s.b[s.at] {
		case '"':
			if s.skipText(); s.err != nil {
				return
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return
		}
	}
	s.fail()
}

// number reads an unsigned number of up to 64 bits.
func (s *scanner) number() uint64 {
	raw := s.raw()
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		s.fail()
	}
	return n
}

func (s *scanner) token() driver.Token {
	t, err := driver.ParseToken(string(s.text()))
	if err != nil {
		s.fail()
	}
	return t
}

func (s *scanner) time() time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(s.text()))
	if err != nil {
		s.fail()
		return time.Time{}
	}
	return t
}

func (s *scanner) base64() []byte {
	text := s.text()
	b, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	if err != nil {
		s.fail()
	}
	return b
}
