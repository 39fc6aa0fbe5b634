// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"context"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// batch is an open BatchAppend call.
type batch struct {
	t    *testing.T
	call api.Streams_BatchAppendClient
}

func (f *fixture) batch() *batch {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), waiting)
	f.t.Cleanup(cancel)
	call, err := f.wire.streams.BatchAppend(ctx)
	require.NoError(f.t, err)
	return &batch{t: f.t, call: call}
}

func (b *batch) send(id uuid.UUID, final bool, o *api.BatchAppendReq_Options, events int) {
	b.t.Helper()
	req := &api.BatchAppendReq{IsFinal: final, Options: o, CorrelationId: &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}}
	for range events {
		req.ProposedMessages = append(req.ProposedMessages, &api.BatchAppendReq_ProposedMessage{
			Id:       &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}},
			Metadata: map[string]string{"type": "Tested", "content-type": "application/json"}, Data: []byte("{}")})
	}
	require.NoError(b.t, b.call.Send(req))
}

func (b *batch) recv() *api.BatchAppendResp {
	b.t.Helper()
	m, err := b.call.Recv()
	require.NoError(b.t, err)
	return m
}

func to(stream string) *api.BatchAppendReq_Options {
	return &api.BatchAppendReq_Options{StreamIdentifier: name(stream), ExpectedStreamPosition: &api.BatchAppendReq_Options_Any{Any: &emptypb.Empty{}}}
}

func at(stream string, revision uint64) *api.BatchAppendReq_Options {
	return &api.BatchAppendReq_Options{StreamIdentifier: name(stream), ExpectedStreamPosition: &api.BatchAppendReq_Options_StreamPosition{StreamPosition: revision}}
}

func TestBatchAppendTakesChunksOfSeveralWrites(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{WriteTimeout: waiting})
	b := f.batch()
	one, two := uuid.New(), uuid.New()
	b.send(one, false, to("a"), 2)
	b.send(two, false, to("b"), 1)
	b.send(one, false, nil, 1)
	b.send(two, true, nil, 1)
	m := b.recv()
	require.Equal(t, two.String(), m.GetCorrelationId().GetString_(), "the write that is complete first is answered first")
	require.EqualValues(t, 1, m.GetSuccess().GetCurrentRevision())
	require.Equal(t, []byte("b"), m.GetStreamIdentifier().GetStreamName())
	b.send(one, true, nil, 0)
	m = b.recv()
	require.Equal(t, one.String(), m.GetCorrelationId().GetString_())
	require.EqualValues(t, 2, m.GetSuccess().GetCurrentRevision())
	f.restart()
	require.Equal(t, []uint64{0, 1, 2}, f.revisions("a"))
	require.Equal(t, []uint64{0, 1}, f.revisions("b"))
}

func TestBatchAppendAnswersInOrder(t *testing.T) {
	t.Parallel()
	const writes = 300
	f := setup(t, devserver.Options{})
	b := f.batch()
	sent := ids(writes)
	for i, id := range sent { // none waits for an answer
		options := to("s")
		if i > 0 {
			options = at("s", uint64(i-1))
		}
		b.send(id, true, options, 1)
	}
	for i := range writes {
		m := b.recv()
		require.EqualValues(t, i, m.GetSuccess().GetCurrentRevision(), "%v", m)
		require.Equal(t, sent[i].String(), m.GetCorrelationId().GetString_())
	}
}

// TestBatchAppendGoesOnAfterHalfClose: a call without outstanding answers stays open, as on the real server.
func TestBatchAppendGoesOnAfterHalfClose(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{WriteTimeout: 50 * time.Millisecond})
	b := f.batch()
	b.send(uuid.New(), false, to("s"), 1)
	require.NoError(t, b.call.CloseSend())
	require.EqualValues(t, code.Code_DEADLINE_EXCEEDED, b.recv().GetError().GetCode(), "the write that never became complete")
	ended := make(chan error, 1)
	go func() {
		_, err := b.call.Recv()
		ended <- err
	}()
	_, _, err := f.wire.append(t.Context(), "other", uuid.New())
	require.NoError(t, err)
	require.Empty(t, ended)
}

func TestBatchAppendErrorsDoNotEndTheCall(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{WriteTimeout: 100 * time.Millisecond})
	b := f.batch()
	b.send(uuid.New(), true, at("s", 5), 1)
	e := b.recv().GetError()
	require.EqualValues(t, code.Code_ALREADY_EXISTS, e.GetCode())
	wrong := &shared.WrongExpectedVersion{}
	require.NoError(t, e.GetDetails()[0].UnmarshalTo(wrong))
	require.EqualValues(t, 5, wrong.GetExpectedStreamPosition())
	require.NotNil(t, wrong.GetCurrentNoStream())

	past := to("s")
	past.DeadlineOption = &api.BatchAppendReq_Options_Deadline{Deadline: durationpb.New(0)}
	b.send(uuid.New(), true, past, 1)
	require.EqualValues(t, code.Code_DEADLINE_EXCEEDED, b.recv().GetError().GetCode())

	past.DeadlineOption = &api.BatchAppendReq_Options_Deadline_21_10_0{Deadline_21_10_0: timestamppb.New(time.Now().Add(-time.Second))}
	b.send(uuid.New(), true, past, 1)
	require.EqualValues(t, code.Code_DEADLINE_EXCEEDED, b.recv().GetError().GetCode())

	never := uuid.New()
	b.send(never, false, to("s"), 1)
	m := b.recv()
	require.EqualValues(t, code.Code_DEADLINE_EXCEEDED, m.GetError().GetCode(), "a write that does not become complete in time is dropped")
	require.NotNil(t, m.GetCorrelationId().GetStructured())

	b.send(uuid.New(), true, to("$$"), 1)
	require.EqualValues(t, code.Code_INVALID_ARGUMENT, b.recv().GetError().GetCode())

	b.send(uuid.New(), true, to("s"), 1)
	require.EqualValues(t, 0, b.recv().GetSuccess().GetCurrentRevision())
}

func TestBatchAppendTakesUpToTheLimit(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	b := f.batch()
	for _, size := range []int{devserver.MaxAppendSize, devserver.MaxAppendSize + 1} {
		require.NoError(t, b.call.Send(&api.BatchAppendReq{
			IsFinal: true, Options: to("s"), CorrelationId: &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}},
			ProposedMessages: []*api.BatchAppendReq_ProposedMessage{{
				Id:       &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}},
				Metadata: map[string]string{"type": "Big", "content-type": "application/octet-stream"}, Data: make([]byte, size)}}}))
		if size > devserver.MaxAppendSize {
			require.EqualValues(t, code.Code_INVALID_ARGUMENT, b.recv().GetError().GetCode())
		} else {
			require.NotNil(t, b.recv().GetSuccess())
		}
	}
}
