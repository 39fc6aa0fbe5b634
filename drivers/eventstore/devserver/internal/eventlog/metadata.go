// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Metadata are the keys of a stream's metadata that the server understands. A nil field is a key that is absent or
// has no effect.
type Metadata struct {
	MaxCount       *int64
	MaxAge         *time.Duration
	TruncateBefore *int64
	ACL            *ACL
}

// ACL names who may do what with a stream: users, groups, or $all. A nil field leaves it to the default, an empty
// one leaves nobody but administrators.
type ACL struct {
	Read, Write, Delete, MetaRead, MetaWrite []string
}

// softDeleted tells whether the metadata say that the stream is deleted.
func (m *Metadata) softDeleted() bool {
	return m.TruncateBefore != nil && *m.TruncateBefore == DeletedRevision
}

var errNotMetadata = errors.New("not stream metadata")

// maxAgeSeconds is the longest $maxAge that a time span can hold.
const maxAgeSeconds = int64((1<<63 - 1) / time.Second)

// ParseMetadata reads the JSON document of a metadata event. Anything that the real server cannot understand, be it
// the document or the value of a known key, makes the whole of it count as no metadata: the error says so, and the
// result is empty. Keys that are not known may have any value. Numbers of zero and below count as absent, except
// that $tb may be 0.
func ParseMetadata(data []byte) (Metadata, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var m Metadata
	err := eachKey(d, func(k string) error {
		switch k {
		case "$maxCount":
			return positive(d, &m.MaxCount)
		case "$maxAge":
			return maxAge(d, &m.MaxAge)
		case "$tb":
			return truncateBefore(d, &m.TruncateBefore)
		case "$cacheControl":
			var ignored *int64
			return positive(d, &ignored)
		case "$acl":
			a, err := parseACL(d)
			m.ACL = a
			return err
		}
		var ignored json.RawMessage
		return d.Decode(&ignored)
	})
	if err != nil {
		return Metadata{}, fmt.Errorf("%w: %w", errNotMetadata, err)
	}
	return m, nil
}

// eachKey calls f for each key of the object that comes next; f reads the value.
func eachKey(d *json.Decoder, f func(key string) error) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("%v is not an object", t)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		k, _ := t.(string)
		if err := f(k); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	_, err = d.Token()
	return err
}

func integer(d *json.Decoder) (int64, error) {
	t, err := d.Token()
	if err != nil {
		return 0, err
	}
	n, ok := t.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%v is not a number", t)
	}
	return n.Int64()
}

func positive(d *json.Decoder, into **int64) error {
	n, err := integer(d)
	*into = nil
	if n > 0 {
		*into = &n
	}
	return err
}

func maxAge(d *json.Decoder, into **time.Duration) error {
	n, err := integer(d)
	if err != nil {
		return err
	}
	*into = nil
	if n > 0 {
		age := time.Duration(min(n, maxAgeSeconds)) * time.Second
		*into = &age
	}
	return nil
}

func truncateBefore(d *json.Decoder, into **int64) error {
	n, err := integer(d)
	*into = nil
	if n >= 0 && err == nil {
		*into = &n
	}
	return err
}

func parseACL(d *json.Decoder) (*ACL, error) {
	var a ACL
	fields := map[string]*[]string{"$r": &a.Read, "$w": &a.Write, "$d": &a.Delete, "$mr": &a.MetaRead, "$mw": &a.MetaWrite}
	err := eachKey(d, func(k string) error {
		into, ok := fields[k]
		if !ok {
			return errors.New("unknown right")
		}
		roles, err := parseRoles(d)
		*into = roles
		return err
	})
	return &a, err
}

// parseRoles reads one name or a list of names.
func parseRoles(d *json.Decoder) ([]string, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if s, ok := t.(string); ok {
		return []string{s}, nil
	}
	if t != json.Delim('[') {
		return nil, fmt.Errorf("%v is neither a name nor a list of names", t)
	}
	roles := []string{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		s, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("%v is not a name", t)
		}
		roles = append(roles, s)
	}
	_, err = d.Token()
	return roles, err
}

// withTruncateBefore returns the document with $tb set and all else as it was, or false if it is not an object.
func withTruncateBefore(doc []byte, tb int64) ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(doc))
	var out bytes.Buffer
	out.WriteByte('{')
	put := func(k string, v []byte) {
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		name, _ := json.Marshal(k)
		out.Write(name)
		out.WriteByte(':')
		_ = json.Compact(&out, v)
	}
	value, done := fmt.Appendf(nil, "%d", tb), false
	err := eachKey(d, func(k string) error {
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		if k == "$tb" {
			if done {
				return nil
			}
			v, done = value, true
		}
		put(k, v)
		return nil
	})
	if err != nil {
		return nil, false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	if !done {
		put("$tb", value)
	}
	out.WriteByte('}')
	return out.Bytes(), true
}
