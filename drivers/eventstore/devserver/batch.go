// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// maxOutstanding is how many writes of one BatchAppend call may wait for the disk before the next request is read.
const maxOutstanding = 256

// batchWrite is a write whose chunks are arriving.
type batchWrite struct {
	correlation uuid.UUID
	stream      string
	expected    int64
	events      []eventlog.Proposed
	size        int
	timer       *time.Timer
}

// batchAnswer is a write that is complete and not yet answered.
type batchAnswer struct {
	id      *shared.UUID
	stream  *shared.StreamIdentifier
	pending *eventlog.Pending
	lost    bool // the answer is to be a time-out instead
}

// batchCall is one BatchAppend call. One goroutine owns it.
type batchCall struct {
	*streams
	call        api.Streams_BatchAppendServer
	ctx         context.Context
	user        identity
	writes      map[uuid.UUID]*batchWrite
	expired     chan *batchWrite
	outstanding []batchAnswer
	halfClosed  bool
}

// received is a request, or the error that ended the receiving.
type received struct {
	req *api.BatchAppendReq
	err error
}

// BatchAppend takes writes in chunks, several at a time, and answers each when it is done. Half-closing does not end
// the call, unless answers are outstanding: then it ends after the first of them, and the others are lost.
func (s *streams) BatchAppend(call api.Streams_BatchAppendServer) error {
	user, err := s.users.identify(call.Context())
	if err != nil {
		return err
	}
	b := &batchCall{streams: s, call: call, ctx: call.Context(), user: user, writes: map[uuid.UUID]*batchWrite{}, expired: make(chan *batchWrite)}
	defer b.stopTimers()
	requests := make(chan received)
	go receiveBatch(call, requests)
	return b.run(requests)
}

func receiveBatch(call api.Streams_BatchAppendServer, to chan<- received) {
	for {
		req, err := call.Recv()
		select {
		case to <- received{req: req, err: err}:
		case <-call.Context().Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (b *batchCall) run(requests <-chan received) error {
	for {
		in := requests
		if b.halfClosed || len(b.outstanding) >= maxOutstanding {
			in = nil
		}
		var err error
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case r := <-in:
			err = b.receive(r)
		case w := <-b.expired:
			err = b.expire(w)
		case <-b.firstDone():
			if err = b.answerFirst(); err == nil && b.halfClosed {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

func (b *batchCall) receive(r received) error {
	switch {
	case errors.Is(r.err, io.EOF):
		b.halfClosed = true
		return nil
	case r.err != nil:
		return r.err
	}
	return b.chunk(r.req)
}

// chunk adds a request to the write it belongs to, and does the write if that was its last chunk.
func (b *batchCall) chunk(req *api.BatchAppendReq) error {
	refuse := func(err error) error {
		return b.send(req.GetCorrelationId(), req.GetOptions().GetStreamIdentifier(), badRequest(err))
	}
	correlation, err := eventID(req.GetCorrelationId())
	if err != nil {
		return refuse(errNoCorrelation)
	}
	w := b.writes[correlation]
	if w == nil {
		if req.GetOptions() == nil {
			return nil
		}
		var refusal *api.BatchAppendResp_Error
		if w, refusal, err = b.begin(correlation, req.GetOptions()); err != nil {
			return err
		}
		if refusal != nil {
			return b.send(req.GetCorrelationId(), req.GetOptions().GetStreamIdentifier(), refusal)
		}
	}
	for _, m := range req.GetProposedMessages() {
		e, err := proposedEvent(m)
		if err != nil {
			return refuse(err)
		}
		w.events, w.size = append(w.events, e), w.size+len(e.Data)
	}
	if w.size > MaxAppendSize {
		b.forget(w)
		return b.send(req.GetCorrelationId(), identifier(w.stream), batchTooBig())
	}
	if !req.GetIsFinal() {
		return nil
	}
	b.forget(w)
	return b.complete(req.GetCorrelationId(), w)
}

// begin opens a write. It returns the refusal to answer with, or an error that ends the call.
func (b *batchCall) begin(correlation uuid.UUID, o *api.BatchAppendReq_Options) (*batchWrite, *api.BatchAppendResp_Error, error) {
	name, badName := streamName(o.GetStreamIdentifier())
	expected, badVersion := expectedVersion(o.GetExpectedStreamPosition(), "BatchAppendReq+Types+Options+ExpectedStreamPositionOneofCase")
	if bad := cmp.Or(badName, badVersion); bad != nil {
		return nil, badRequest(bad), nil
	}
	if err := b.admit(b.ctx, true); err != nil {
		return nil, nil, err
	}
	ok, err := b.may(b.user, name, writeAccess)
	if err != nil {
		return nil, nil, callError(b.ctx, err)
	}
	if !ok {
		return nil, batchDenied(), nil
	}
	left := b.timeLeft(o)
	if left <= 0 {
		return nil, batchTimeout(), nil
	}
	w := &batchWrite{correlation: correlation, stream: name, expected: expected}
	w.timer = time.AfterFunc(left, func() {
		select {
		case b.expired <- w:
		case <-b.ctx.Done():
		}
	})
	b.writes[correlation] = w
	return w, nil, nil
}

// timeLeft is how long a write has to become complete.
func (b *batchCall) timeLeft(o *api.BatchAppendReq_Options) time.Duration {
	switch d := o.GetDeadlineOption().(type) {
	case *api.BatchAppendReq_Options_Deadline:
		return min(d.Deadline.AsDuration(), b.options.WriteTimeout)
	case *api.BatchAppendReq_Options_Deadline_21_10_0:
		return min(time.Until(d.Deadline_21_10_0.AsTime()), b.options.WriteTimeout)
	}
	return b.options.WriteTimeout
}

// complete queues a write for the disk. Writes are queued, and answered, in the order of their last chunks.
func (b *batchCall) complete(id *shared.UUID, w *batchWrite) error {
	answer := batchAnswer{id: id, stream: identifier(w.stream)}
	submit := func() *eventlog.Pending { return b.log.Append(w.stream, w.expected, w.events) }
	switch b.faults.timeout() {
	case CommitTimeoutLost:
		return b.send(id, answer.stream, batchTimeout())
	case CommitTimeoutWritten:
		answer.lost = true
	case CommitTimeoutOff:
	}
	if _, held := b.cluster.hold(func() { submit() }); held {
		return b.send(id, answer.stream, batchTimeout())
	}
	answer.pending = submit()
	b.outstanding = append(b.outstanding, answer)
	return nil
}

func (b *batchCall) firstDone() <-chan struct{} {
	if len(b.outstanding) == 0 {
		return nil
	}
	return b.outstanding[0].pending.Done()
}

func (b *batchCall) answerFirst() error {
	first := b.outstanding[0]
	b.outstanding = b.outstanding[1:]
	result, err := first.pending.Result()
	switch {
	case err != nil:
		return b.send(first.id, first.stream, batchError(err))
	case first.lost:
		return b.send(first.id, first.stream, batchTimeout())
	}
	return b.call.Send(&api.BatchAppendResp{CorrelationId: first.id, StreamIdentifier: first.stream,
		Result: &api.BatchAppendResp_Success_{Success: batchSuccess(result)}})
}

// expire drops a write whose time is up. This answer has the correlation id in structured form, however it came.
func (b *batchCall) expire(w *batchWrite) error {
	if b.writes[w.correlation] != w {
		return nil
	}
	delete(b.writes, w.correlation)
	return b.send(wireID(w.correlation, true), identifier(w.stream), batchTimeout())
}

func (b *batchCall) forget(w *batchWrite) {
	w.timer.Stop()
	delete(b.writes, w.correlation)
}

func (b *batchCall) stopTimers() {
	for _, w := range b.writes {
		w.timer.Stop()
	}
}

func (b *batchCall) send(id *shared.UUID, stream *shared.StreamIdentifier, e *api.BatchAppendResp_Error) error {
	return b.call.Send(&api.BatchAppendResp{CorrelationId: id, StreamIdentifier: stream, Result: e})
}
