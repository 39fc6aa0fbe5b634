// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
)

// batch adds a case about one BatchAppend call and the stream s.
func batch(name string, f func(t *T, b *Batch, s string)) {
	add("batch", name, func(t *T) {
		s := t.S("s")
		b := t.OpenBatch()
		f(t, b, s)
		b.Collect()
		b.HalfClose()
		b.Collect()
		t.Read(Q{Stream: s, From: Start, Count: 50})
	})
}

func init() {
	for _, x := range []X{Any, NoStream, Exists, Rev(0), Rev(2), Rev(7), Unset} {
		for _, state := range []string{"missing", "existing", "soft-deleted", "tombstoned"} {
			batch("expected/"+state+"/"+x.String(), func(t *T, b *Batch, s string) {
				t.bring(s, state)
				b.Send(BR{Corr: "1", Stream: s, X: x, Events: evs("a", "b"), Final: true})
			})
		}
	}
	batch("interleaved", func(t *T, b *Batch, s string) {
		u := t.S("u")
		b.Send(BR{Corr: "1", Stream: s, X: Any, Events: evs("a")}, BR{Corr: "2", Stream: u, X: NoStream, Events: evs("x")},
			BR{Corr: "1", Events: evs("b")}, BR{Corr: "2", Events: evs("y"), Final: true})
		b.Collect()
		b.Send(BR{Corr: "1", Events: evs("c"), Final: true})
		b.Collect()
		t.Read(Q{Stream: u, From: Start, Count: 50})
	})
	batch("two-writes-same-correlation", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Events: evs("a"), Final: true})
		b.Collect()
		b.Send(BR{Corr: "1", Stream: s, X: Rev(0), Events: evs("b"), Final: true})
	})
	batch("error-does-not-end-the-call", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Rev(5), Events: evs("a"), Final: true})
		b.Collect()
		b.Send(BR{Corr: "2", Stream: s, X: Any, Events: evs("b"), Final: true})
	})
	batch("chunks-final-without-events", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Events: evs("a", "b")}, BR{Corr: "1", Events: evs("c")}, BR{Corr: "1", Final: true})
	})
	batch("options-repeated-in-chunk", func(t *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Events: evs("a")}, BR{Corr: "1", Stream: t.S("other"), X: Rev(4), Events: evs("b"), Final: true})
	})
	batch("empty", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Final: true})
	})
	batch("empty-wrong-version", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Rev(3), Final: true})
	})
}

// Writes that do not end as they should.
func init() {
	batch("never-final", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Events: evs("a")})
	})
	batch("without-options", func(_ *T, b *Batch, _ string) {
		b.Send(BR{Corr: "1", Events: evs("a"), Final: true})
	})
	batch("without-correlation", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "none", NoCorr: true, Stream: s, X: Any, Events: evs("a"), Final: true})
	})
	batch("deadline-zero", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Deadline: durationpb.New(0), Events: evs("a"), Final: true})
	})
	batch("deadline-5s", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Deadline: durationpb.New(5 * time.Second), Events: evs("a"), Final: true})
	})
	batch("deadline-passes-before-final", func(t *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: Any, Deadline: durationpb.New(300 * time.Millisecond), Events: evs("a")})
		t.wait(time.Second)
		b.Collect()
		b.Send(BR{Corr: "1", Events: evs("b"), Final: true})
	})
	badEvents := map[string]func(*E){
		"no-type":         func(e *E) { e.NoType = true },
		"no-content-type": func(e *E) { e.NoCT = true },
		"nil-id":          func(e *E) { e.UseRawID = true; e.RawID = wireID("00000000-0000-0000-0000-000000000000") },
		"no-id":           func(e *E) { e.UseRawID = true },
		"too-big":         func(e *E) { e.Data = strings.Repeat("x", 1<<20) },
	}
	for _, name := range slices.Sorted(maps.Keys(badEvents)) {
		f := badEvents[name]
		batch("bad-event/"+name, func(_ *T, b *Batch, s string) {
			e := ev("a")
			f(&e)
			e.Note = "(" + name + ")"
			b.Send(BR{Corr: "1", Stream: s, X: Any, Events: []E{e}, Final: true})
			b.Collect()
			b.Send(BR{Corr: "2", Stream: s, X: Any, Events: evs("after"), Final: true})
		})
	}
	batch("idempotent", func(_ *T, b *Batch, s string) {
		for _, x := range []X{Any, Any, NoStream, Rev(1)} {
			b.Send(BR{Corr: "1", Stream: s, X: x, Events: evs("a", "b"), Final: true})
			b.Collect()
		}
	})
	batch("pipelined-to-one-stream", func(_ *T, b *Batch, s string) {
		b.Send(BR{Corr: "1", Stream: s, X: NoStream, Events: evs("a"), Final: true}, BR{Corr: "2", Stream: s, X: Rev(0), Events: evs("b"), Final: true},
			BR{Corr: "3", Stream: s, X: Rev(1), Events: evs("c"), Final: true})
	})
}

// Persistent subscriptions, a small set.
func init() {
	add("persistent", "create-read-ack", func(t *T) {
		s := t.S("s")
		t.Fill(s, 3)
		create := func() {
			t.Do("create group g on s from start")
			var tr metadata.MD
			_, err := t.pers.Create(t.ctx, &persistent.CreateReq{Options: &persistent.CreateReq_Options{
				StreamOption: &persistent.CreateReq_Options_Stream{Stream: &persistent.CreateReq_StreamOptions{
					StreamIdentifier: sid(s), RevisionOption: &persistent.CreateReq_StreamOptions_Start{Start: &shared.Empty{}}}},
				StreamIdentifier: sid(s), //nolint:staticcheck // what released clients send
				GroupName:        "g",
				Settings: &persistent.CreateReq_Settings{MaxRetryCount: 10, MinCheckpointCount: 1, MaxCheckpointCount: 10, LiveBufferSize: 500,
					ReadBatchSize: 20, HistoryBufferSize: 500, ConsumerStrategy: "RoundRobin",
					MessageTimeout:  &persistent.CreateReq_Settings_MessageTimeoutMs{MessageTimeoutMs: 30000},
					CheckpointAfter: &persistent.CreateReq_Settings_CheckpointAfterMs{CheckpointAfterMs: 200}},
			}}, grpc.Trailer(&tr))
			t.SeeErr(err, tr)
		}
		create()
		create()
		t.Do("read group g, acknowledge e0")
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		st, err := t.pers.Read(ctx)
		if err != nil {
			t.SeeErr(err, nil)
			return
		}
		_ = st.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: &persistent.ReadReq_Options{
			StreamOption: &persistent.ReadReq_Options_StreamIdentifier{StreamIdentifier: sid(s)},
			GroupName:    "g", BufferSize: 10,
			UuidOption: &persistent.ReadReq_Options_UUIDOption{Content: &persistent.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}}}}})
		for i := range 4 {
			m, err := st.Recv()
			if err != nil {
				t.SeeErr(err, st.Trailer())
				break
			}
			t.See("%s", t.R(m))
			if e := m.GetEvent(); e != nil && i == 1 {
				_ = st.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Ack_{Ack: &persistent.ReadReq_Ack{
					Id: []byte(s + "::g"), Ids: []*shared.UUID{e.GetEvent().GetId()}}}})
			}
		}
		cancel()
		t.wait(500 * time.Millisecond)
		t.Do("delete group g twice")
		for range 2 {
			var tr metadata.MD
			_, err := t.pers.Delete(t.ctx, &persistent.DeleteReq{Options: &persistent.DeleteReq_Options{
				StreamOption: &persistent.DeleteReq_Options_StreamIdentifier{StreamIdentifier: sid(s)}, GroupName: "g"}}, grpc.Trailer(&tr))
			t.SeeErr(err, tr)
		}
	})
	add("persistent", "read-missing-group", func(t *T) {
		t.Do("read group nope")
		st, err := t.pers.Read(t.ctx)
		if err != nil {
			t.SeeErr(err, nil)
			return
		}
		_ = st.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: &persistent.ReadReq_Options{
			StreamOption: &persistent.ReadReq_Options_StreamIdentifier{StreamIdentifier: sid(t.S("s"))},
			GroupName:    "nope", BufferSize: 10,
			UuidOption: &persistent.ReadReq_Options_UUIDOption{Content: &persistent.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}}}}})
		_, err = st.Recv()
		t.SeeErr(err, st.Trailer())
		t.Do("get info of group nope")
		var tr metadata.MD
		_, err = t.pers.GetInfo(t.ctx, &persistent.GetInfoReq{Options: &persistent.GetInfoReq_Options{
			StreamOption: &persistent.GetInfoReq_Options_StreamIdentifier{StreamIdentifier: sid(t.S("s"))}, GroupName: "nope"}}, grpc.Trailer(&tr))
		t.SeeErr(err, tr)
	})
}

// Deadlines.
func init() {
	add("deadline", "append-held-open", func(t *T) {
		s := t.S("s")
		t.Do("append: options and one event, no half-close, deadline 500 ms")
		ctx, cancel := context.WithTimeout(t.ctx, 500*time.Millisecond)
		defer cancel()
		st, err := t.streams.Append(ctx)
		if err == nil {
			_ = st.Send(appendOptions(s, Any))
			_ = st.Send(t.proposed(ev("a")))
			err = st.RecvMsg(&shared.Empty{})
		}
		t.SeeErr(err, nil)
		t.wait(300 * time.Millisecond)
		t.Read(Q{Stream: s, From: Start, Count: 10})
	})
	add("deadline", "append-cancelled-before-half-close", func(t *T) {
		s := t.S("s")
		t.Do("append: options and one event, then cancel")
		ctx, cancel := context.WithCancel(t.ctx)
		st, err := t.streams.Append(ctx)
		if err == nil {
			_ = st.Send(appendOptions(s, Any))
			_ = st.Send(t.proposed(ev("a")))
			t.wait(100 * time.Millisecond)
		}
		cancel()
		t.wait(500 * time.Millisecond)
		t.Read(Q{Stream: s, From: Start, Count: 10})
	})
	add("deadline", "subscription-with-deadline", func(t *T) {
		s := t.S("s")
		t.Fill(s, 1)
		old := t.ctx
		ctx, cancel := context.WithTimeout(t.ctx, 300*time.Millisecond)
		defer cancel()
		t.ctx = ctx
		u := t.Subscribe(Q{Stream: s, From: Start})
		t.ctx = old
		u.Collect()
	})
	add("deadline", "already-passed", func(t *T) {
		s := t.S("s")
		t.Do("append with a deadline that has passed")
		ctx, cancel := context.WithTimeout(t.ctx, time.Nanosecond)
		defer cancel()
		t.appendRaw(ctx, appendOptions(s, Any), t.proposed(ev("a")))
		t.Read(Q{Stream: s, From: Start, Count: 10})
	})
}
