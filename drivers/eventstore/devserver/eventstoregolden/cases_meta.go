// SPDX-License-Identifier: Apache-2.0

package main

// link is an event that points to another.
func link(id, data string) E {
	e := ev(id)
	e.Type, e.Data = "$>", data
	return e
}

func init() {
	add("metadata", "write-read", func(t *T) {
		s := t.S("s")
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
		t.Meta(s, NoStream, `{"$maxCount":5,"mine":"x"}`)
		t.Read(Q{Stream: "$$" + s, From: End, Back: true, Count: 1})
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Meta(s, Rev(0), `{"$maxCount":6}`)
		t.Meta(s, Rev(0), `{"$maxCount":7}`)
		t.Meta(s, NoStream, `{"$maxCount":8}`)
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
		t.Read(Q{Stream: "$$" + s, From: End, Back: true, Count: 10})
		t.Read(Q{Stream: "$$" + s, From: At(0), Count: 10})
		t.Append(s, Exists, ev("a"))
		t.Append(s, NoStream, ev("b"))
	})
	for _, j := range []string{`{nonsense`, ``, `[]`, `null`, `"x"`, `{}`, `{"$maxCount":"many"}`, `{"$tb":1.5}`, `{"$acl":5}`, `{"$acl":{"$r":"nobody"}}`,
		`{"$acl":{"$r":"nobody","$w":"nobody","$d":"nobody","$mr":"nobody","$mw":"nobody"}}`, `{"$maxAge":"PT2S"}`} {
		add("metadata", "json/"+j, func(t *T) {
			s := t.S("s")
			t.Fill(s, 3)
			t.Meta(s, Any, j)
			t.Read(Q{Stream: s, From: Start, Count: 10})
			t.Read(Q{Stream: s, From: End, Back: true, Count: 10})
			t.Append(s, Any, ev("a"))
			t.Append(s, Rev(3), ev("b"))
			t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
			t.Meta(s, Any, `{"$maxCount":1}`)
			t.Read(Q{Stream: s, From: Start, Count: 10})
			t.Delete(s, Any)
			t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
		})
	}
	add("metadata", "other-event-type-in-metadata-stream", func(t *T) {
		s := t.S("s")
		t.Fill(s, 3)
		e := ev("a")
		e.Data = `{"$maxCount":1}`
		t.Append("$$"+s, Any, e)
		t.Read(Q{Stream: s, From: Start, Count: 10})
	})
	add("metadata", "content-type-octet-stream", func(t *T) {
		s := t.S("s")
		t.Fill(s, 3)
		e := ev("a")
		e.Type, e.CT, e.Data = "$metadata", "application/octet-stream", `{"$maxCount":1}`
		t.Append("$$"+s, Any, e)
		t.Read(Q{Stream: s, From: Start, Count: 10})
	})
}

func init() {
	add("metadata", "several-at-once", func(t *T) {
		s := t.S("s")
		t.Fill(s, 4)
		a, b := ev("a"), ev("b")
		a.Type, a.Data = "$metadata", `{"$maxCount":1}`
		b.Type, b.Data = "$metadata", `{"$maxCount":3}`
		t.Append("$$"+s, Any, a, b)
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
	add("metadata", "of-metadata-stream", func(t *T) {
		s := t.S("s")
		t.Meta("$$"+s, Any, `{"$maxCount":3}`)
		t.Meta(s, Any, `{"a":1}`)
		t.Delete("$$"+s, Any)
		t.Tombstone("$$"+s, Any)
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
	add("metadata", "of-tombstoned", func(t *T) {
		s := t.S("s")
		t.bring(s, "tombstoned")
		t.Meta(s, Any, `{"$maxCount":3}`)
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
	add("metadata", "tb-lowered", func(t *T) {
		s := t.S("s")
		t.Fill(s, 5)
		t.Meta(s, Any, `{"$tb":4}`)
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Meta(s, Any, `{"$tb":1}`)
		t.Read(Q{Stream: s, From: Start, Count: 10})
	})
	add("metadata", "tb-max-is-soft-delete", func(t *T) {
		s := t.S("s")
		t.Fill(s, 2)
		t.Meta(s, Any, `{"$tb":9223372036854775807}`)
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Append(s, Exists, ev("x"))
		t.Append(s, NoStream, ev("y"))
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
}

func init() {
	xs := []X{Any, NoStream, Exists, Rev(0), Rev(2), Rev(7), Unset}
	for _, state := range []string{"missing", "existing", "soft-deleted", "tombstoned"} {
		for _, x := range xs {
			add("delete", state+"/delete/"+x.String(), func(t *T) {
				s := t.S("s")
				t.bring(s, state)
				t.Delete(s, x)
				t.Read(Q{Stream: s, From: Start, Count: 10})
				t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
			})
			add("delete", state+"/tombstone/"+x.String(), func(t *T) {
				s := t.S("s")
				t.bring(s, state)
				t.Tombstone(s, x)
				t.Read(Q{Stream: s, From: Start, Count: 10})
				t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
			})
		}
	}
	for _, x := range []X{Any, NoStream, Rev(2)} {
		add("delete", "revive/"+x.String(), func(t *T) {
			s := t.S("s")
			t.Fill(s, 3)
			t.Meta(s, Any, `{"$maxCount":50,"mine":1}`)
			t.Delete(s, Rev(2))
			t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
			t.Append(s, x, evs("r1", "r2")...)
			t.Read(Q{Stream: s, From: Start, Count: 10})
			t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
			t.Append(s, Rev(4), ev("r3"))
			t.Delete(s, Any)
			t.Append(s, NoStream, ev("r4"))
			t.Read(Q{Stream: s, From: Start, Count: 10})
			t.Read(Q{Stream: s, From: End, Back: true, Count: 10})
			t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
		})
	}
	add("delete", "metadata-written-after-delete", func(t *T) {
		s := t.S("s")
		t.bring(s, "soft-deleted")
		t.Meta(s, Any, `{"$maxCount":10}`)
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
	add("delete", "metadata-only-stream", func(t *T) {
		s := t.S("s")
		t.Meta(s, Any, `{"$maxCount":10}`)
		t.Delete(s, Any)
		t.Delete(s, NoStream)
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
	add("delete", "after-tombstone-everything", func(t *T) {
		s := t.S("s")
		t.bring(s, "tombstoned")
		t.Append(s, Any, ev("a"))
		t.Append(s, NoStream, ev("b"))
		t.Append(s, Any, ev("e0"))
		t.Delete(s, Any)
		t.Tombstone(s, Any)
		t.Meta(s, Any, `{}`)
	})
	add("delete", "tombstone-with-metadata", func(t *T) {
		s := t.S("s")
		t.Fill(s, 2)
		t.Meta(s, Any, `{"$maxCount":10}`)
		t.Tombstone(s, Rev(1))
		t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
	})
}

func init() {
	add("links", "resolved-and-not", func(t *T) {
		s, l := t.S("s"), t.S("l")
		t.Fill(s, 3)
		t.Append(l, Any, link("l0", "0@"+s), link("l1", "2@"+s), link("l2", "9@"+s), link("l3", "0@"+t.S("nowhere")), link("l4", "garbage"), ev("plain"), link("l6", "-1@"+s), link("l7", "1@"), link("l8", "0@"+l))
		for _, r := range []bool{false, true} {
			t.Read(Q{Stream: l, From: Start, Count: 20, Links: r})
			t.Read(Q{Stream: l, From: End, Back: true, Count: 20, Links: r})
		}
		t.Read(Q{Stream: l, From: Start, Count: 2, Links: true, Compat: 1})
	})
	add("links", "to-deleted-and-truncated", func(t *T) {
		a, b, c, l := t.S("a"), t.S("b"), t.S("c"), t.S("l")
		t.Do("prepare a, b, c")
		for i, s := range []string{a, b, c} {
			t.Quiet(s, Any, evs([]string{"a0", "b0", "c0"}[i], []string{"a1", "b1", "c1"}[i])...)
		}
		t.Append(l, Any, link("l0", "0@"+a), link("l1", "0@"+b), link("l2", "0@"+c), link("l3", "1@"+c))
		t.Delete(a, Any)
		t.Tombstone(b, Any)
		t.Meta(c, Any, `{"$tb":1}`)
		t.Read(Q{Stream: l, From: Start, Count: 20, Links: true})
	})
	add("links", "link-to-link", func(t *T) {
		s, l, m := t.S("s"), t.S("l"), t.S("m")
		t.Fill(s, 1)
		t.Append(l, Any, link("l0", "0@"+s))
		t.Append(m, Any, link("m0", "0@"+l))
		t.Read(Q{Stream: m, From: Start, Count: 20, Links: true})
	})
	addSerial("links", "in-all", func(t *T) {
		s, l := t.S("s"), t.S("l")
		r := t.Append(s, Any, ev("a"))
		p := r.GetSuccess().GetPosition()
		t.Append(l, Any, link("l0", "0@"+s))
		t.Read(Q{All: true, From: Pos(p.GetCommitPosition(), p.GetPreparePosition(), "a"), Count: 10, Links: true})
		t.Read(Q{All: true, Back: true, From: End, Count: 1, Links: true})
	})
	add("links", "custom-metadata-and-json", func(t *T) {
		s, l := t.S("s"), t.S("l")
		t.Fill(s, 1)
		e := link("l0", "0@"+s)
		e.Custom = `{"x":1}`
		e.CT = "application/octet-stream"
		t.Append(l, Any, e)
		t.Read(Q{Stream: l, From: Start, Count: 20, Links: true})
	})
}
