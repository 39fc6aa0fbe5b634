// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

func streamPrefix(window uint32, mult uint32, p ...string) *api.ReadReq_Options_FilterOptions {
	return filter(&api.ReadReq_Options_FilterOptions{Filter: &api.ReadReq_Options_FilterOptions_StreamIdentifier{
		StreamIdentifier: &api.ReadReq_Options_FilterOptions_Expression{Prefix: p}}}, window, mult)
}

func streamRegex(window uint32, mult uint32, r string) *api.ReadReq_Options_FilterOptions {
	return filter(&api.ReadReq_Options_FilterOptions{Filter: &api.ReadReq_Options_FilterOptions_StreamIdentifier{
		StreamIdentifier: &api.ReadReq_Options_FilterOptions_Expression{Regex: r}}}, window, mult)
}

func typePrefix(window uint32, mult uint32, p ...string) *api.ReadReq_Options_FilterOptions {
	return filter(&api.ReadReq_Options_FilterOptions{Filter: &api.ReadReq_Options_FilterOptions_EventType{
		EventType: &api.ReadReq_Options_FilterOptions_Expression{Prefix: p}}}, window, mult)
}

func typeRegex(window uint32, mult uint32, r string) *api.ReadReq_Options_FilterOptions {
	return filter(&api.ReadReq_Options_FilterOptions{Filter: &api.ReadReq_Options_FilterOptions_EventType{
		EventType: &api.ReadReq_Options_FilterOptions_Expression{Regex: r}}}, window, mult)
}

// filter sets the window (0 = count) and the multiplier.
func filter(f *api.ReadReq_Options_FilterOptions, window, mult uint32) *api.ReadReq_Options_FilterOptions {
	if window == 0 {
		f.Window = &api.ReadReq_Options_FilterOptions_Count{Count: &shared.Empty{}}
	} else {
		f.Window = &api.ReadReq_Options_FilterOptions_Max{Max: window}
	}
	f.CheckpointIntervalMultiplier = mult
	return f
}

func (t *T) readAllWays(s string) {
	for _, c := range []int{0, 1} {
		t.Read(Q{Stream: s, From: Start, Count: 10, Compat: c})
		t.Read(Q{Stream: s, From: End, Back: true, Count: 10, Compat: c})
	}
	t.Read(Q{Stream: s, From: At(1), Count: 2})
	t.Read(Q{Stream: s, From: At(1), Back: true, Count: 10})
}

func init() {
	froms := []P{Start, End, At(0), At(2), At(4), At(5), At(100), At(1<<63 - 1), At(1<<64 - 1), NoPoint}
	for _, back := range []bool{false, true} {
		for _, from := range froms {
			for _, compat := range []int{0, 1} {
				q := Q{Stream: "s", From: from, Back: back, Count: 10, Compat: compat}
				add("read", "from/"+q.String(), func(t *T) {
					q := q
					q.Stream = t.S("s")
					t.Fill(q.Stream, 5)
					t.Read(q)
				})
			}
		}
	}
}

func init() {
	add("read", "counts", func(t *T) {
		s := t.S("s")
		t.Fill(s, 5)
		for _, n := range []uint64{0, 1, 4, 5, 6, 1<<31 - 1, 1 << 32, 1<<63 - 1, 1<<64 - 1} {
			t.Read(Q{Stream: s, From: Start, Count: n, Kinds: true})
			t.Read(Q{Stream: s, From: Start, Count: n, Kinds: true, Compat: 1})
			t.Read(Q{Stream: s, From: End, Back: true, Count: n, Kinds: true, Compat: 1})
		}
		t.Read(Q{Stream: s, From: At(3), Count: 1, Kinds: true, Compat: 1})
		t.Read(Q{Stream: s, From: At(3), Count: 2, Kinds: true, Compat: 1})
	})
	add("read", "compatibility-values", func(t *T) {
		s := t.S("s")
		t.Fill(s, 2)
		for _, c := range []int{0, -1, 1, 2, 21} {
			t.Read(Q{Stream: s, From: Start, Count: 10, Compat: c})
			t.Read(Q{Stream: t.S("missing"), From: Start, Count: 10, Compat: c})
		}
	})
	add("read", "uuid-options", func(t *T) {
		s := t.S("s")
		t.Fill(s, 1)
		for _, u := range []string{"", "structured", "empty", "unset"} {
			t.Read(Q{Stream: s, From: Start, Count: 10, UUID: u})
		}
	})
	add("read", "many-events-in-batches", func(t *T) {
		s := t.S("s")
		t.Do("prepare s with 1000 events")
		for i := range 10 {
			var l []E
			for j := range 100 {
				l = append(l, ev(fmt.Sprint("m", i*100+j)))
			}
			t.Quiet(s, Any, l...)
		}
		t.Read(Q{Stream: s, From: Start, Count: 1<<64 - 1, Kinds: true, Compat: 1})
		t.Read(Q{Stream: s, From: End, Back: true, Count: 1<<64 - 1, Kinds: true, Compat: 1})
		t.Read(Q{Stream: s, From: At(10), Count: 300, Kinds: true, Compat: 1})
	})
	for _, state := range []string{"missing", "soft-deleted", "tombstoned"} {
		add("read", "state/"+state, func(t *T) {
			s := t.S("s")
			t.bring(s, state)
			t.readAllWays(s)
			t.Read(Q{Stream: s, From: End, Count: 10})
			t.Read(Q{Stream: s, From: At(100), Count: 10})
			t.Read(Q{Stream: s, From: Start, Count: 0})
			t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
		})
	}
}

// Reads of truncated and expired streams.
func init() {
	for _, m := range []string{
		`{"$tb":3}`, `{"$tb":0}`, `{"$tb":5}`, `{"$tb":100}`, `{"$maxCount":2}`, `{"$maxCount":1}`, `{"$maxCount":100}`,
		`{"$maxCount":2,"$tb":4}`, `{"$maxCount":4,"$tb":2}`,
		`{"$maxCount":0}`, `{"$maxCount":-1}`, `{"$tb":-1}`, `{"$maxAge":0}`, `{"$maxAge":-1}`, `{"$maxAge":100000}`,
		`{"$maxCount":"2"}`, `{"$tb":9223372036854775807}`, `{"$maxCount":2,"other":{"a":1}}`, `{"$cacheControl":5}`,
	} {
		add("read", "truncated/"+m, func(t *T) {
			s := t.S("s")
			t.Fill(s, 5)
			t.Meta(s, Any, m)
			t.readAllWays(s)
			t.Read(Q{Stream: s, From: Start, Count: 1, Compat: 1})
			t.Append(s, Any, ev("later"))
			t.Read(Q{Stream: s, From: Start, Count: 10})
			t.Read(Q{Stream: "$$" + s, From: Start, Count: 10})
		})
	}
	add("read", "max-age", func(t *T) {
		s := t.S("s")
		t.Meta(s, Any, `{"$maxAge":2}`)
		t.Append(s, Any, evs("a", "b", "c")...)
		t.Read(Q{Stream: s, From: Start, Count: 10})
		t.Do("wait 3 s: all events are expired")
		t.wait(3 * time.Second)
		t.readAllWays(s)
		t.Append(s, Rev(2), ev("d"))
		t.readAllWays(s)
		t.Read(Q{Stream: s, From: Start, Count: 1, Compat: 1})
	})
	add("read", "max-age-then-idempotent-repeat", func(t *T) {
		s := t.S("s")
		t.Meta(s, Any, `{"$maxAge":1}`)
		t.Append(s, Any, evs("a")...)
		t.Do("wait 2.2 s: the event is expired")
		t.wait(2200 * time.Millisecond)
		t.Append(s, NoStream, evs("a")...)
		t.Append(s, Any, evs("a")...)
		t.Append(s, NoStream, evs("b")...)
		t.Read(Q{Stream: s, From: Start, Count: 10})
	})
}

// Requests that ask for nothing, or for what does not exist.
func init() {
	bad := func(name string, f func(q *api.ReadReq_Options)) {
		add("read", "protocol/"+name, func(t *T) {
			s := t.S("s")
			t.Fill(s, 2)
			t.Do("read: %s", name)
			r := Q{Stream: s, From: Start, Count: 10}.req(false)
			f(r.Options)
			t.readRaw(t.ctx, r, Q{Stop: 50})
		})
	}
	bad("no-stream-option", func(o *api.ReadReq_Options) { o.StreamOption = nil })
	bad("no-stream-identifier", func(o *api.ReadReq_Options) { o.GetStream().StreamIdentifier = nil })
	bad("empty-stream-name", func(o *api.ReadReq_Options) { o.GetStream().StreamIdentifier = sid("") })
	bad("no-count-option", func(o *api.ReadReq_Options) { o.CountOption = nil })
	bad("no-filter-option", func(o *api.ReadReq_Options) { o.FilterOption = nil })
	bad("no-uuid-option", func(o *api.ReadReq_Options) { o.UuidOption = nil })
	bad("filter-on-a-stream", func(o *api.ReadReq_Options) {
		o.FilterOption = &api.ReadReq_Options_Filter{Filter: streamPrefix(32, 1, "s")}
	})
	bad("subscription-backwards", func(o *api.ReadReq_Options) {
		o.ReadDirection = api.ReadReq_Options_Backwards
		o.CountOption = &api.ReadReq_Options_Subscription{Subscription: &api.ReadReq_Options_SubscriptionOptions{}}
	})
	bad("direction-7", func(o *api.ReadReq_Options) { o.ReadDirection = 7 })
	add("read", "protocol/no-options", func(t *T) {
		t.Do("read with an empty request")
		t.readRaw(t.ctx, &api.ReadReq{}, Q{})
	})
	add("read", "stream-named-$all", func(t *T) {
		t.Read(Q{Stream: "$all", From: Start, Count: 2, Kinds: true})
	})
}

// three makes a stream of three events and returns their positions.
func three(t *T) (string, []*api.AppendResp_Position) {
	s := t.S("s")
	t.Do("prepare s with e0, e1, e2")
	var ps []*api.AppendResp_Position
	for i := range 3 {
		r := t.Quiet(s, Any, ev(fmt.Sprintf("e%d", i)))
		ps = append(ps, r.GetSuccess().GetPosition())
	}
	return s, ps
}

// at is the position of an event.
func at(p *api.AppendResp_Position, note string) P {
	return Pos(p.GetCommitPosition(), p.GetPreparePosition(), note)
}

// The whole log. Events of other streams are not recorded.
func init() {
	for _, compat := range []int{0, 1} {
		n := fmt.Sprintf("/compat%d", compat)
		addSerial("all", "from-position"+n, func(t *T) {
			_, ps := three(t)
			t.Read(Q{All: true, From: at(ps[0], "e0"), Count: 10, Compat: compat})
			t.Read(Q{All: true, From: at(ps[1], "e1"), Count: 10, Compat: compat})
			t.Read(Q{All: true, From: at(ps[2], "e2"), Count: 1, Compat: compat})
			t.Read(Q{All: true, Back: true, From: at(ps[2], "e2"), Count: 2, Compat: compat})
			t.Read(Q{All: true, Back: true, From: at(ps[1], "e1"), Count: 1, Compat: compat})
			t.Read(Q{All: true, Back: true, From: End, Count: 3, Compat: compat})
			t.Read(Q{All: true, From: End, Count: 10, Compat: compat})
			t.Read(Q{All: true, Back: true, From: Start, Count: 10, Compat: compat})
		})
		addSerial("all", "odd-positions"+n, func(t *T) {
			_, ps := three(t)
			c := ps[1].GetCommitPosition()
			t.Read(Q{All: true, From: Pos(c+1, c+1, "e1 plus 1"), Count: 10, Compat: compat})
			t.Read(Q{All: true, From: Pos(c-1, c-1, "e1 minus 1"), Count: 10, Compat: compat})
			t.Read(Q{All: true, From: Pos(c, c-1, "commit e1, prepare one less"), Count: 10, Compat: compat})
			t.Read(Q{All: true, From: Pos(c-1, c, "commit one less than e1, prepare e1"), Count: 10, Compat: compat})
			t.Read(Q{All: true, Back: true, From: Pos(c+1, c+1, "e1 plus 1"), Count: 1, Compat: compat})
			t.Read(Q{All: true, From: Pos(1<<40, 1<<40, "far beyond the end"), Count: 10, Compat: compat})
			t.Read(Q{All: true, Back: true, From: Pos(1<<40, 1<<40, "far beyond the end"), Count: 1, Compat: compat})
			t.Read(Q{All: true, From: Pos(1<<63-1, 1<<63-1, "max int64"), Count: 10, Compat: compat})
			t.Read(Q{All: true, From: Pos(1<<64-1, 1<<64-1, "max uint64"), Count: 10, Compat: compat})
			t.Read(Q{All: true, From: Pos(0, 0, "zero"), Count: 3, Compat: compat, Kinds: true})
			t.Read(Q{All: true, Back: true, From: Pos(0, 0, "zero"), Count: 3, Compat: compat, Kinds: true})
			t.Read(Q{All: true, From: NoPoint, Count: 3, Compat: compat, Kinds: true})
		})
		addSerial("all", "from-start"+n, func(t *T) {
			three(t)
			t.Read(Q{All: true, From: Start, Count: 3, Compat: compat, Kinds: true})
			t.Read(Q{All: true, From: Start, Count: 0, Compat: compat, Kinds: true})
		})
	}
}

func init() {
	for _, compat := range []int{0, 1} {
		n := fmt.Sprintf("/compat%d", compat)
		addSerial("all", "filtered-reads"+n, func(t *T) {
			s, ps := three(t)
			x := ev("y")
			x.Type = "Other"
			t.Append(t.S("z"), Any, x)
			from := at(ps[0], "e0")
			for _, f := range []*api.ReadReq_Options_FilterOptions{
				streamPrefix(32, 1, s), streamPrefix(32, 1, "nothing", t.S("z")), streamPrefix(32, 1, "no-such"),
				streamRegex(32, 1, "^s-"+t.tag+"$"), streamRegex(32, 1, "("), typePrefix(32, 1, "Oth"), typeRegex(32, 1, "^[^$].*"),
				streamPrefix(0, 1, s), streamPrefix(0, 0, s), streamPrefix(1, 1, t.S("z")), streamPrefix(32, 1),
				filter(&api.ReadReq_Options_FilterOptions{}, 32, 1),
				{Filter: streamPrefix(1, 1, s).Filter},
			} {
				t.Read(Q{All: true, From: from, Count: 10, Filter: f, Compat: compat})
			}
			t.Read(Q{All: true, Back: true, From: End, Count: 2, Filter: streamPrefix(32, 1, s), Compat: compat})
			t.Read(Q{All: true, From: from, Count: 2, Filter: streamPrefix(32, 1, s), Compat: compat})
		})
		addSerial("all", "at-once-and-deleted"+n, func(t *T) {
			s := t.S("s")
			t.Append(s, Any, evs("a", "b", "c")...)
			first := t.Read(Q{Stream: s, From: Start, Count: 1})
			if len(first) == 0 {
				return
			}
			e := first[0].GetEvent().GetEvent()
			from := Pos(e.GetCommitPosition(), e.GetPreparePosition(), "a")
			t.Read(Q{All: true, From: from, Count: 10, Compat: compat})
			t.Delete(s, Any)
			t.Read(Q{All: true, From: from, Count: 10, Compat: compat})
			t.Tombstone(s, Any)
			t.Read(Q{All: true, From: from, Count: 10, Compat: compat})
		})
	}
	addSerial("all", "truncated-streams-are-in-all", func(t *T) {
		s, ps := three(t)
		t.Meta(s, Any, `{"$maxCount":1}`)
		t.Read(Q{All: true, From: at(ps[0], "e0"), Count: 10})
	})
}
