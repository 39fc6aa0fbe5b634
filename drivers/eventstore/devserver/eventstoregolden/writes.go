// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Append sends options, one message per event, and closes its side.
func (t *T) Append(s string, x X, es ...E) *api.AppendResp {
	var d []string
	for _, e := range es {
		d = append(d, e.String())
	}
	if len(d) > 6 {
		d = append(d[:2], fmt.Sprintf("... %d events in all", len(es)))
	}
	t.Do("append %s expected=%s [%s]", s, x, strings.Join(d, "; "))
	reqs := []*api.AppendReq{appendOptions(s, x)}
	for _, e := range es {
		reqs = append(reqs, t.proposed(e))
	}
	return t.appendRaw(t.ctx, reqs...)
}

func (t *T) appendRaw(ctx context.Context, reqs ...*api.AppendReq) *api.AppendResp {
	st, err := t.streams.Append(ctx)
	if err != nil {
		t.SeeErr(err, nil)
		return nil
	}
	for _, r := range reqs {
		if err := st.Send(r); err != nil {
			if !errors.Is(err, io.EOF) {
				t.SeeErr(err, st.Trailer())
				return nil
			}
			break
		}
	}
	resp, err := st.CloseAndRecv()
	if err != nil {
		t.SeeErr(err, st.Trailer())
		return nil
	}
	t.See("%s trailers=%s", t.R(resp), t.md(st.Trailer()))
	return resp
}

// Quiet appends without recording anything, as preparation.
func (t *T) Quiet(s string, x X, es ...E) *api.AppendResp {
	st, err := t.streams.Append(t.ctx)
	if err == nil {
		_ = st.Send(appendOptions(s, x))
		for _, e := range es {
			_ = st.Send(t.proposed(e))
		}
		var r *api.AppendResp
		if r, err = st.CloseAndRecv(); err == nil && r.GetSuccess() != nil {
			return r
		}
		if err == nil {
			err = fmt.Errorf("%v", t.R(r))
		}
	}
	t.See("preparation failed: %v", err)
	return nil
}

// Fill prepares a stream with the events e0 … e(n-1), one append each.
func (t *T) Fill(s string, n int) {
	t.Do("prepare %s with %d events", s, n)
	for i := range n {
		t.Quiet(s, Any, ev(fmt.Sprintf("e%d", i)))
	}
}

// Delete soft-deletes a stream.
func (t *T) Delete(s string, x X) {
	t.Do("delete %s expected=%s", s, x)
	o := &api.DeleteReq_Options{StreamIdentifier: sid(s)}
	switch x.kind {
	case "any":
		o.ExpectedStreamRevision = &api.DeleteReq_Options_Any{Any: &shared.Empty{}}
	case "no-stream":
		o.ExpectedStreamRevision = &api.DeleteReq_Options_NoStream{NoStream: &shared.Empty{}}
	case "stream-exists":
		o.ExpectedStreamRevision = &api.DeleteReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	case "exact":
		o.ExpectedStreamRevision = &api.DeleteReq_Options_Revision{Revision: x.rev}
	}
	var tr metadata.MD
	r, err := t.streams.Delete(t.ctx, &api.DeleteReq{Options: o}, grpc.Trailer(&tr))
	if err != nil {
		t.SeeErr(err, tr)
		return
	}
	t.See("%s trailers=%s", t.R(r), t.md(tr))
}

// Tombstone deletes a stream for ever.
func (t *T) Tombstone(s string, x X) {
	t.Do("tombstone %s expected=%s", s, x)
	o := &api.TombstoneReq_Options{StreamIdentifier: sid(s)}
	switch x.kind {
	case "any":
		o.ExpectedStreamRevision = &api.TombstoneReq_Options_Any{Any: &shared.Empty{}}
	case "no-stream":
		o.ExpectedStreamRevision = &api.TombstoneReq_Options_NoStream{NoStream: &shared.Empty{}}
	case "stream-exists":
		o.ExpectedStreamRevision = &api.TombstoneReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	case "exact":
		o.ExpectedStreamRevision = &api.TombstoneReq_Options_Revision{Revision: x.rev}
	}
	var tr metadata.MD
	r, err := t.streams.Tombstone(t.ctx, &api.TombstoneReq{Options: o}, grpc.Trailer(&tr))
	if err != nil {
		t.SeeErr(err, tr)
		return
	}
	t.See("%s trailers=%s", t.R(r), t.md(tr))
}

// Meta writes stream metadata.
func (t *T) Meta(s string, x X, json string) {
	e := ev("meta:" + json)
	e.Type, e.Data = "$metadata", json
	t.Append("$$"+s, x, e)
}
