// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/driver"
)

// within runs one call on the session of the leader, bounded by call_timeout.
func (h *handle) within(caller context.Context, call func(ctx context.Context, s *session) error) error {
	s, err := h.acquire(caller)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(caller, time.Duration(h.config.CallTimeout))
	defer cancel()
	defer h.watch(s)()
	if err := call(ctx, s); err != nil {
		return err
	}
	s.hear()
	return nil
}

// expectation is the revision that an append wants to find.
type expectation func(*streams.AppendReq_Options)

func anyRevision(o *streams.AppendReq_Options) {
	o.ExpectedStreamRevision = &streams.AppendReq_Options_Any{Any: &shared.Empty{}}
}

func noStream(o *streams.AppendReq_Options) {
	o.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{NoStream: &shared.Empty{}}
}

func exactly(revision uint64) expectation {
	return func(o *streams.AppendReq_Options) {
		o.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: revision}
	}
}

// wrongRevision is the error of an append that found another revision than it
// expected; it wrote nothing.
type wrongRevision struct {
	revision uint64 // the last of the stream
	exists   bool
}

func (w *wrongRevision) Error() string {
	return fmt.Sprintf("the stream is at another revision than expected: %d (exists: %t)", w.revision, w.exists)
}

// append writes events at the end of a stream, all or none: the server does so
// only once all have been sent. The error is a *wrongRevision or has a class.
func (h *handle) append(caller context.Context, stream string, expect expectation, events []frame) error {
	return h.within(caller, func(ctx context.Context, s *session) error {
		call, err := s.streams.Append(ctx, grpc.ForceCodecV2(newFrameCodec()))
		if err != nil {
			return h.failed(caller, ctx, s, classify(err, nil, false), false)
		}
		options := &streams.AppendReq_Options{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}}
		expect(options)
		err = call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: options}})
		for i := 0; err == nil && i < len(events); i++ {
			err = call.SendMsg(&events[i])
		}
		if errors.Is(err, io.EOF) { // the call has ended: why, comes as its answer
			err = call.RecvMsg(new(streams.AppendResp))
		}
		if err != nil {
			return h.failed(caller, ctx, s, classify(err, call.Trailer(), false), false)
		}
		resp, err := call.CloseAndRecv()
		if err != nil {
			return h.failed(caller, ctx, s, classify(err, call.Trailer(), true), true)
		}
		if wrong := resp.GetWrongExpectedVersion(); wrong != nil {
			_, exists := wrong.GetCurrentRevisionOption().(*streams.AppendResp_WrongExpectedVersion_CurrentRevision)
			return &wrongRevision{revision: wrong.GetCurrentRevision(), exists: exists}
		}
		return nil
	})
}

// page is what a read found.
type page struct {
	events []*streams.ReadResp_ReadEvent_RecordedEvent
	// missing: there is no such stream, or it was deleted.
	missing bool
	// last is the revision of the last event ever written, where the page says so.
	last  uint64
	known bool
}

// from says where and which way a read goes.
type from func(*streams.ReadReq_Options, *streams.ReadReq_Options_StreamOptions)

func forwardsFromStart(o *streams.ReadReq_Options, s *streams.ReadReq_Options_StreamOptions) {
	o.ReadDirection = streams.ReadReq_Options_Forwards
	s.RevisionOption = &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}
}

func backwardsFromEnd(o *streams.ReadReq_Options, s *streams.ReadReq_Options_StreamOptions) {
	o.ReadDirection = streams.ReadReq_Options_Backwards
	s.RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
}

// readOptions returns what reads and subscriptions of a stream have in common.
func readOptions(stream string, where from) *streams.ReadReq_Options {
	in := &streams.ReadReq_Options_StreamOptions{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}}
	o := &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_Stream{Stream: in},
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		// A server that is not told how ids are wanted never answers.
		UuidOption: &streams.ReadReq_Options_UUIDOption{
			Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}},
		},
		ControlOption: &streams.ReadReq_Options_ControlOption{Compatibility: 1},
	}
	where(o, in)
	return o
}

// readOne reads the first event that there is from a place on.
func (h *handle) readOne(caller context.Context, stream string, where from) (page, error) {
	var p page
	err := h.within(caller, func(ctx context.Context, s *session) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // lets go of the call
		o := readOptions(stream, where)
		o.CountOption = &streams.ReadReq_Options_Count{Count: 1}
		call, err := s.streams.Read(ctx, &streams.ReadReq{Options: o})
		if err != nil {
			return h.failed(caller, ctx, s, classify(err, nil, false), false)
		}
		for {
			resp, err := call.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return h.failed(caller, ctx, s, classify(err, call.Trailer(), false), false)
			}
			p.take(resp)
		}
	})
	return p, err
}

func (p *page) take(resp *streams.ReadResp) {
	switch content := resp.GetContent().(type) {
	case *streams.ReadResp_Event:
		p.events = append(p.events, content.Event.GetEvent())
	case *streams.ReadResp_StreamNotFound_:
		p.missing = true
	case *streams.ReadResp_LastStreamPosition:
		p.last, p.known = content.LastStreamPosition, true
	}
}

// lost is the error of a journal that is not the one that was followed.
func lost(format string, args ...any) error {
	return &driver.Error{Class: driver.Lost, Detail: fmt.Sprintf(format, args...)}
}
