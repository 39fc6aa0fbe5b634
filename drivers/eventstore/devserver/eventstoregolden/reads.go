// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

func kind(m *api.ReadResp) string {
	switch m.GetContent().(type) {
	case *api.ReadResp_Event:
		return "event"
	case *api.ReadResp_Confirmation:
		return "confirmation"
	case *api.ReadResp_Checkpoint_:
		return "checkpoint"
	case *api.ReadResp_StreamNotFound_:
		return "stream_not_found"
	case *api.ReadResp_FirstStreamPosition:
		return "first_stream_position"
	case *api.ReadResp_LastStreamPosition:
		return "last_stream_position"
	case *api.ReadResp_LastAllStreamPosition:
		return "last_all_stream_position"
	case *api.ReadResp_CaughtUp_:
		return "caught_up"
	case *api.ReadResp_FellBehind_:
		return "fell_behind"
	}
	return "unset"
}

func streamOf(m *api.ReadResp) string {
	e := m.GetEvent()
	if e == nil {
		return ""
	}
	return string(e.GetEvent().GetStreamIdentifier().GetStreamName()) + " " +
		string(e.GetLink().GetStreamIdentifier().GetStreamName())
}

// foreign tells whether a message is an event of somebody else's stream.
func (t *T) foreign(m *api.ReadResp) bool { return m.GetEvent() != nil && !t.mine(streamOf(m)) }

// Read reads to the end and records every message, except events of other cases.
func (t *T) Read(q Q) []*api.ReadResp {
	t.Do("read %s", q)
	return t.readRaw(t.ctx, q.req(false), q)
}

func (t *T) readRaw(ctx context.Context, req *api.ReadReq, q Q) []*api.ReadResp {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := t.streams.Read(ctx, req)
	if err != nil {
		t.SeeErr(err, nil)
		return nil
	}
	var got []*api.ReadResp
	lastKind, run := "", 0
	flush := func() {
		if run > 0 {
			t.See("%s x%d", lastKind, run)
		}
		run = 0
	}
	for {
		m, err := st.Recv()
		if errors.Is(err, io.EOF) {
			flush()
			t.See("end trailers=%s", t.md(st.Trailer()))
			return got
		}
		if err != nil {
			flush()
			t.SeeErr(err, st.Trailer())
			return got
		}
		got = append(got, m)
		switch {
		case q.Kinds:
			if k := kind(m); k != lastKind {
				flush()
				lastKind = k
			}
			run++
		case !t.foreign(m):
			t.See("%s", t.R(m))
		}
		if q.Stop > 0 && len(got) >= q.Stop {
			flush()
			t.See("stopped reading")
			return got
		}
	}
}
