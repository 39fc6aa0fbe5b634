// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/driver"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	leader := metadata.Pairs("exception", "not-leader", "leader-endpoint-host", "es-2", "leader-endpoint-port", "2113")
	for name, c := range map[string]struct {
		err          error
		trailer      metadata.MD
		read, append driver.Class // of a read, and of an append that was sent whole
		moved        bool
		broken       bool
		rejected     bool
	}{
		"denied":           {err: status.Error(codes.PermissionDenied, "Access Denied"), read: driver.Denied, append: driver.Denied},
		"wrong password":   {err: status.Error(codes.Unauthenticated, "Unauthenticated"), read: driver.Denied, append: driver.Denied, rejected: true},
		"tombstoned":       {err: status.Error(codes.FailedPrecondition, "Event stream 's' is deleted."), trailer: metadata.Pairs("exception", "stream-deleted", "stream-name", "s"), read: driver.Lost, append: driver.Lost},
		"too big":          {err: status.Error(codes.InvalidArgument, "Maximum Append Size exceeded"), trailer: metadata.Pairs("exception", "maximum-append-size-exceeded"), read: driver.TooLarge, append: driver.TooLarge},
		"not leader":       {err: status.Error(codes.NotFound, "Leader info available"), trailer: leader, read: driver.Unavailable, append: driver.Unavailable, moved: true},
		"not ready":        {err: status.Error(codes.Unavailable, "Server Is Not Ready"), read: driver.Unavailable, append: driver.Unavailable, moved: true},
		"no leader known":  {err: status.Error(codes.Unknown, "No leader info available in response"), read: driver.Unavailable, append: driver.Unavailable, moved: true},
		"stream reset":     {err: status.Error(codes.Internal, "stream terminated by RST_STREAM with error code: INTERNAL_ERROR"), read: driver.Unavailable, append: driver.Unknown},
		"no trailers":      {err: status.Error(codes.Internal, "server closed the stream without sending trailers"), read: driver.Unavailable, append: driver.Unknown},
		"internal":         {err: status.Error(codes.Internal, "else"), read: driver.Internal, append: driver.Unknown},
		"too busy":         {err: status.Error(codes.Unavailable, "Server Is Too Busy"), read: driver.Unavailable, append: driver.Unavailable},
		"refused":          {err: status.Error(codes.Unavailable, "connection error: connection refused"), read: driver.Unavailable, append: driver.Unknown, broken: true},
		"quorum lost":      {err: status.Error(codes.Aborted, "Operation timed out: Commit phase timeout."), read: driver.Unavailable, append: driver.Unknown},
		"handler failed":   {err: status.Error(codes.Unknown, "Exception was thrown by handler."), read: driver.Internal, append: driver.Unknown},
		"invalid":          {err: status.Error(codes.InvalidArgument, "missing"), read: driver.Internal, append: driver.Unknown},
		"unimplemented":    {err: status.Error(codes.Unimplemented, "Method is unimplemented."), read: driver.Internal, append: driver.Internal},
		"cancelled":        {err: status.Error(codes.Canceled, "grpc: the client connection is closing"), read: driver.Unavailable, append: driver.Unknown},
		"end of file":      {err: io.EOF, read: driver.Unavailable, append: driver.Unknown, broken: true},
		"not of gRPC":      {err: errors.New("what"), read: driver.Unavailable, append: driver.Unknown, broken: true},
		"failed otherwise": {err: status.Error(codes.FailedPrecondition, "else"), read: driver.Unavailable, append: driver.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, sent := classify(c.err, c.trailer, false), classify(c.err, c.trailer, true)
			require.ErrorIs(t, read, c.read)
			require.ErrorIs(t, sent, c.append)
			for _, f := range []*fault{read, sent} {
				require.Equal(t, []bool{c.moved, c.broken, c.rejected}, []bool{f.moved, f.broken, f.rejected})
				require.NotErrorIs(t, f, context.Canceled)
			}
		})
	}
	require.ErrorContains(t, classify(status.Error(codes.NotFound, "x"), leader, true), "es-2:2113")
}

func TestEndOfACall(t *testing.T) {
	t.Parallel()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	soon, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	bounded, stop := context.WithTimeout(soon, time.Hour)
	defer stop()
	shorter, halt := context.WithTimeout(soon, time.Second)
	defer halt()
	for name, c := range map[string]struct {
		caller, call context.Context
		late         bool
		is           error // the end of the caller's time; nil: the store's own affair
		none         bool
	}{
		"the caller gave up":              {done, done, false, context.Canceled, false},
		"the server saw the end first":    {soon, bounded, true, context.DeadlineExceeded, false},
		"the call took too long":          {soon, shorter, true, nil, false},
		"the call was ended":              {t.Context(), done, false, nil, false},
		"something else, in time as well": {soon, shorter, false, nil, true},
	} {
		for _, effect := range []bool{false, true} {
			f := ended(c.caller, c.call, c.late, effect)
			if c.none {
				require.Nil(t, f, name)
				continue
			}
			want := driver.Unavailable
			if effect {
				want = driver.Unknown
			}
			require.ErrorIs(t, f, want, name)
			if c.is != nil {
				require.ErrorIs(t, f, c.is, name)
			} else {
				require.NotErrorIs(t, f, context.DeadlineExceeded, name)
				require.NotErrorIs(t, f, context.Canceled, name)
			}
		}
	}
}
