// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Batch is an open BatchAppend call.
type Batch struct {
	t  *T
	st api.Streams_BatchAppendClient
	ch chan *api.BatchAppendResp
	er chan error
}

func (t *T) OpenBatch() *Batch { return t.openBatch(t.ctx) }

func (t *T) openBatch(ctx context.Context) *Batch {
	st, err := t.streams.BatchAppend(ctx)
	b := &Batch{t: t, st: st, ch: make(chan *api.BatchAppendResp, 1024), er: make(chan error, 1)}
	if err != nil {
		b.er <- err
		return b
	}
	go func() {
		for {
			m, err := st.Recv()
			if err != nil {
				b.er <- err
				return
			}
			b.ch <- m
		}
	}()
	return b
}

// BR describes one BatchAppend request.
type BR struct {
	Corr     string
	NoCorr   bool
	Stream   string // empty: no options in this message
	X        X
	Deadline *durationpb.Duration
	Events   []E
	Final    bool
}

func (t *T) batchReq(r BR) *api.BatchAppendReq {
	q := &api.BatchAppendReq{IsFinal: r.Final}
	if !r.NoCorr {
		q.CorrelationId = wireID(t.ID("corr-" + r.Corr))
	}
	if r.Stream != "" {
		o := &api.BatchAppendReq_Options{StreamIdentifier: sid(r.Stream)}
		switch r.X.kind {
		case "any":
			o.ExpectedStreamPosition = &api.BatchAppendReq_Options_Any{Any: &emptypb.Empty{}}
		case "no-stream":
			o.ExpectedStreamPosition = &api.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}
		case "stream-exists":
			o.ExpectedStreamPosition = &api.BatchAppendReq_Options_StreamExists{StreamExists: &emptypb.Empty{}}
		case "exact":
			o.ExpectedStreamPosition = &api.BatchAppendReq_Options_StreamPosition{StreamPosition: r.X.rev}
		}
		if r.Deadline != nil {
			o.DeadlineOption = &api.BatchAppendReq_Options_Deadline{Deadline: r.Deadline}
		}
		q.Options = o
	}
	for _, e := range r.Events {
		id, md := t.parts(e)
		q.ProposedMessages = append(q.ProposedMessages, &api.BatchAppendReq_ProposedMessage{
			Id: id, Metadata: md, Data: []byte(e.Data), CustomMetadata: []byte(e.Custom)})
	}
	return q
}

// Send sends requests in order.
func (b *Batch) Send(rs ...BR) {
	for _, r := range rs {
		var d []string
		for _, e := range r.Events {
			d = append(d, e.String())
		}
		opt := ""
		if r.Stream != "" {
			opt = fmt.Sprintf(" options(%s expected=%s", r.Stream, r.X)
			if r.Deadline != nil {
				opt += " deadline=" + r.Deadline.AsDuration().String()
			}
			opt += ")"
		}
		b.t.Do("batch-append corr=%s%s [%s] final=%v", r.Corr, opt, strings.Join(d, "; "), r.Final)
		if b.st == nil {
			continue
		}
		if err := b.st.Send(b.t.batchReq(r)); err != nil && !errors.Is(err, io.EOF) {
			b.t.SeeErr(err, b.st.Trailer())
		}
	}
}

// Collect records answers in the order of their arrival until none has come for the idle time.
func (b *Batch) Collect() {
	for {
		select {
		case m := <-b.ch:
			b.t.See("%s", b.t.R(m))
			continue
		default:
		}
		select {
		case m := <-b.ch:
			b.t.See("%s", b.t.R(m))
		case err := <-b.er:
			for len(b.ch) > 0 {
				b.t.See("%s", b.t.R(<-b.ch))
			}
			var tr metadata.MD
			if b.st != nil {
				tr = b.st.Trailer()
			}
			if errors.Is(err, io.EOF) {
				b.t.See("call ended trailers=%s", b.t.md(tr))
			} else {
				b.t.SeeErr(err, tr)
			}
			b.er <- io.EOF
			return
		case <-time.After(b.t.cfg.Idle):
			return
		}
	}
}

// HalfClose closes the sending side.
func (b *Batch) HalfClose() {
	b.t.Do("half-close")
	if b.st != nil {
		_ = b.st.CloseSend()
	}
}
