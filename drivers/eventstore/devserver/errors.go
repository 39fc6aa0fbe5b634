// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// Answers that are the same each time. errThrown is the one to any request that the real server's handlers cannot
// digest.
var (
	errThrown          = status.Error(codes.Unknown, "Exception was thrown by handler.")
	errNotReady        = status.Error(codes.Unavailable, "Server Is Not Ready")
	errUnauthenticated = status.Error(codes.Unauthenticated, "Unauthenticated")
	errCommitTimeout   = status.Error(codes.Aborted, "Operation timed out: Commit phase timeout.")
	errCanceled        = status.Error(codes.Aborted, "Operation timed out: Request canceled by server.")
	errReadStream      = status.Error(codes.Unknown, "Unexpected ReadStreamResult: Error")
	errReadAll         = status.Error(codes.Unknown, "Unexpected ReadAllResult: Error")
)

// exception sets the trailer that names the case of an error, and the trailers that go with it.
func exception(ctx context.Context, name string, kv ...string) {
	md := metadata.Pairs("exception", name)
	for i := 0; i+1 < len(kv); i += 2 {
		md.Set(kv[i], trailerValue(kv[i+1]))
	}
	// It fails only outside of a call.
	_ = grpc.SetTrailer(ctx, md)
}

// trailerValue escapes what a trailer cannot carry, such as a stream name that is not ASCII.
func trailerValue(s string) string {
	for _, b := range []byte(s) {
		if b < ' ' || b > '~' {
			return url.PathEscape(s)
		}
	}
	return s
}

func accessDenied(ctx context.Context) error {
	exception(ctx, "access-denied")
	return status.Error(codes.PermissionDenied, "Access Denied")
}

func notLeader(ctx context.Context, leader endPoint) error {
	exception(ctx, "not-leader", "leader-endpoint-host", leader.host, "leader-endpoint-port", strconv.FormatUint(uint64(leader.port), 10))
	return status.Error(codes.NotFound, "Leader info available")
}

func appendTooBig(ctx context.Context) error {
	exception(ctx, "maximum-append-size-exceeded", "maximum-append-size", strconv.Itoa(MaxAppendSize))
	return status.Errorf(codes.InvalidArgument, "Maximum Append Size of %d Exceeded.", MaxAppendSize)
}

func missingProperty(ctx context.Context, name string) error {
	exception(ctx, "missing-required-metadata-property", "required-metadata-properties", "type,content-type")
	return status.Errorf(codes.InvalidArgument, "Required Metadata Property '%s' is missing", name)
}

func notValid(value, what string) error {
	return status.Errorf(codes.InvalidArgument, "'%s' is not a valid EventStore.Client.Streams.%s", value, what)
}

// callError turns an error of the event log into that of a call.
func callError(ctx context.Context, err error) error {
	if wrong, ok := errors.AsType[*eventlog.WrongVersionError](err); ok {
		exception(ctx, "wrong-expected-version", "stream-name", wrong.Stream,
			"expected-version", strconv.FormatInt(wrong.Expected, 10), "actual-version", strconv.FormatInt(wrong.Current, 10))
		return status.Errorf(codes.FailedPrecondition, "Delete failed due to WrongExpectedVersion. Stream: %s, Expected version: %d, Actual version: %d",
			wrong.Stream, wrong.Expected, wrong.Current)
	}
	if deleted, ok := errors.AsType[*eventlog.DeletedError](err); ok {
		exception(ctx, "stream-deleted", "stream-name", deleted.Stream)
		return status.Errorf(codes.FailedPrecondition, "Event stream '%s' is deleted.", deleted.Stream)
	}
	if request, ok := errors.AsType[*eventlog.RequestError](err); ok {
		return status.Error(codes.InvalidArgument, request.Reason)
	}
	switch _, isStatus := status.FromError(err); {
	case errors.Is(err, eventlog.ErrPosition):
		return errReadAll
	case errors.Is(err, eventlog.ErrClosed):
		return errNotReady
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case isStatus:
		return err
	}
	return status.Error(codes.Internal, fmt.Sprintf("development server: %v", err))
}
