// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// R renders a protobuf message as it came over the wire, normalised.
func (t *T) R(m proto.Message) string {
	if m == nil {
		return "nil"
	}
	return t.render(m.ProtoReflect(), true)
}

// render prints the fields that were on the wire, in the order of their numbers. anchor says whether positions in it
// are those of events and results.
func (t *T) render(m protoreflect.Message, anchor bool) string {
	if !m.IsValid() {
		return "nil"
	}
	if s, ok := t.special(m, anchor); ok {
		return s
	}
	var fields []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fields = append(fields, fd)
		return true
	})
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.Number(), b.Number()) })
	var out []string
	pair := positions(m, anchor)
	for _, fd := range fields {
		isPosition := fd.Name() == "commit_position" || fd.Name() == "prepare_position"
		switch {
		case pair == "" || !isPosition:
			out = append(out, t.field(fd, m.Get(fd), anchor))
		case !slices.Contains(out, pair):
			out = append(out, pair)
		}
	}
	if n := len(m.GetUnknown()); n > 0 {
		out = append(out, fmt.Sprintf("unknown-fields=%x", []byte(m.GetUnknown())))
	}
	return "{" + strings.Join(out, " ") + "}"
}

// special renders the messages that are not printed field by field.
func (t *T) special(m protoreflect.Message, anchor bool) (string, bool) {
	switch v := m.Interface().(type) {
	case *shared.UUID:
		switch u := v.GetValue().(type) {
		case *shared.UUID_String_:
			if _, err := uuid.Parse(u.String_); err != nil {
				return fmt.Sprintf("uuid-string(%q)", u.String_), true
			}
			return t.label(strings.ToLower(u.String_)), true
		case *shared.UUID_Structured_:
			return t.label(fromStructured(u.Structured)) + "(structured)", true
		}
		return "uuid-unset", true
	case *shared.StreamIdentifier:
		return strconv.Quote(string(v.GetStreamName())), true
	case *anypb.Any:
		x, err := v.UnmarshalNew()
		if err != nil {
			return fmt.Sprintf("any(%s, unreadable, %d bytes)", v.GetTypeUrl(), len(v.GetValue())), true
		}
		return fmt.Sprintf("any(%s)%s", v.GetTypeUrl(), t.render(x.ProtoReflect(), anchor)), true
	}
	return "", false
}

// positions renders the two positions of a message that has both, "" if it has not.
func positions(m protoreflect.Message, anchor bool) string {
	d := m.Descriptor().Fields()
	c, p := d.ByName("commit_position"), d.ByName("prepare_position")
	if c == nil || p == nil {
		return ""
	}
	commit, prepare := m.Get(c).Uint(), m.Get(p).Uint()
	if commit == prepare {
		return "pos=" + mark(commit, anchor)
	}
	return "commit=" + mark(commit, anchor) + " prepare=" + mark(prepare, anchor)
}

func (t *T) field(fd protoreflect.FieldDescriptor, v protoreflect.Value, anchor bool) string {
	name := string(fd.Name())
	anchor = anchor && name != "checkpoint" && name != "last_all_stream_position"
	switch {
	case name == "commit_position":
		return name + "=" + mark(v.Uint(), anchor)
	case name == "subscription_id" || name == "time_stamp" || name == "event_store_server_version":
		return name + "=set"
	case fd.IsMap():
		return name + "=" + t.renderMap(v.Map())
	case fd.IsList():
		var items []string
		for i := range v.List().Len() {
			items = append(items, t.scalar(fd, v.List().Get(i), anchor))
		}
		return name + "=[" + strings.Join(items, " ") + "]"
	}
	return name + "=" + t.scalar(fd, v, anchor)
}

// mark prints a position so that finish finds it.
func mark(v uint64, anchor bool) string {
	switch {
	case v == math.MaxUint64:
		return "MAX"
	case v == math.MaxInt64:
		return "MAXINT64"
	case anchor:
		return fmt.Sprintf("⟦A%d⟧", v)
	}
	return fmt.Sprintf("⟦C%d⟧", v)
}

func (t *T) scalar(fd protoreflect.FieldDescriptor, v protoreflect.Value, anchor bool) string {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return t.render(v.Message(), anchor)
	case protoreflect.BytesKind:
		return t.bytes(v.Bytes())
	case protoreflect.StringKind:
		return strconv.Quote(v.String())
	case protoreflect.EnumKind:
		if e := fd.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
	case protoreflect.Uint64Kind:
		if v.Uint() == math.MaxUint64 {
			return "MAX"
		}
	}
	return v.String()
}

// bytes prints text as text, and long fields as length and hash.
func (t *T) bytes(b []byte) string {
	if len(b) > 300 {
		h := sha256.Sum256(b)
		return fmt.Sprintf("<%d bytes, %s>", len(b), hex.EncodeToString(h[:4]))
	}
	if utf8.Valid(b) {
		return strconv.Quote(string(b))
	}
	return "0x" + hex.EncodeToString(b)
}

func (t *T) renderMap(m protoreflect.Map) string {
	var out []string
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		val := strconv.Quote(v.String())
		if k.String() == "created" {
			val = created(v.String())
		}
		out = append(out, k.String()+"="+val)
		return true
	})
	slices.Sort(out)
	return "{" + strings.Join(out, " ") + "}"
}

// created checks the unit of the server's time stamp: 100 ns ticks since the Unix epoch.
func created(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return "not-a-number"
	}
	day := int64(24 * time.Hour)
	now := time.Now().UnixNano()
	near := func(ns int64) bool { return ns > now-day && ns < now+day }
	switch {
	case n > 1e16 && n < 1e17 && near(n*100):
		return "ticks-since-1970"
	case near(n):
		return "nanoseconds-since-1970"
	case near(n * 1000):
		return "microseconds-since-1970"
	case n < 1e14 && near(n*1000000):
		return "milliseconds-since-1970"
	case near((n - 621355968000000000) * 100):
		return "ticks-since-0001"
	}
	return fmt.Sprintf("number-of-%d-digits", len(s))
}
