// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// ErrNotSent is in the chain of every error of a call whose request never left
// this process: it may be sent again, to another process too.
var ErrNotSent = errors.New("the request was not sent")

// operation is one method of a store as the transport sees it.
type operation struct {
	name     string // as it stands in errors
	method   string // full name in gRPC
	mutation bool   // whether it may have an effect
}

var (
	opValidate = operation{"validate configuration", wirev1.Driver_Validate_FullMethodName, false}
	opOpen     = operation{"open", wirev1.Driver_Open_FullMethodName, false}
	opDescribe = operation{"describe", wirev1.Driver_Describe_FullMethodName, false}
	opCommit   = operation{"commit", wirev1.Driver_Commit_FullMethodName, true}
	opClaim    = operation{"claim", wirev1.Driver_Claim_FullMethodName, true}
	opGet      = operation{"get", wirev1.Driver_Get_FullMethodName, false}
	opList     = operation{"list", wirev1.Driver_List_FullMethodName, false}
	opMerge    = operation{"merge", wirev1.Driver_Merge_FullMethodName, true}
	opChanges  = operation{"changes", wirev1.Driver_Changes_FullMethodName, false}
	opEpoch    = operation{"epoch", wirev1.Driver_Epoch_FullMethodName, false}
	opAdvance  = operation{"advance", wirev1.Driver_Advance_FullMethodName, true}
	opProbe    = operation{"probe", wirev1.Driver_Probe_FullMethodName, false}
	opClose    = operation{"close", wirev1.Driver_Close_FullMethodName, false}
)

// outgoing is a request on its way. The codec notes that it has been asked for
// the bytes: before, none can have left.
type outgoing struct {
	message proto.Message
	sent    bool
}

// outcome returns the class of an answer that is missing.
func (op operation) outcome(sent bool) driver.Class {
	if op.mutation && sent {
		return driver.Unknown
	}
	return driver.Unavailable
}

// transportError returns the error of a call that gRPC ended with err.
func (op operation) transportError(ctx context.Context, out *outgoing, err error) error {
	e := &driver.Error{Class: op.outcome(out.sent)}
	s := status.Convert(err)
	switch {
	case ctx.Err() != nil:
		e.Cause = context.Cause(ctx)
	case s.Code() == codes.DeadlineExceeded:
		e.Cause = context.DeadlineExceeded
	case s.Code() == codes.Canceled, s.Code() == codes.Unavailable:
		e.Detail = "the connection to the driver was lost"
		e.Cause = errors.New(s.Message())
	case s.Code() == codes.Unimplemented:
		e.Class = driver.Unsupported
		e.Detail = "the driver was built for another version of the protocol"
		e.Cause = errors.New(s.Message())
	case s.Code() == codes.ResourceExhausted && e.Class != driver.Unknown:
		e.Class = driver.TooLarge
		e.Cause = errors.New(s.Message())
	default:
		e.Cause = fmt.Errorf("%s: %s", s.Code(), s.Message())
	}
	if !out.sent {
		e.Cause = &notSent{e.Cause}
	}
	return e
}

// notSent marks the cause of an error with [ErrNotSent] and keeps its text.
type notSent struct{ error }

func (n *notSent) Unwrap() []error { return []error{ErrNotSent, n.error} }

// badAnswer returns the error of a call whose answer arrived and cannot be
// understood.
func (op operation) badAnswer(err error) error {
	if op.mutation {
		return &driver.Error{Class: driver.Unknown, Cause: err}
	}
	return err
}

func tooLarge(size int) error {
	return &driver.Error{
		Class:  driver.TooLarge,
		Detail: fmt.Sprintf("the request has %d bytes: the limit of the protocol is %d", size, MaxMessageBytes),
		Cause:  ErrNotSent,
	}
}
