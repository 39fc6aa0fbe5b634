// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// laneMethods are the calls that go by the lane: those that carry records, by
// their names in the protocol. What opens a store, and so carries secrets, does
// not.
var laneMethods = func() map[string]grpc.MethodHandler {
	handlers := map[string]grpc.MethodHandler{}
	for _, m := range wirev1.Driver_ServiceDesc.Methods {
		switch m.MethodName {
		case "Commit", "Merge", "Claim", "Get", "List":
			handlers[m.MethodName] = m.Handler
		}
	}
	return handlers
}()

// Lane is a connection to a driver that has, beside that of gRPC, a private one
// to the same process: a pair of pipes that only the two have. By it go the
// calls that carry records, with the same messages as over gRPC, but as plain
// frames: nothing is encrypted, since nobody else can read it, and a call costs a
// third of the time. Everything else, and everything for as long as the other end
// has not said that it serves a lane, goes over gRPC.
//
// Calls in flight when the lane ends get [codes.Unavailable], later ones go over
// gRPC. Safe for concurrent use.
type Lane struct {
	grpc.ClientConnInterface

	frames *frames
	open   atomic.Bool // the other end serves it
	ended  chan struct{}

	mu    sync.Mutex
	last  uint64
	calls map[uint64]chan laneAnswer // nil: the lane has ended
}

// laneAnswer is what came for one call.
type laneAnswer struct {
	code    codes.Code
	content []byte
}

// NewLane returns a connection that takes the lane conn where it can and rest
// otherwise. The caller closes it, and rest. A conn with a method SyscallConn, for
// what is written, is written to without a change of goroutines.
func NewLane(conn io.ReadWriteCloser, rest grpc.ClientConnInterface) *Lane {
	l := &Lane{ClientConnInterface: rest, frames: newFrames(conn), ended: make(chan struct{}), calls: map[uint64]chan laneAnswer{}}
	go l.receive()
	return l
}

// Open reports whether calls go by the lane: the other end has said that it
// serves it, and it has not ended.
func (l *Lane) Open() bool { return l.open.Load() }

// Close ends the lane, and the calls in flight on it. It does not close the
// connection of gRPC.
func (l *Lane) Close() {
	l.frames.close(errors.New("the connection to the driver was closed"))
	<-l.ended
}

// receive takes what the server sends, until the lane ends.
func (l *Lane) receive() {
	defer close(l.ended)
	err := l.frames.receive(l.take)
	l.open.Store(false)
	l.frames.close(err)
	l.mu.Lock()
	calls := l.calls
	l.calls = nil
	l.mu.Unlock()
	for _, answer := range calls {
		answer <- laneAnswer{codes.Unavailable, []byte(fmt.Sprintf("lane: %v", err))}
	}
}

func (l *Lane) take(kind byte, call uint64, content []byte) error {
	switch {
	case kind == frameHello:
		l.open.Store(len(content) == 1 && content[0] == laneVersion)
	case kind == frameAnswer && len(content) >= answerNumber:
		if answer := l.forget(call); answer != nil {
			answer <- laneAnswer{codes.Code(binary.LittleEndian.Uint32(content)), content[answerNumber:]}
		}
	default:
		return fmt.Errorf("frame of kind %d with %d bytes", kind, len(content))
	}
	return nil
}

// begin numbers a call; ok is false if the lane has ended.
func (l *Lane) begin() (call uint64, answer chan laneAnswer, ok bool) {
	answer = make(chan laneAnswer, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		return 0, nil, false
	}
	l.last++
	l.calls[l.last] = answer
	return l.last, answer, true
}

// forget returns who waits for a call, and nobody from now on.
func (l *Lane) forget(call uint64) chan laneAnswer {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer := l.calls[call]
	delete(l.calls, call)
	return answer
}

// Invoke implements [grpc.ClientConnInterface].
func (l *Lane) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	name := method[strings.LastIndexByte(method, '/')+1:]
	if laneMethods[name] == nil || !l.Open() {
		return l.ClientConnInterface.Invoke(ctx, method, request, response, options...)
	}
	if errors.Is(l.frames.ready(), errStuffed) {
		return status.Error(codes.Unavailable, errStuffed.Error())
	}
	call, answer, ok := l.begin()
	if !ok {
		return l.ClientConnInterface.Invoke(ctx, method, request, response, options...)
	}
	if err := l.request(ctx, call, name, request); err != nil {
		l.forget(call)
		return err
	}
	select {
	case a := <-answer:
		if a.code != codes.OK {
			return status.Error(a.code, string(a.content))
		}
		return codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(a.content)}, response)
	case <-ctx.Done():
		if l.forget(call) != nil {
			_ = l.frames.send(frameCancel, call, nil, nil) // or the lane ends, which the other end sees as well
		}
		return status.FromContextError(ctx.Err()).Err()
	}
}

// request sends a request.
func (l *Lane) request(ctx context.Context, call uint64, name string, request any) error {
	var timeout time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), 1)
	}
	numbers := make([]byte, 0, 32)
	numbers = binary.LittleEndian.AppendUint64(numbers, uint64(timeout))
	numbers = append(append(numbers, byte(len(name))), name...)
	message, err := codec{}.Marshal(request)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	defer message.Free()
	if err := l.frames.send(frameRequest, call, numbers, message); err != nil {
		return status.Error(codes.Unavailable, "lane: "+err.Error())
	}
	return nil
}
