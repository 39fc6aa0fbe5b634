// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"time"
)

// DecodeConfig decodes a driver's section of the configuration into the struct
// that into points to and leaves what the section does not name as it is. It is
// strict: the error is [Invalid] and names the key and the form expected.
func DecodeConfig(config json.RawMessage, into any) error {
	if len(bytes.TrimSpace(config)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, extra := dec.Token(); !errors.Is(extra, io.EOF) {
			return invalid("configuration: more than one JSON value")
		}
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field == "" {
		return invalid("configuration: want a section, such as {\"key\": \"value\"}, not a JSON %s", wrong.Value)
	} else if ok {
		article := map[bool]string{true: "an", false: "a"}[strings.ContainsAny(wrong.Value[:1], "ao")] // an array, an object
		return invalid("configuration: key %q is %s %s, want %s", wrong.Field, article, wrong.Value, expectedForm(wrong.Type))
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return invalid("configuration: unknown key %s; known keys: %s", key, strings.Join(keysOf(reflect.TypeOf(into).Elem()), ", "))
	}
	// The text of other errors may quote the input, which may hold secrets.
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("configuration: not valid JSON at byte %d", syntax.Offset)
	}
	return invalid("configuration: not a complete JSON object")
}

var durationType = reflect.TypeFor[Duration]()

func expectedForm(t reflect.Type) string {
	switch t {
	case durationType:
		return `a text such as "2s" or "150ms"`
	case reflect.TypeFor[Secret]():
		return "a text: put it in quotes"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64, reflect.Uint8, reflect.Uint16:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a section"
	case reflect.String:
		return "a text"
	}
	return "a " + t.Kind().String()
}

// kindOf names what a JSON value is, as package json does: never the value itself.
// The key is added by whoever decodes the section around it.
func kindOf(b []byte) string {
	switch b[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	}
	return "number"
}

// keysOf returns the keys of a section, those of sections in it as "section.key".
func keysOf(t reflect.Type) []string {
	var keys []string
	for field := range t.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "" || key == "-" {
			continue
		}
		of := field.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		var inner []string
		if of.Kind() == reflect.Struct {
			inner = keysOf(of)
		}
		if len(inner) == 0 {
			keys = append(keys, key)
		}
		for _, k := range inner {
			keys = append(keys, key+"."+k)
		}
	}
	return keys
}

// Duration is a span of time in a configuration, written as "2s" or "150ms" (see
// time.ParseDuration).
type Duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return &json.UnmarshalTypeError{Value: kindOf(b), Type: durationType}
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return &json.UnmarshalTypeError{Value: fmt.Sprintf("string %q", s), Type: durationType}
	}
	*d = Duration(parsed)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// Secret is a value that is never shown: every way of printing, logging or
// encoding it gives "[redacted]", or "" if it is empty. Reveal gives the value.
type Secret struct{ value string }

// NewSecret returns a Secret that holds value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value, to be handed to the product and nowhere else.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether s is empty.
func (s Secret) IsZero() bool { return s.value == "" }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Secret) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &s.value); err != nil {
		return &json.UnmarshalTypeError{Value: kindOf(b), Type: reflect.TypeFor[Secret]()}
	}
	return nil
}

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return "[redacted]"
}

// Format implements fmt.Formatter, so that no verb shows the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
