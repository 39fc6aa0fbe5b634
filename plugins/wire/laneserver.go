// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/internal/crew"
)

// ServeLane answers the calls that come by conn, the other end of a [Lane], until
// it ends, and closes it. The error says why it ended. It may be called before a
// store is open, and in addition to serving gRPC.
func (s *Server) ServeLane(conn io.ReadWriteCloser) error {
	ctx, end := context.WithCancel(context.Background()) // calls live as long as the lane
	defer end()
	l := &laneServer{server: s, frames: newFrames(conn), crew: crew.New(ctx.Done()), calls: map[uint64]context.CancelFunc{}}
	err := l.frames.send(frameHello, 0, []byte{laneVersion}, nil)
	if err == nil {
		err = l.frames.receive(func(kind byte, call uint64, content []byte) error { return l.take(ctx, kind, call, content) })
	}
	l.frames.close(err)
	return err
}

// laneServer is the far end of one lane.
type laneServer struct {
	server *Server
	frames *frames
	crew   *crew.Crew // answers the calls

	mu    sync.Mutex
	calls map[uint64]context.CancelFunc // in flight
}

func (l *laneServer) take(ctx context.Context, kind byte, call uint64, content []byte) error {
	switch {
	case kind == frameCancel:
		l.mu.Lock()
		cancel := l.calls[call]
		l.mu.Unlock()
		if cancel != nil {
			cancel()
		}
		return nil
	case kind != frameRequest || len(content) < requestNumber || len(content) < requestNumber+int(content[8]):
		return fmt.Errorf("frame of kind %d with %d bytes", kind, len(content))
	}
	var cancel context.CancelFunc
	if timeout := binary.LittleEndian.Uint64(content); timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(timeout, 1<<62)))
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	message := requestNumber + int(content[8])
	l.mu.Lock()
	l.calls[call] = cancel
	l.mu.Unlock()
	l.crew.Go(func() {
		defer cancel()
		l.answer(ctx, call, string(content[requestNumber:message]), content[message:])
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, call)
	})
	return nil
}

// answer makes one call and answers it. The server does not end before the answer
// is on its way.
func (l *laneServer) answer(ctx context.Context, call uint64, method string, message []byte) {
	if l.server.hold() {
		defer l.server.calls.Done()
	}
	answer, err := l.call(ctx, method, message)
	if n := answer.Len(); n > MaxMessageBytes {
		err = status.Errorf(codes.ResourceExhausted, "the answer has %d bytes: the limit is %d", n, MaxMessageBytes)
	}
	code := binary.LittleEndian.AppendUint32(nil, uint32(status.Code(err)))
	if err != nil {
		err = l.frames.send(frameAnswer, call, append(code, status.Convert(err).Message()...), nil)
	} else {
		err = l.frames.send(frameAnswer, call, code, answer)
	}
	answer.Free()
	if err != nil {
		l.frames.close(err) // or the other end would wait
	}
}

func (l *laneServer) call(ctx context.Context, method string, message []byte) (mem.BufferSlice, error) {
	handler := laneMethods[method]
	if handler == nil {
		return nil, status.Errorf(codes.Unimplemented, "the lane has no method %q", method)
	}
	answer, err := handler(l.server, ctx, func(request any) error {
		if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(message)}, request); err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	return codec{}.Marshal(answer)
}
