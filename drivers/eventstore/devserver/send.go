// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// reader is a Read call: where its messages go and how its events look.
type reader struct {
	*streams
	ctx          context.Context
	options      *api.ReadReq_Options
	send         func(*api.ReadResp) error
	user         identity
	structured   bool // ids are sent as two numbers
	noID         bool // the request does not say how ids are sent
	resolveLinks bool
}

func (s *streams) newReader(call api.Streams_ReadServer, options *api.ReadReq_Options, user identity) *reader {
	_, asText := options.GetUuidOption().GetContent().(*api.ReadReq_Options_UUIDOption_String_)
	return &reader{
		streams: s, ctx: call.Context(), options: options, send: call.Send, user: user,
		structured:   !asText,
		noID:         options.GetUuidOption() == nil,
		resolveLinks: options.GetResolveLinks(),
	}
}

// sendEvents sends events, with what they link to if that was asked for.
func (r *reader) sendEvents(events []eventlog.Event) error {
	if len(events) == 0 {
		return nil
	}
	if r.noID {
		return status.Error(codes.InvalidArgument, "uuid_option is absent: an EventStoreDB 23.10.6 never answers a read without it that finds an event; set it to string or structured")
	}
	var resolved []eventlog.Resolved
	if r.resolveLinks {
		var err error
		if resolved, err = r.view().ResolveLinks(events, r.mayResolve); err != nil {
			return err
		}
	}
	for i := range events {
		m := &api.ReadResp_ReadEvent{Position: &api.ReadResp_ReadEvent_CommitPosition{CommitPosition: events[i].Position}}
		if r.resolveLinks && resolved[i].IsLink {
			m.Link = r.recorded(&events[i])
			if resolved[i].Event != nil {
				m.Event = r.recorded(resolved[i].Event)
			}
		} else {
			m.Event = r.recorded(&events[i])
		}
		if err := r.send(&api.ReadResp{Content: &api.ReadResp_Event{Event: m}}); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) mayResolve(stream string, acl *eventlog.ACL) bool {
	return allowed(r.user, stream, readAccess, acl)
}

func (r *reader) recorded(e *eventlog.Event) *api.ReadResp_ReadEvent_RecordedEvent {
	contentType := contentTypeBinary
	if e.JSON {
		contentType = contentTypeJSON
	}
	return &api.ReadResp_ReadEvent_RecordedEvent{
		Id:               wireID(e.ID, r.structured),
		StreamIdentifier: identifier(e.Stream),
		StreamRevision:   uint64(e.Revision),
		PreparePosition:  e.Position,
		CommitPosition:   e.Position,
		Metadata: map[string]string{
			"type":         e.Type,
			"content-type": contentType,
			"created":      strconv.FormatInt(e.Created, 10),
		},
		CustomMetadata: e.Custom,
		Data:           e.Data,
	}
}

func identifier(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

func (r *reader) sendNotFound(stream string) error {
	return r.send(&api.ReadResp{Content: &api.ReadResp_StreamNotFound_{StreamNotFound: &api.ReadResp_StreamNotFound{
		StreamIdentifier: identifier(stream)}}})
}

func (r *reader) sendConfirmation(id string) error {
	return r.send(&api.ReadResp{Content: &api.ReadResp_Confirmation{Confirmation: &api.ReadResp_SubscriptionConfirmation{SubscriptionId: id}}})
}

func (r *reader) sendCaughtUp() error {
	return r.send(&api.ReadResp{Content: &api.ReadResp_CaughtUp_{CaughtUp: &api.ReadResp_CaughtUp{}}})
}

func (r *reader) sendCheckpoint(commit, prepare uint64) error {
	return r.send(&api.ReadResp{Content: &api.ReadResp_Checkpoint_{Checkpoint: &api.ReadResp_Checkpoint{
		CommitPosition: commit, PreparePosition: prepare}}})
}
