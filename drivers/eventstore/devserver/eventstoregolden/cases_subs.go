// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

func init() {
	for _, compat := range []int{0, 1} {
		n := fmt.Sprintf("/compat%d", compat)
		addSubscriptionStarts(compat, n)
		addSubscriptionChanges(compat, n)
		addSubscriptionsToAll(compat, n)
	}
	add("subscribe", "cancel", func(t *T) {
		s := t.S("s")
		t.Fill(s, 1)
		u := t.Subscribe(Q{Stream: s, From: Start})
		u.Collect()
		t.Do("cancel")
		u.Close()
		u.Collect()
	})
}

// addSubscriptionStarts adds each way to start, in each state of the stream.
func addSubscriptionStarts(compat int, n string) {
	for _, from := range []P{Start, End, At(0), At(1), At(2), At(3), At(100), NoPoint} {
		add("subscribe", "existing/from-"+from.String()+n, func(t *T) {
			s := t.S("s")
			t.Fill(s, 3)
			u := t.Subscribe(Q{Stream: s, From: from, Compat: compat})
			defer u.Close()
			u.Collect()
			t.Append(s, Any, ev("live1"))
			u.Collect()
			t.Append(s, Any, evs("live2", "live3")...)
			u.Collect()
		})
	}
	for _, from := range []P{Start, End, At(0), At(5)} {
		add("subscribe", "missing-then-created/from-"+from.String()+n, func(t *T) {
			s := t.S("s")
			u := t.Subscribe(Q{Stream: s, From: from, Compat: compat})
			defer u.Close()
			u.Collect()
			t.Append(s, NoStream, evs("a", "b")...)
			u.Collect()
			t.Append(s, Any, ev("c"))
			u.Collect()
		})
	}
	for _, from := range []P{Start, End} {
		add("subscribe", "soft-deleted/from-"+from.String()+n, func(t *T) {
			s := t.S("s")
			t.bring(s, "soft-deleted")
			u := t.Subscribe(Q{Stream: s, From: from, Compat: compat})
			defer u.Close()
			u.Collect()
			t.Append(s, Any, ev("revived"))
			u.Collect()
		})
		add("subscribe", "tombstoned/from-"+from.String()+n, func(t *T) {
			s := t.S("s")
			t.bring(s, "tombstoned")
			u := t.Subscribe(Q{Stream: s, From: from, Compat: compat})
			defer u.Close()
			u.Collect()
		})
	}
}

// addSubscriptionChanges adds what happens to a stream that is subscribed to.
func addSubscriptionChanges(compat int, n string) {
	add("subscribe", "delete-while-subscribed"+n, func(t *T) {
		s := t.S("s")
		t.Fill(s, 2)
		u := t.Subscribe(Q{Stream: s, From: Start, Compat: compat})
		defer u.Close()
		u.Collect()
		t.Delete(s, Any)
		u.Collect()
		t.Append(s, Any, ev("revived"))
		u.Collect()
	})
	add("subscribe", "tombstone-while-subscribed"+n, func(t *T) {
		s := t.S("s")
		t.Fill(s, 2)
		u := t.Subscribe(Q{Stream: s, From: Start, Compat: compat})
		defer u.Close()
		u.Collect()
		t.Tombstone(s, Any)
		u.Collect()
	})
	add("subscribe", "truncated"+n, func(t *T) {
		s := t.S("s")
		t.Fill(s, 5)
		t.Meta(s, Any, `{"$tb":3}`)
		u := t.Subscribe(Q{Stream: s, From: Start, Compat: compat})
		defer u.Close()
		u.Collect()
		t.Meta(s, Any, `{"$maxCount":1}`)
		t.Append(s, Any, evs("a", "b")...)
		u.Collect()
	})
	add("subscribe", "many"+n, func(t *T) {
		s := t.S("s")
		t.Do("prepare s with 300 events")
		for i := range 3 {
			var l []E
			for j := range 100 {
				l = append(l, ev(fmt.Sprint("m", i*100+j)))
			}
			t.Quiet(s, Any, l...)
		}
		u := t.Subscribe(Q{Stream: s, From: At(290), Compat: compat})
		defer u.Close()
		u.Collect()
	})
	add("subscribe", "metadata-stream"+n, func(t *T) {
		s := t.S("s")
		t.Fill(s, 1)
		u := t.Subscribe(Q{Stream: "$$" + s, From: Start, Compat: compat})
		defer u.Close()
		u.Collect()
		t.Meta(s, Any, `{"$maxCount":3}`)
		u.Collect()
		t.Delete(s, Any)
		u.Collect()
	})
	add("subscribe", "resolve-links"+n, func(t *T) {
		s, l := t.S("s"), t.S("l")
		t.Fill(s, 2)
		u := t.Subscribe(Q{Stream: l, From: Start, Links: true, Compat: compat})
		defer u.Close()
		u.Collect()
		e := ev("link")
		e.Type, e.Data = "$>", "1@"+s
		t.Append(l, Any, e)
		u.Collect()
	})
}

// addSubscriptionsToAll adds subscriptions to the whole log, with filters and without.
func addSubscriptionsToAll(compat int, n string) {
	all := func(name string, window, mult uint32, mk func(t *T, w, m uint32) *api.ReadReq_Options_FilterOptions) {
		addSerial("subscribe-all", fmt.Sprintf("%s/window%d-mult%d%s", name, window, mult, n), func(t *T) {
			s := t.S("s")
			t.Do("prepare: position of an event before all others")
			p := t.Quiet(t.S("before"), Any, ev("before")).GetSuccess().GetPosition()
			from := Pos(p.GetCommitPosition(), p.GetPreparePosition(), "before")
			t.Do("prepare: 10 noise events, s: 2 events, 10 noise events")
			noise := func(k string) {
				var l []E
				for j := range 10 {
					l = append(l, ev(fmt.Sprint("noise", k, j)))
				}
				t.Quiet(t.S("noise"), Any, l...)
			}
			noise("A")
			t.Quiet(s, Any, ev("e0"))
			t.Quiet(s, Any, ev("e1"))
			noise("B")
			u := t.Subscribe(Q{All: true, From: from, Filter: mk(t, window, mult), Compat: compat})
			defer u.Close()
			u.Collect()
			t.Do("live: 10 noise events")
			noise("C")
			u.Collect()
			t.Append(s, Any, ev("live"))
			u.Collect()
			t.Do("live: 10 noise events again")
			noise("D")
			u.Collect()
			t.Read(Q{All: true, From: from, Count: 100})
		})
	}
	for _, wm := range [][2]uint32{{1, 1}, {4, 1}, {32, 1}, {2, 3}, {1, 0}, {0, 1}, {0, 2}} {
		all("stream-prefix", wm[0], wm[1], func(t *T, w, m uint32) *api.ReadReq_Options_FilterOptions {
			return streamPrefix(w, m, t.S("s"))
		})
	}
	all("stream-regex", 4, 1, func(t *T, w, m uint32) *api.ReadReq_Options_FilterOptions {
		return streamRegex(w, m, "^s-"+t.tag+"$")
	})
	all("type-prefix", 4, 1, func(_ *T, w, m uint32) *api.ReadReq_Options_FilterOptions {
		return typePrefix(w, m, "no-such-type")
	})
	all("type-regex", 4, 1, func(_ *T, w, m uint32) *api.ReadReq_Options_FilterOptions {
		return typeRegex(w, m, "^T$")
	})
	for _, from := range []string{"end", "position"} {
		addSerial("subscribe-all", "unfiltered/from-"+from+n, func(t *T) {
			s := t.S("s")
			t.Do("prepare s with e0, e1")
			t.Quiet(s, Any, ev("e0"))
			p := t.Quiet(s, Any, ev("e1")).GetSuccess().GetPosition()
			t.Quiet(s, Any, ev("e2"))
			q := Q{All: true, From: End, Compat: compat}
			if from == "position" {
				q.From = Pos(p.GetCommitPosition(), p.GetPreparePosition(), "e1")
			}
			u := t.Subscribe(q)
			defer u.Close()
			u.Collect()
			t.Append(s, Any, evs("live1", "live2")...)
			u.Collect()
			t.Delete(s, Any)
			u.Collect()
			t.Tombstone(s, Any)
			u.Collect()
		})
	}
}
