// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// Append takes the options, then the events, and writes them when the client has closed its side.
func (s *streams) Append(call api.Streams_AppendServer) error {
	ctx := call.Context()
	first, err := call.Recv()
	if errors.Is(err, io.EOF) {
		return errThrown
	}
	if err != nil {
		return err
	}
	options := first.GetOptions()
	if options == nil {
		return errThrown
	}
	name, err := streamName(options.GetStreamIdentifier())
	if err != nil {
		return err
	}
	expected, err := expectedVersion(options.GetExpectedStreamRevision(), "AppendReq+Types+Options+ExpectedStreamRevisionOneofCase")
	if err != nil {
		return err
	}
	if err := s.admitWrite(ctx, name, writeAccess); err != nil {
		return err
	}
	events, err := receiveEvents(call)
	if err != nil {
		return err
	}
	result, err := s.write(ctx, func() *eventlog.Pending { return s.log.Append(name, expected, events) })
	if wrong, ok := errors.AsType[*eventlog.WrongVersionError](err); ok {
		return call.SendAndClose(&api.AppendResp{Result: &api.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: wrongVersion(wrong)}})
	}
	if err != nil {
		return callError(ctx, err)
	}
	return call.SendAndClose(&api.AppendResp{Result: &api.AppendResp_Success_{Success: appendSuccess(result)}})
}

// receiveEvents reads the events of an append up to the end of what the client sends, or to the size limit.
func receiveEvents(call api.Streams_AppendServer) ([]eventlog.Proposed, error) {
	var events []eventlog.Proposed
	size := 0
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		if m.GetProposedMessage() == nil {
			return nil, errThrown
		}
		e, err := proposedEvent(m.GetProposedMessage())
		if missing, ok := errors.AsType[*missingPropertyError](err); ok {
			return nil, missingProperty(call.Context(), missing.property)
		}
		if err != nil {
			return nil, err
		}
		if size += len(e.Data); size > MaxAppendSize {
			return nil, appendTooBig(call.Context())
		}
		events = append(events, e)
	}
}

// write does a write, or what the faults in force and the state of the cluster make of it.
func (s *streams) write(ctx context.Context, submit func() *eventlog.Pending) (eventlog.Result, error) {
	switch s.faults.timeout() {
	case CommitTimeoutLost:
		return eventlog.Result{}, answerAfter(ctx, s.options.WriteTimeout, errCommitTimeout)
	case CommitTimeoutWritten:
		if r, err := submit().Wait(ctx); err != nil {
			return r, err
		}
		return eventlog.Result{}, answerAfter(ctx, s.options.WriteTimeout, errCommitTimeout)
	case CommitTimeoutOff:
	}
	notices, held := s.cluster.hold(func() { submit() })
	switch {
	case !held:
		return submit().Wait(ctx)
	case notices < s.options.WriteTimeout:
		return eventlog.Result{}, answerAfter(ctx, notices, errCanceled)
	}
	return eventlog.Result{}, answerAfter(ctx, s.options.WriteTimeout, errCommitTimeout)
}

// answerAfter waits and returns the answer, or the error of ctx if that ends first.
func answerAfter(ctx context.Context, wait time.Duration, answer error) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

func appendSuccess(r eventlog.Result) *api.AppendResp_Success {
	success := &api.AppendResp_Success{CurrentRevisionOption: &api.AppendResp_Success_NoStream{NoStream: &shared.Empty{}}}
	if r.Revision >= 0 {
		success.CurrentRevisionOption = &api.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(r.Revision)}
	}
	success.PositionOption = &api.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}}
	if r.HasPosition {
		success.PositionOption = &api.AppendResp_Success_Position{Position: &api.AppendResp_Position{
			CommitPosition: r.Position, PreparePosition: r.Position}}
	}
	return success
}

// wrongVersion fills in the fields of today's clients and those of clients before version 20.6.1.
func wrongVersion(e *eventlog.WrongVersionError) *api.AppendResp_WrongExpectedVersion {
	w := &api.AppendResp_WrongExpectedVersion{}
	none := &shared.Empty{}
	if e.Current < 0 {
		w.CurrentRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: none}
		w.CurrentRevisionOption = &api.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: none}
	} else {
		w.CurrentRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: uint64(e.Current)}
		w.CurrentRevisionOption = &api.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: uint64(e.Current)}
	}
	switch e.Expected {
	case eventlog.Any:
		w.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: none}
		w.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: none}
	case eventlog.StreamExists:
		w.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: none}
		w.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: none}
	case eventlog.NoStream:
		w.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: math.MaxUint64}
		w.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: none}
	default:
		w.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: uint64(e.Expected)}
		w.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: uint64(e.Expected)}
	}
	return w
}
