// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"math"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// Read reads a stream or the whole log, or subscribes to one of them.
func (s *streams) Read(req *api.ReadReq, call api.Streams_ReadServer) error {
	options := req.GetOptions()
	if options == nil {
		return errThrown
	}
	if err := checkCombination(options); err != nil {
		return err
	}
	name := allStreams
	if o := options.GetStream(); o != nil {
		var err error
		if name, err = streamName(o.GetStreamIdentifier()); err != nil {
			return err
		}
	}
	user, err := s.admitRead(call.Context(), name, options.GetAll() != nil)
	if err != nil {
		return err
	}
	r := s.newReader(call, options, user)
	_, subscribes := options.GetCountOption().(*api.ReadReq_Options_Subscription)
	switch {
	case options.GetAll() != nil && subscribes:
		err = r.subscribeAll()
	case options.GetAll() != nil:
		err = r.readAll()
	case subscribes:
		err = r.subscribeStream(name)
	default:
		err = r.readStream(name)
	}
	if err != nil {
		return callError(call.Context(), err)
	}
	return nil
}

// checkCombination refuses requests that ask for nothing, or for what does not exist: a filter on a stream, a
// subscription backwards.
func checkCombination(o *api.ReadReq_Options) error {
	var source, count, filter string
	switch o.GetStreamOption().(type) {
	case *api.ReadReq_Options_Stream:
		source = "Stream"
	case *api.ReadReq_Options_All:
		source = "All"
	}
	switch o.GetCountOption().(type) {
	case *api.ReadReq_Options_Count:
		count = "Count"
	case *api.ReadReq_Options_Subscription:
		count = "Subscription"
	}
	switch o.GetFilterOption().(type) {
	case *api.ReadReq_Options_Filter:
		filter = "Filter"
	case *api.ReadReq_Options_NoFilter:
		filter = "NoFilter"
	}
	forwards := o.GetReadDirection() == api.ReadReq_Options_Forwards
	backwards := o.GetReadDirection() == api.ReadReq_Options_Backwards
	switch {
	case source == "" || count == "" || filter == "",
		source == "Stream" && filter == "Filter",
		count == "Subscription" && !forwards,
		!forwards && !backwards:
		return status.Errorf(codes.InvalidArgument, "The combination of (%s, %s, %s, %s) is invalid.",
			orNone(source), orNone(count), o.GetReadDirection(), orNone(filter))
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

func (r *reader) backwards() bool {
	return r.options.GetReadDirection() == api.ReadReq_Options_Backwards
}

// streamEnd is the revision that stands for the end of a stream in a request.
const streamEnd = math.MaxUint64

// streamStart reads the revision that a read of a stream starts with.
func streamStart(o *api.ReadReq_Options_StreamOptions) (uint64, error) {
	switch from := o.GetRevisionOption().(type) {
	case *api.ReadReq_Options_StreamOptions_Start:
		return 0, nil
	case *api.ReadReq_Options_StreamOptions_End:
		return streamEnd, nil
	case *api.ReadReq_Options_StreamOptions_Revision:
		if from.Revision > math.MaxInt64 && from.Revision != streamEnd {
			return 0, errThrown
		}
		return from.Revision, nil
	}
	return 0, errThrown
}

// readStream reads pages until as many events were sent as were asked for, or the stream ends.
func (r *reader) readStream(name string) error {
	start, err := streamStart(r.options.GetStream())
	if err != nil {
		return err
	}
	count := r.options.GetCount()
	if count == 0 || start == streamEnd && !r.backwards() {
		return errReadStream
	}
	from := int64(start)
	if start == streamEnd {
		from = eventlog.LastEvent
	}
	for sent := uint64(0); ; {
		page, err := r.readPage(name, from, int(min(count-sent, pageSize)))
		if err != nil {
			return err
		}
		if page.Missing {
			return r.sendNotFound(name)
		}
		if err := r.sendEvents(page.Events); err != nil {
			return err
		}
		sent += uint64(len(page.Events))
		if err := r.sendFirstPosition(sent, from, page.Next); err != nil {
			return err
		}
		if page.End || sent == count {
			return r.sendLastPosition(page.Last)
		}
		from = page.Next
	}
}

func (r *reader) readPage(name string, from int64, count int) (eventlog.Page, error) {
	if r.backwards() {
		return r.view().ReadBackward(name, from, count)
	}
	return r.view().ReadForward(name, from, count)
}

// extended tells whether the client understands messages beside events and stream_not_found.
func (r *reader) extended() bool { return r.options.GetControlOption().GetCompatibility() > 0 }

// sendFirstPosition tells a forward reader where it must go on, as long as there was nothing to send.
func (r *reader) sendFirstPosition(sent uint64, from, next int64) error {
	if !r.extended() || r.backwards() || sent > 0 || next == from {
		return nil
	}
	return r.send(&api.ReadResp{Content: &api.ReadResp_FirstStreamPosition{FirstStreamPosition: uint64(next)}})
}

func (r *reader) sendLastPosition(last int64) error {
	if !r.extended() {
		return nil
	}
	return r.send(&api.ReadResp{Content: &api.ReadResp_LastStreamPosition{LastStreamPosition: uint64(last)}})
}
