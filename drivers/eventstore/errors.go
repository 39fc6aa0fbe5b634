// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/driver"
)

// fault is a failed call: the error with a class, and what it says about the
// connection.
type fault struct {
	error
	// moved: another node leads, or this one does not serve.
	moved bool
	// broken: there is no connection, or it was lost.
	broken bool
	// rejected: the server does not know our credentials.
	rejected bool
	// late: the time of the call was over.
	late bool
}

func (f *fault) Unwrap() error { return f.error }

// answers are the codes by which a server refuses a call, so that it certainly
// did nothing. The trailer "exception" tells cases of one code apart.
var answers = []struct {
	code      codes.Code
	exception string // in the trailer; empty: any
	text      string // how the message begins; empty: any
	class     driver.Class
	detail    string
	moved     bool
	rejected  bool
}{
	{codes.PermissionDenied, "", "", driver.Denied, "the user lacks a right on the journal stream: see the ACL in docs/eventstore.md", false, false},
	{codes.Unauthenticated, "", "", driver.Denied, "the user or the password is wrong", false, true},
	{codes.FailedPrecondition, "stream-deleted", "", driver.Lost, "the journal stream was tombstoned, which is for ever: choose another stream_prefix", false, false},
	{codes.InvalidArgument, "maximum-append-size-exceeded", "", driver.TooLarge, "the server takes smaller appends only: set append_bytes to its MaxAppendSize", false, false},
	{codes.NotFound, "not-leader", "", driver.Unavailable, "the node does not lead the cluster", true, false},
	{codes.Unavailable, "", "Server Is Not Ready", driver.Unavailable, "the server is not ready: it starts, or an election is under way", true, false},
	{codes.Unknown, "", "No leader info available", driver.Unavailable, "the node does not lead the cluster and knows no node that does", true, false},
	{codes.Unavailable, "", "Server Is Too Busy", driver.Unavailable, "the server is too busy", false, false},
	{codes.Unimplemented, "", "", driver.Internal, "the server does not know the call: EventStoreDB 22.10 or later is needed", false, false},
}

// classify makes a fault of what a call returned. mayHaveEffect: unless the server
// says otherwise, the call may have been carried out.
func classify(err error, trailer metadata.MD, mayHaveEffect bool) *fault {
	s, ok := status.FromError(err)
	if !ok { // of gRPC itself, such as io.EOF
		s = status.New(codes.Unavailable, err.Error())
	}
	exception := strings.Join(trailer.Get("exception"), ",")
	for _, a := range answers {
		if a.code == s.Code() && (a.exception == "" || a.exception == exception) && strings.HasPrefix(s.Message(), a.text) {
			detail := a.detail
			if leader := trailer.Get("leader-endpoint-host"); a.moved && len(leader) > 0 {
				detail += "; it names " + net.JoinHostPort(leader[0], strings.Join(trailer.Get("leader-endpoint-port"), ""))
			}
			return &fault{error: &driver.Error{Class: a.class, Detail: detail, Cause: plain(s)}, moved: a.moved, rejected: a.rejected}
		}
	}
	e := &driver.Error{Class: driver.Unavailable, Detail: noAnswer(s), Cause: plain(s)}
	switch {
	case mayHaveEffect && s.Code() == codes.Aborted:
		e.Class, e.Detail = driver.Unknown, "the server gave up waiting for the other nodes, which may have the events"
	case mayHaveEffect && (s.Code() == codes.Unknown || s.Code() == codes.Internal) && !cutOff(s):
		e.Class, e.Detail = driver.Unknown, "the events were sent and the server failed: see its log"
	case mayHaveEffect:
		e.Class, e.Detail = driver.Unknown, "the events were sent and no answer came"
	case cutOff(s):
	case s.Code() == codes.Unknown || s.Code() == codes.Internal || s.Code() == codes.InvalidArgument:
		e.Class, e.Detail = driver.Internal, "the server could not digest the call"
	}
	return &fault{error: e, broken: s.Code() == codes.Unavailable, late: s.Code() == codes.DeadlineExceeded}
}

// handshakes are the reasons why a connection is refused that the configuration can
// do something about, as gRPC and package tls word them.
var handshakes = []struct{ text, advice string }{
	{"first record does not look like a TLS handshake", "the server speaks no TLS: leave tls out, or say tls=false in the connection string"},
	{"certificate signed by unknown authority", "the server's certificate is not trusted: set tls.ca to the certificates of who signed it"},
	{"x509: certificate is valid for", "the server's certificate is for another name: connect to that, or set tls.server_name"},
	{"x509: cannot validate certificate for", "the server's certificate is for another name: connect to that, or set tls.server_name"},
	{"tls: certificate required", "the server wants a certificate of the client: set tls.certificate and tls.key"},
	{"tls: unknown certificate authority", "the server does not take the certificate of the client: see tls.certificate and tls.key"},
	{"tls: bad certificate", "the server does not take the certificate of the client: see tls.certificate and tls.key"},
	{"error reading server preface", "no answer in plain text: set tls if the server speaks TLS"},
}

// noAnswer says why a call got no answer, and what to do where that is known.
func noAnswer(s *status.Status) string {
	for _, h := range handshakes {
		if s.Code() == codes.Unavailable && strings.Contains(s.Message(), h.text) {
			return h.advice
		}
	}
	return "no answer"
}

// cutOff reports whether the call broke off, as when the server stops: gRPC gives
// that the code of calls that the server could not handle.
func cutOff(s *status.Status) bool {
	return s.Code() == codes.Internal &&
		(strings.HasPrefix(s.Message(), "stream terminated by RST_STREAM") || s.Message() == "server closed the stream without sending trailers")
}

// plain returns the text of a status as an error that does not look like the end
// of a context.
func plain(s *status.Status) error {
	return errors.New(strings.ToLower(s.Code().String()) + ": " + s.Message())
}

// silence is the error of a call that got no answer in time although the caller
// would have waited longer.
func silence(mayHaveEffect bool) *fault {
	class := driver.Unavailable
	if mayHaveEffect {
		class = driver.Unknown
	}
	return &fault{error: &driver.Error{Class: class, Detail: "the server did not answer within call_timeout"}}
}

// ended returns the error of a call whose context or time has ended, nil if that
// is not why it failed. The server may notice the end of the time first.
func ended(caller, call context.Context, late, mayHaveEffect bool) *fault {
	if caller.Err() != nil {
		return &fault{error: driver.ContextError(caller, mayHaveEffect)}
	}
	own, bounded := caller.Deadline()
	end, _ := call.Deadline()
	switch {
	case late && bounded && !own.After(end):
		class := driver.Unavailable
		if mayHaveEffect {
			class = driver.Unknown
		}
		return &fault{error: &driver.Error{Class: class, Cause: context.DeadlineExceeded}}
	case late || call.Err() != nil:
		return silence(mayHaveEffect)
	}
	return nil
}
