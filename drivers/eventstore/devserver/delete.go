// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// Delete soft-deletes a stream.
func (s *streams) Delete(ctx context.Context, req *api.DeleteReq) (*api.DeleteResp, error) {
	options := req.GetOptions()
	name, err := streamName(options.GetStreamIdentifier())
	if err != nil {
		return nil, err
	}
	expected, err := expectedVersion(options.GetExpectedStreamRevision(), "DeleteReq+Types+Options+ExpectedStreamRevisionOneofCase")
	if err != nil {
		return nil, err
	}
	result, err := s.remove(ctx, name, func() *eventlog.Pending { return s.log.Delete(name, expected) })
	if err != nil {
		return nil, err
	}
	return &api.DeleteResp{PositionOption: &api.DeleteResp_Position_{Position: &api.DeleteResp_Position{
		CommitPosition: result.Position, PreparePosition: result.Position}}}, nil
}

// Tombstone deletes a stream for ever.
func (s *streams) Tombstone(ctx context.Context, req *api.TombstoneReq) (*api.TombstoneResp, error) {
	options := req.GetOptions()
	name, err := streamName(options.GetStreamIdentifier())
	if err != nil {
		return nil, err
	}
	expected, err := expectedVersion(options.GetExpectedStreamRevision(), "TombstoneReq+Types+Options+ExpectedStreamRevisionOneofCase")
	if err != nil {
		return nil, err
	}
	result, err := s.remove(ctx, name, func() *eventlog.Pending { return s.log.Tombstone(name, expected) })
	if err != nil {
		return nil, err
	}
	return &api.TombstoneResp{PositionOption: &api.TombstoneResp_Position_{Position: &api.TombstoneResp_Position{
		CommitPosition: result.Position, PreparePosition: result.Position}}}, nil
}

func (s *streams) remove(ctx context.Context, name string, submit func() *eventlog.Pending) (eventlog.Result, error) {
	if err := s.admitWrite(ctx, name, deleteAccess); err != nil {
		return eventlog.Result{}, err
	}
	result, err := s.write(ctx, submit)
	if err != nil {
		return result, callError(ctx, err)
	}
	return result, nil
}
