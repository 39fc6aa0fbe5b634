// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"bytes"
	"math"
	"regexp"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// pageSize is the number of events that the real server reads at a time. Where pages begin and end can be seen in
// first_stream_position and in checkpoints.
const pageSize = 32

// filter is the filter of a read of all streams. The zero value lets everything through and makes no checkpoints.
type filter struct {
	match    eventlog.Match
	window   int   // events considered in a page while catching up
	interval int64 // events considered from checkpoint to checkpoint
}

// parseFilter reads the filter of a request. An expression with neither prefix nor regex matches nothing.
func parseFilter(o *api.ReadReq_Options_FilterOptions) (filter, error) {
	var expression *api.ReadReq_Options_FilterOptions_Expression
	onType := false
	switch f := o.GetFilter().(type) {
	case *api.ReadReq_Options_FilterOptions_StreamIdentifier:
		expression = f.StreamIdentifier
	case *api.ReadReq_Options_FilterOptions_EventType:
		expression, onType = f.EventType, true
	default:
		return filter{}, notValid(o.String(), "ReadReq+Types+Options+Types+FilterOptions")
	}
	var f filter
	switch w := o.GetWindow().(type) {
	case *api.ReadReq_Options_FilterOptions_Max:
		f.window = int(min(w.Max, math.MaxInt32))
	case *api.ReadReq_Options_FilterOptions_Count:
		f.window = pageSize
	default:
		return filter{}, notValid("None", "ReadReq+Types+Options+Types+FilterOptions+WindowOneofCase")
	}
	f.interval = int64(f.window) * int64(o.GetCheckpointIntervalMultiplier())
	matches, err := matcher(expression)
	if err != nil {
		return filter{}, err
	}
	f.match = func(stream, eventType []byte) bool {
		if onType {
			return matches(eventType)
		}
		return matches(stream)
	}
	return f, nil
}

func matcher(e *api.ReadReq_Options_FilterOptions_Expression) (func([]byte) bool, error) {
	if e.GetRegex() != "" {
		r, err := regexp.Compile(e.GetRegex())
		if err != nil {
			return nil, status.Errorf(codes.Unknown, "Exception was thrown by handler. The development server takes regular expressions in RE2 syntax: %v", err)
		}
		return r.Match, nil
	}
	var prefixes [][]byte
	for _, p := range e.GetPrefix() {
		prefixes = append(prefixes, []byte(p))
	}
	return func(b []byte) bool {
		for _, p := range prefixes {
			if bytes.HasPrefix(b, p) {
				return true
			}
		}
		return false
	}, nil
}
