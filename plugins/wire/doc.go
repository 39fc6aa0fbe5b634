// SPDX-License-Identifier: Apache-2.0

// Package wire carries the contract of package driver over gRPC: a [Server]
// around a driver, and a [Client] that is a [driver.Store]. It is for those who
// build transports and for tests; hosts use plugins.Launch, authors of drivers
// plugins.Serve.
//
// Beside gRPC two processes may have a private pair of pipes, a [Lane], on which
// the calls with records go as plain frames of the same messages.
//
// It knows connections only, not how the process at the other end was started,
// so the far end of gRPC may as well be on another machine.
//
// A store behind the wire behaves as the store itself does, with two
// differences: the times of the records it returns are cut to whole
// milliseconds, as package driver encodes them, and the causes of its errors
// keep their text but not their type, except for the errors of package driver
// and of package context.
//
// The records of a request or an answer share the memory of the message they
// came in. It is never used again, but whoever keeps a string or a slice of one
// record keeps all of it: clone what is to be kept for long.
package wire

import (
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/driver"
)

// MaxMessageBytes is the size of the largest message either end takes. It holds
// the largest answer of the contract, one call's worth of records of the
// greatest size.
const MaxMessageBytes = driver.MaxBatch*driver.MaxRecordBytes + 16<<20

// Buffers of one connection. A receiver that does not read holds back the sender
// once windowBytes are on the way, so that a slow consumer of changes costs no
// more memory than that.
const (
	windowBytes = 4 << 20
	bufferBytes = 128 << 10
)

// ServerOptions returns what a gRPC server of this protocol is made with.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
		grpc.ReadBufferSize(bufferBytes),
		grpc.WriteBufferSize(bufferBytes),
	}
}

// DialOptions returns what a gRPC connection of this protocol is made with.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithDisableServiceConfig(),
	}
}
