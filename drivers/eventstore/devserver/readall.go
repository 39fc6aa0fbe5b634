// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"math"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// allStreams is the name under which the access rules know the whole log.
const allStreams = "$all"

// considerAtOnce is how many events a filtered read looks at before it lets go of its snapshot.
const considerAtOnce = 1024

// allStart is where a read of all streams starts.
type allStart struct {
	end      bool
	start    bool
	position uint64
}

// parseAllStart reads the position of a request. Prepare positions serve only to refuse those that cannot be: the
// records of this server have equal ones.
func parseAllStart(o *api.ReadReq_Options_AllOptions) (allStart, error) {
	switch from := o.GetAllOption().(type) {
	case *api.ReadReq_Options_AllOptions_Start:
		return allStart{start: true}, nil
	case *api.ReadReq_Options_AllOptions_End:
		return allStart{end: true}, nil
	case *api.ReadReq_Options_AllOptions_Position:
		commit, prepare := from.Position.GetCommitPosition(), from.Position.GetPreparePosition()
		if commit == math.MaxUint64 && prepare == math.MaxUint64 {
			return allStart{end: true}, nil
		}
		if commit > math.MaxInt64 || prepare > commit {
			return allStart{}, errThrown
		}
		return allStart{position: commit}, nil
	}
	return allStart{}, errThrown
}

// allFilter reads the filter of a request, the zero one if it has none.
func (r *reader) allFilter() (filter, error) {
	if o := r.options.GetFilter(); o != nil {
		return parseFilter(o)
	}
	return filter{}, nil
}

func (r *reader) readAll() error {
	start, err := parseAllStart(r.options.GetAll())
	if err != nil {
		return err
	}
	f, err := r.allFilter()
	if err != nil {
		return err
	}
	count := r.options.GetCount()
	if count == 0 {
		return status.Error(codes.InvalidArgument, "the count is 0: an EventStoreDB 23.10.6 never answers such a read of $all; ask for at least 1 event")
	}
	q := eventlog.AllQuery{From: start.position, Backward: r.backwards(), Exact: true, Match: f.match, Consider: considerAtOnce}
	switch {
	case start.end && !q.Backward, start.start && q.Backward:
		return nil
	case start.end:
		if q.From, err = r.view().End(); err != nil {
			return err
		}
	}
	for sent := uint64(0); sent < count; {
		q.Events = int(min(count-sent, pageSize))
		page, err := r.view().ReadAll(q)
		if err != nil {
			return err
		}
		if err := r.sendEvents(page.Events); err != nil {
			return err
		}
		if page.End {
			return nil
		}
		sent += uint64(len(page.Events))
		q.From, q.Exact = page.Next, false
	}
	return nil
}
