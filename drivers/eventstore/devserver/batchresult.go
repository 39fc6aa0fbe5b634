// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"errors"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

var errNoCorrelation = errors.New("Value cannot be null. (Parameter 'dto')") //nolint:staticcheck // the text of the real server

func batchSuccess(r eventlog.Result) *api.BatchAppendResp_Success {
	s := &api.BatchAppendResp_Success{CurrentRevisionOption: &api.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}}}
	if r.Revision >= 0 {
		s.CurrentRevisionOption = &api.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(r.Revision)}
	}
	s.PositionOption = &api.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}}
	if r.HasPosition {
		s.PositionOption = &api.BatchAppendResp_Success_Position{Position: &shared.AllStreamPosition{CommitPosition: r.Position, PreparePosition: r.Position}}
	}
	return s
}

// refused packs the error of a write: a code, a name and one message with the details.
func refused(c code.Code, name string, details proto.Message) *api.BatchAppendResp_Error {
	st := &status.Status{Code: int32(c), Message: name}
	if packed, err := anypb.New(details); err == nil {
		st.Details = []*anypb.Any{packed}
	}
	return &api.BatchAppendResp_Error{Error: st}
}

func badRequest(err error) *api.BatchAppendResp_Error {
	return refused(code.Code_INVALID_ARGUMENT, "BadRequest", &shared.BadRequest{Message: err.Error()})
}

func batchTimeout() *api.BatchAppendResp_Error {
	return refused(code.Code_DEADLINE_EXCEEDED, "Timeout", &shared.Timeout{})
}

func batchDenied() *api.BatchAppendResp_Error {
	return refused(code.Code_PERMISSION_DENIED, "AccessDenied", &shared.AccessDenied{})
}

func batchTooBig() *api.BatchAppendResp_Error {
	return refused(code.Code_INVALID_ARGUMENT, "MaximumAppendSizeExceeded", &shared.MaximumAppendSizeExceeded{MaxAppendSize: MaxAppendSize})
}

// batchError is the answer to a write that the event log refused or could not do.
func batchError(err error) *api.BatchAppendResp_Error {
	if wrong, ok := errors.AsType[*eventlog.WrongVersionError](err); ok {
		return refused(code.Code_ALREADY_EXISTS, "WrongExpectedVersion", batchWrongVersion(wrong))
	}
	if deleted, ok := errors.AsType[*eventlog.DeletedError](err); ok {
		return refused(code.Code_NOT_FOUND, "StreamDeleted", &shared.StreamDeleted{StreamIdentifier: identifier(deleted.Stream)})
	}
	if _, ok := errors.AsType[*eventlog.RequestError](err); ok {
		return badRequest(err)
	}
	return refused(code.Code_UNKNOWN, "Unknown", &shared.Unknown{})
}

func batchWrongVersion(e *eventlog.WrongVersionError) *shared.WrongExpectedVersion {
	w := &shared.WrongExpectedVersion{}
	if e.Current < 0 {
		w.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}}
	} else {
		w.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(e.Current)}
	}
	switch e.Expected {
	case eventlog.Any:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: &emptypb.Empty{}}
	case eventlog.StreamExists:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &emptypb.Empty{}}
	case eventlog.NoStream:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &emptypb.Empty{}}
	default:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: uint64(e.Expected)}
	}
	return w
}
