// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// bring puts a stream into one of the states of the expected-version tables.
func (t *T) bring(s, state string) {
	switch state {
	case "existing":
		t.Fill(s, 3)
	case "soft-deleted":
		t.Fill(s, 3)
		t.Delete(s, Any)
	case "tombstoned":
		t.Fill(s, 3)
		t.Tombstone(s, Any)
	}
}

func init() {
	expected := []X{Any, NoStream, Exists, Rev(0), Rev(1), Rev(2), Rev(3), Rev(7)}
	for _, state := range []string{"missing", "existing", "soft-deleted", "tombstoned"} {
		for _, x := range expected {
			add("append", fmt.Sprintf("expected/%s/%s", state, x), func(t *T) {
				s := t.S("s")
				t.bring(s, state)
				t.Append(s, x, ev("new"))
				t.Read(Q{Stream: s, From: Start, Count: 10})
				t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
			})
		}
		add("append", "expected/"+state+"/unset", func(t *T) {
			s := t.S("s")
			t.bring(s, state)
			t.Append(s, Unset, ev("new"))
			t.Read(Q{Stream: s, From: End, Back: true, Count: 1})
		})
	}
	add("append", "expected/missing/exact-max", func(t *T) {
		t.Append(t.S("s"), Rev(1<<63-1), ev("a"))
		t.Append(t.S("s"), Rev(1<<64-1), ev("b"))
		t.Append(t.S("s"), Rev(1<<63), ev("c"))
	})
}

func init() {
	for _, x := range []X{Any, NoStream, Exists, Rev(2), Rev(7)} {
		add("append", "empty/missing/"+x.String(), func(t *T) {
			s := t.S("s")
			t.Append(s, x)
			t.Read(Q{Stream: s, From: Start, Count: 10})
		})
		add("append", "empty/existing/"+x.String(), func(t *T) {
			s := t.S("s")
			t.Fill(s, 3)
			t.Append(s, x)
			t.Read(Q{Stream: s, From: End, Back: true, Count: 1})
		})
	}
	add("append", "empty/soft-deleted", func(t *T) {
		s := t.S("s")
		t.bring(s, "soft-deleted")
		t.Append(s, Any)
		t.Append(s, NoStream)
		t.Append(s, Rev(2))
		t.Append(s, Exists)
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
	add("append", "empty/tombstoned", func(t *T) {
		s := t.S("s")
		t.bring(s, "tombstoned")
		t.Append(s, Any)
		t.Append(s, Rev(2))
	})
	add("append", "several-in-one", func(t *T) {
		s := t.S("s")
		t.Append(s, NoStream, evs("a", "b", "c")...)
		t.Append(s, Rev(2), evs("d", "e")...)
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Read(Q{Stream: s, From: End, Back: true, Count: 2})
	})
}

// Odd events.
func init() {
	one := func(name string, e E) {
		add("append", "event/"+name, func(t *T) {
			s := t.S("s")
			e := e
			if e.ID == "" {
				e.ID = "a"
			}
			e.Note = "(" + name + ")"
			t.Append(s, Any, e)
			t.Read(Q{Stream: s, From: Start, Count: 10})
			t.Do("the connection still works")
			t.Append(s, Any, ev("after"))
		})
	}
	base := func(f func(*E)) E { e := ev("a"); f(&e); return e }
	one("no-type", base(func(e *E) { e.NoType = true }))
	one("empty-type", base(func(e *E) { e.Type = "" }))
	one("type-dollar", base(func(e *E) { e.Type = "$mine" }))
	one("type-link-bad-data", base(func(e *E) { e.Type = "$>"; e.Data = "nonsense" }))
	one("type-metadata-on-plain-stream", base(func(e *E) { e.Type = "$metadata"; e.Data = `{"$maxCount":1}` }))
	one("type-stream-deleted", base(func(e *E) { e.Type = "$streamDeleted"; e.Data = "" }))
	one("nil-id", base(func(e *E) {
		e.UseRawID = true
		e.RawID = wireID("00000000-0000-0000-0000-000000000000")
	}))
	one("no-id", base(func(e *E) { e.UseRawID = true }))
	one("id-unset-value", base(func(e *E) { e.UseRawID = true; e.RawID = &shared.UUID{} }))
	one("id-empty-string", base(func(e *E) { e.UseRawID = true; e.RawID = wireID("") }))
	one("id-garbage", base(func(e *E) { e.UseRawID = true; e.RawID = wireID("not-a-uuid") }))
	one("id-structured", base(func(e *E) { e.Structured = true }))
	one("no-content-type", base(func(e *E) { e.NoCT = true }))
	one("no-type-no-content-type", base(func(e *E) { e.NoCT = true; e.NoType = true }))
	one("empty-content-type", base(func(e *E) { e.CT = "" }))
	one("octet-stream", base(func(e *E) { e.CT = "application/octet-stream"; e.Data = "\x00\x01\xff" }))
	one("text-plain", base(func(e *E) { e.CT = "text/plain" }))
	one("upper-case-content-type", base(func(e *E) { e.CT = "Application/JSON" }))
	one("json-invalid", base(func(e *E) { e.Data = "{nonsense" }))
	one("json-empty", base(func(e *E) { e.Data = "" }))
	one("custom-metadata", base(func(e *E) { e.Custom = `{"who":"me","$correlationId":"c"}` }))
	one("custom-metadata-binary", base(func(e *E) { e.Custom = "\x01\x02\xfe" }))
	one("extra-metadata", base(func(e *E) {
		e.Extra = map[string]string{"extra": "1", "created": "12345", "timestamp": "x"}
	}))
	one("long-type", base(func(e *E) { e.Type = strings.Repeat("t", 2000) }))
}

func init() {
	for _, n := range []string{"", "$sys", "$$meta", "$$$$meta", "a/b", "a b", "ünïcode", "$all", "$$"} {
		add("append", fmt.Sprintf("stream-name/%q", n), func(t *T) {
			s := n
			if n != "" && n != "$all" && n != "$$" {
				s = t.S(n)
			}
			t.Append(s, Any, ev("a"))
			if n != "$all" {
				t.Read(Q{Stream: s, From: End, Back: true, Count: 1, Kinds: n == "" || n == "$$"})
			}
		})
	}
	add("append", "stream-name/long", func(t *T) {
		s := t.S(strings.Repeat("n", 3000))
		t.Do("a stream name of 3000 characters")
		t.appendRaw(t.ctx, appendOptions(s, Any), t.proposed(ev("a")))
	})
}

// Requests that break the protocol.
func init() {
	raw := func(name string, f func(t *T, s string) []*api.AppendReq) {
		add("append", "protocol/"+name, func(t *T) {
			s := t.S("s")
			t.Do("append: %s", name)
			t.appendRaw(t.ctx, f(t, s)...)
			t.Read(Q{Stream: s, From: Start, Count: 10})
		})
	}
	raw("nothing-but-half-close", func(_ *T, _ string) []*api.AppendReq { return nil })
	raw("message-without-options", func(t *T, _ string) []*api.AppendReq {
		return []*api.AppendReq{t.proposed(ev("a"))}
	})
	raw("empty-first-message", func(t *T, s string) []*api.AppendReq {
		return []*api.AppendReq{{}, appendOptions(s, Any), t.proposed(ev("a"))}
	})
	raw("empty-message-after-options", func(t *T, s string) []*api.AppendReq {
		return []*api.AppendReq{appendOptions(s, Any), {}, t.proposed(ev("a"))}
	})
	raw("options-twice", func(t *T, s string) []*api.AppendReq {
		return []*api.AppendReq{appendOptions(s, Any), appendOptions(s, NoStream), t.proposed(ev("a"))}
	})
	raw("options-without-stream", func(t *T, s string) []*api.AppendReq {
		o := appendOptions(s, Any)
		o.GetOptions().StreamIdentifier = nil
		return []*api.AppendReq{o, t.proposed(ev("a"))}
	})
}

// The size limit: the data of all events of an append.
func init() {
	const mib = 1 << 20
	size := func(name string, f func() []E) {
		add("append", "size/"+name, func(t *T) {
			s := t.S("s")
			t.Append(s, NoStream, f()...)
			t.Read(Q{Stream: s, From: Start, Count: 1 << 20, Kinds: true})
			t.Append(s, Any, ev("after"))
		})
	}
	big := func(id string, n int) E { e := ev(id); e.Data = `"` + strings.Repeat("x", n-2) + `"`; return e }
	for _, d := range []int{-1000, -100, -3, -2, -1, 0, 1, 2, 100} {
		size(fmt.Sprintf("one-event-data-1MiB%+d", d), func() []E { return []E{big("a", mib+d)} })
	}
	size("one-event-with-custom-metadata-exact", func() []E {
		e := big("a", mib-2-1000)
		e.Custom = strings.Repeat("m", 1000)
		return []E{e}
	})
	size("one-event-with-custom-metadata-over", func() []E {
		e := big("a", mib-2-1000+1)
		e.Custom = strings.Repeat("m", 1000)
		return []E{e}
	})
	size("16-events-sum-exact", func() []E {
		var r []E
		for i := range 16 {
			r = append(r, big(fmt.Sprint("a", i), mib/16-2))
		}
		return r
	})
	size("16-events-sum-one-over", func() []E {
		var r []E
		for i := range 16 {
			n := mib/16 - 2
			if i == 15 {
				n++
			}
			r = append(r, big(fmt.Sprint("a", i), n))
		}
		return r
	})
	size("5-events-of-512KiB", func() []E {
		var r []E
		for i := range 5 {
			r = append(r, big(fmt.Sprint("a", i), mib/2))
		}
		return r
	})
	size("2000-small-events", func() []E {
		var r []E
		for i := range 2000 {
			r = append(r, ev(fmt.Sprint("a", i)))
		}
		return r
	})
	size("one-event-5MiB", func() []E { return []E{big("a", 5*mib)} })
	size("one-event-17MiB", func() []E { return []E{big("a", 17*mib)} })
}

// Idempotency. The stream holds a, b, c, written one at a time or at once.
func init() {
	idem := func(name string, f func(t *T, s string)) {
		for _, how := range []string{"separately", "at-once"} {
			add("idempotency", name+"/"+how, func(t *T) {
				s := t.S("s")
				t.Do("prepare s with a, b, c written %s", how)
				if how == "at-once" {
					t.Quiet(s, NoStream, evs("a", "b", "c")...)
				} else {
					for _, i := range []string{"a", "b", "c"} {
						t.Quiet(s, Any, ev(i))
					}
				}
				f(t, s)
				t.Read(Q{Stream: s, From: Start, Count: 20, Compat: 0})
			})
		}
	}
	for _, ids := range []string{"a", "b", "c", "ab", "bc", "abc", "ac", "ba", "cd", "abcd", "da", "dab", "dd", "aa", "cc", "cca", "d"} {
		for _, x := range []X{Any, NoStream, Exists, Rev(0), Rev(1), Rev(2), Rev(3), Rev(9)} {
			idem(fmt.Sprintf("%s/%s", ids, x), func(t *T, s string) {
				t.Append(s, x, evs(strings.Split(ids, "")...)...)
			})
		}
	}
	idem("same-id-other-data", func(t *T, s string) {
		e := ev("c")
		e.Data = `{"other":true}`
		t.Append(s, Any, e)
		t.Append(s, Rev(1), e)
	})
	idem("same-id-other-stream", func(t *T, _ string) {
		t.Append(t.S("other"), Any, ev("a"))
		t.Append(t.S("other"), NoStream, ev("a"))
		t.Append(t.S("third"), NoStream, ev("a"))
	})
	idem("repeat-after-soft-delete", func(t *T, s string) {
		t.Delete(s, Any)
		t.Append(s, Any, evs("a", "b", "c")...)
	})
	idem("repeat-after-soft-delete-no-stream", func(t *T, s string) {
		t.Delete(s, Any)
		t.Append(s, NoStream, evs("a", "b", "c")...)
	})
	idem("repeat-after-soft-delete-exact-older", func(t *T, s string) {
		t.Delete(s, Any)
		t.Append(s, Rev(1), evs("c")...)
	})
	idem("repeat-after-truncation", func(t *T, s string) {
		t.Meta(s, Any, `{"$tb":2}`)
		t.Append(s, NoStream, evs("a", "b", "c")...)
		t.Append(s, Any, evs("a")...)
	})
	idem("repeat-after-tombstone", func(t *T, s string) {
		t.Tombstone(s, Any)
		t.Append(s, Any, evs("a")...)
	})
	idem("fresh-stream-same-id-twice", func(t *T, _ string) {
		t.Append(t.S("f1"), Any, evs("d", "d")...)
		t.Append(t.S("f2"), NoStream, evs("e", "e")...)
		t.Append(t.S("f2"), NoStream, evs("e", "e")...)
		t.Append(t.S("f2"), Any, evs("e", "e")...)
		t.Append(t.S("f2"), Any, evs("e")...)
	})
	idem("metadata-repeat", func(t *T, s string) {
		t.Meta(s, NoStream, `{"$maxCount":5}`)
		t.Meta(s, NoStream, `{"$maxCount":5}`)
		t.Meta(s, Any, `{"$maxCount":5}`)
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
	idem("failed-append-then-same-id", func(t *T, s string) {
		t.Append(s, Rev(9), ev("d"))
		t.Append(s, Any, ev("d"))
		t.Append(s, Any, ev("d"))
	})
}
