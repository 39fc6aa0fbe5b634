// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseMetadata(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, doc string
		want      Metadata
		broken    bool
	}{
		{name: "Empty", doc: `{}`},
		{name: "All", doc: `{"$maxCount":3,"$maxAge":60,"$tb":0,"$cacheControl":9,"$acl":{"$r":"a","$w":["b","$admins"]},"mine":[1,{"$tb":5}]}`,
			want: Metadata{MaxCount: new(int64(3)), MaxAge: new(time.Minute), TruncateBefore: new(int64(0)), ACL: &ACL{Read: []string{"a"}, Write: []string{"b", "$admins"}}}},
		{name: "TheLastOfTwoHolds", doc: `{"$maxCount":3,"$maxCount":4}`, want: Metadata{MaxCount: new(int64(4))}},
		{name: "ZeroAndBelow", doc: `{"$maxCount":0,"$maxAge":-1,"$tb":-1}`},
		{name: "AnAbsentOneTakesBack", doc: `{"$maxCount":3,"$maxCount":0}`},
		{name: "LongAge", doc: `{"$maxAge":9223372036854775807}`, want: Metadata{MaxAge: new(time.Duration(maxAgeSeconds) * time.Second)}},
		{name: "NobodyMayRead", doc: `{"$acl":{"$r":[]}}`, want: Metadata{ACL: &ACL{Read: []string{}}}},
		{name: "Nothing", doc: ``, broken: true},
		{name: "Null", doc: `null`, broken: true},
		{name: "List", doc: `[]`, broken: true},
		{name: "Cut", doc: `{"$maxCount":3`, broken: true},
		{name: "Text", doc: `{"$maxCount":"3"}`, broken: true},
		{name: "Fraction", doc: `{"$tb":1.0}`, broken: true},
		{name: "TooBig", doc: `{"$tb":9223372036854775808}`, broken: true},
		{name: "ACLNotAnObject", doc: `{"$acl":5}`, broken: true},
		{name: "ACLUnknownRight", doc: `{"$acl":{"$x":"a"}}`, broken: true},
		{name: "ACLNotAName", doc: `{"$acl":{"$r":[5]}}`, broken: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseMetadata([]byte(test.doc))
			require.Equal(t, test.broken, err != nil, "%v", err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestWithTruncateBefore(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, doc, want string }{
		{name: "Added", doc: `{"$maxCount":10}`, want: `{"$maxCount":10,"$tb":3}`},
		{name: "Replaced", doc: `{"$tb":9223372036854775807, "a" : {"b": [1, 2]}}`, want: `{"$tb":3,"a":{"b":[1,2]}}`},
		{name: "Empty", doc: `{}`, want: `{"$tb":3}`},
		{name: "NumbersStay", doc: `{"n":12345678901234567890.5}`, want: `{"n":12345678901234567890.5,"$tb":3}`},
		{name: "Twice", doc: `{"$tb":1,"$tb":2}`, want: `{"$tb":3}`},
		{name: "NotAnObject", doc: `[]`},
		{name: "Nothing", doc: ``},
		{name: "MoreAfterIt", doc: `{} {}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, ok := withTruncateBefore([]byte(test.doc), 3)
			require.Equal(t, test.want != "", ok)
			require.Equal(t, test.want, string(got))
		})
	}
}

// FuzzMetadata: no document is a panic, what has no effect is absent, and a revival keeps the document valid.
func FuzzMetadata(f *testing.F) {
	for _, doc := range []string{`{}`, ``, `null`, `[]`, `{"$maxCount":5,"$tb":3}`, `{"$maxAge":1e9}`, `{"$acl":{"$r":["a"],"$w":"b"}}`, `{"a":{"$tb":1}}`, "{\"\xff\":1}", `{"$tb":9223372036854775807}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := ParseMetadata(doc)
		if err != nil {
			require.Equal(t, Metadata{}, m)
		}
		require.True(t, m.MaxCount == nil || *m.MaxCount > 0)
		require.True(t, m.MaxAge == nil || *m.MaxAge > 0)
		require.True(t, m.TruncateBefore == nil || *m.TruncateBefore >= 0)
		revived, ok := withTruncateBefore(doc, 7)
		if !ok {
			return
		}
		require.True(t, json.Valid(revived), "%q", revived)
		again, err := ParseMetadata(revived)
		if m.TruncateBefore != nil && err == nil {
			require.EqualValues(t, 7, *again.TruncateBefore)
		}
	})
}
