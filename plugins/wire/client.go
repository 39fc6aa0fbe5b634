// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// Client is a store at the other end of a connection. It serves once [Client.Open]
// has succeeded. Safe for concurrent use.
//
// What the transport adds to the errors of the contract: a call whose answer is
// missing is [driver.Unknown] if it is a mutation whose request may have left
// this process, else [driver.Unavailable]; it is never repeated. A call returns
// when its ctx is done, whatever state the other end is in; the other end gets
// the deadline and learns of the end.
type Client struct {
	conn   grpc.ClientConnInterface
	name   string
	closed atomic.Bool
}

var _ driver.Store = (*Client)(nil)

// NewClient returns the store behind conn, which the caller makes with
// [DialOptions] and closes in the end. name stands in errors that do not name
// a store themselves.
func NewClient(conn grpc.ClientConnInterface, name string) *Client {
	return &Client{conn: conn, name: name}
}

// Validate checks a configuration as [driver.Driver] does, and opens nothing.
func (c *Client) Validate(ctx context.Context, config []byte) error {
	_, err := call(ctx, c, opValidate, &wirev1.ValidateRequest{Config: config}, &wirev1.ValidateResponse{}, nothing)
	return err
}

// Open opens the store at the other end as [driver.Driver] does. req.Logger is
// not used: the lines of the far end are its own.
func (c *Client) Open(ctx context.Context, req driver.OpenRequest) error {
	in := &wirev1.OpenRequest{Chain: []byte(req.Chain), Link: []byte(req.Link), Config: req.Config}
	_, err := call(ctx, c, opOpen, in, &wirev1.OpenResponse{}, nothing)
	return err
}

// Describe implements [driver.Store].
func (c *Client) Describe(ctx context.Context, req driver.DescribeRequest) (driver.DescribeResponse, error) {
	return call(ctx, c, opDescribe, toDescribeRequest(req), &wirev1.DescribeResponse{}, fromDescribeResponse)
}

// Commit implements [driver.Store].
func (c *Client) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	resp, err := call(ctx, c, opCommit, toCommitRequest(req), &wirev1.CommitResponse{}, fromCommitResponse)
	if err == nil && len(resp.Verdicts) != len(req.Transitions) {
		return driver.CommitResponse{}, c.miscounted(opCommit, len(resp.Verdicts), len(req.Transitions))
	}
	return resp, err
}

// Claim implements [driver.Store].
func (c *Client) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	return call(ctx, c, opClaim, toClaimRequest(req), &wirev1.ClaimResponse{}, fromClaimResponse)
}

// Get implements [driver.Store].
func (c *Client) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return call(ctx, c, opGet, toGetRequest(req), &wirev1.GetResponse{}, fromGetResponse)
}

// List implements [driver.Store].
func (c *Client) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	return call(ctx, c, opList, toListRequest(req), &wirev1.ListResponse{}, fromListResponse)
}

// Merge implements [driver.Store].
func (c *Client) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	resp, err := call(ctx, c, opMerge, toMergeRequest(req), &wirev1.MergeResponse{}, fromMergeResponse)
	if err == nil && len(resp.Verdicts) != len(req.Records) {
		return driver.MergeResponse{}, c.miscounted(opMerge, len(resp.Verdicts), len(req.Records))
	}
	return resp, err
}

// Changes implements [driver.Store]. While emit does not return, the other end is
// held back once the connection's window is full.
func (c *Client) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	if err := c.ready(ctx); err != nil {
		return driver.In(err, c.name, opChanges.name)
	}
	streamCtx, end := context.WithCancel(ctx)
	defer end()
	out := &outgoing{message: toChangesRequest(req)}
	failed := func(err error) error {
		return driver.In(opChanges.transportError(ctx, out, err), c.name, opChanges.name)
	}
	stream, err := c.conn.NewStream(streamCtx, &wirev1.Driver_ServiceDesc.Streams[0], opChanges.method, callOptions...)
	if err != nil {
		return failed(err)
	}
	if err := stream.SendMsg(out); err != nil && !errors.Is(err, io.EOF) { // after EOF the answer says why
		return failed(err)
	}
	if err := stream.CloseSend(); err != nil {
		return failed(err)
	}
	for {
		var in wirev1.ChangesResponse
		if err := stream.RecvMsg(&in); err != nil {
			if errors.Is(err, io.EOF) && ctx.Err() == nil {
				return nil
			}
			return failed(err)
		}
		if in.GetError() != nil {
			return driver.In(fromError(in.GetError()), c.name, opChanges.name)
		}
		batch, err := fromChangesResponse(&in)
		if err != nil {
			return driver.In(err, c.name, opChanges.name)
		}
		if err := emit(batch); err != nil {
			return err
		}
	}
}

// Epoch implements [driver.Store].
func (c *Client) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	return call(ctx, c, opEpoch, toEpochRequest(req), &wirev1.EpochResponse{}, fromEpochResponse)
}

// Advance implements [driver.Store].
func (c *Client) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return call(ctx, c, opAdvance, toAdvanceRequest(req), &wirev1.AdvanceResponse{}, fromAdvanceResponse)
}

// Probe implements [driver.Store].
func (c *Client) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	return call(ctx, c, opProbe, toProbeRequest(req), &wirev1.ProbeResponse{}, fromProbeResponse)
}

// Close implements [driver.Store]: it closes the store at the other end. The
// connection stays, for its owner to close.
func (c *Client) Close(ctx context.Context) error {
	if c.closed.Swap(true) {
		return nil
	}
	out := &outgoing{message: &wirev1.CloseRequest{}}
	var in wirev1.CloseResponse
	if err := c.conn.Invoke(ctx, opClose.method, out, &in, callOptions...); err != nil {
		return driver.In(opClose.transportError(ctx, out, err), c.name, opClose.name)
	}
	return driver.In(fromError(in.GetError()), c.name, opClose.name)
}

var callOptions = []grpc.CallOption{
	grpc.ForceCodecV2(codec{}),
	grpc.MaxCallRecvMsgSize(MaxMessageBytes),
	grpc.MaxCallSendMsgSize(MaxMessageBytes),
}

// answer is what all responses have.
type answer interface{ GetError() *wirev1.Error }

// call makes one call and turns the answer into Resp.
func call[In answer, Resp any](ctx context.Context, c *Client, op operation, req proto.Message, in In, from func(In) (Resp, error)) (Resp, error) {
	var none Resp
	if err := c.ready(ctx); err != nil {
		return none, driver.In(err, c.name, op.name)
	}
	if n := proto.Size(req); n > MaxMessageBytes {
		return none, driver.In(tooLarge(n), c.name, op.name)
	}
	out := &outgoing{message: req}
	if err := c.conn.Invoke(ctx, op.method, out, in, callOptions...); err != nil {
		return none, driver.In(op.transportError(ctx, out, err), c.name, op.name)
	}
	if in.GetError() != nil {
		return none, driver.In(fromError(in.GetError()), c.name, op.name)
	}
	resp, err := from(in)
	if err != nil {
		return none, driver.In(op.badAnswer(err), c.name, op.name)
	}
	return resp, nil
}

// nothing is what answers without content turn into.
func nothing[In answer](In) (struct{}, error) { return struct{}{}, nil }

// ready reports why no call can be made.
func (c *Client) ready(ctx context.Context) error {
	if ctx.Err() != nil {
		return driver.ContextError(ctx, false)
	}
	if c.closed.Load() {
		return &driver.Error{Class: driver.Unavailable, Detail: "the store is closed"}
	}
	return nil
}

func (c *Client) miscounted(op operation, got, want int) error {
	return driver.In(op.badAnswer(undecodable("%d verdicts for %d records", got, want)), c.name, op.name)
}
