// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// log is the journal stream of one chain.
type log struct {
	config *Config
	stream string
	logger *slog.Logger
	handle *handle

	mu       sync.Mutex
	follower *follower // the subscription that is open

	next     atomic.Uint64                                   // what is to come next in the subscription, or in the next one
	first    atomic.Uint64                                   // of the stream, as last heard
	strange  atomic.Uint64                                   // events met that this driver did not write
	appended struct{ transitions, own, others atomic.Int64 } // as in volume
}

var _ journal.Log = (*log)(nil)

func newLog(c *Config, stream string, logger *slog.Logger) *log {
	return &log{config: c, stream: stream, logger: logger, handle: newHandle(c, logger)}
}

// Limits implements [journal.Log].
func (l *log) Limits() journal.Limits {
	return journal.Limits{
		Events: l.config.AppendEvents, Bytes: l.config.AppendBytes, InFlight: l.config.AppendsInFlight, Verbs: true,
	}
}

// Size implements [journal.Log]. EventStoreDB 23.10 counts the data of the events
// only, its successors also the metadata and twice the length of the type.
func (l *log) Size(e *journal.Event) (int, error) {
	enc, err := encode(e)
	if err != nil {
		return 0, err
	}
	e.Encoded = enc
	return enc.size(), nil
}

// Append implements [journal.Log].
func (l *log) Append(ctx context.Context, events []journal.Event) error {
	requests, v, err := messages(events)
	if err != nil {
		return err
	}
	if err := l.handle.append(ctx, l.stream, anyRevision, requests); err != nil {
		if _, wrong := errors.AsType[*wrongRevision](err); wrong {
			// Only event ids that it knows already make a server say so.
			return &driver.Error{Class: driver.Internal, Detail: "the server took new events for a repeat", Cause: err}
		}
		return err
	}
	l.appended.transitions.Add(int64(v.transitions))
	l.appended.own.Add(int64(v.own))
	l.appended.others.Add(int64(v.others))
	return nil
}

// Bounds implements [journal.Log]. The node that leads is asked, so what was
// acknowledged lies before end.
func (l *log) Bounds(ctx context.Context) (first, end journal.Position, err error) {
	follower, next := l.following()
	end, empty, err := l.end(ctx, next)
	if err != nil {
		return 0, 0, err
	}
	if follower != nil && (empty && next > 0 || end < next) {
		follower.stop(lost("the journal stream %q ends at %d, without an event, and was followed to %d: it was deleted or truncated by somebody else, or restored from a backup",
			l.stream, end, next))
	}
	if empty {
		return end, end, nil
	}
	if follower != nil { // nobody needs to know it exactly
		return journal.Position(l.first.Load()), end, nil
	}
	head, err := l.handle.readOne(ctx, l.stream, forwardsFromStart)
	if err != nil {
		return 0, 0, err
	}
	if len(head.events) == 0 {
		return end, end, nil
	}
	first = journal.Position(head.events[0].GetStreamRevision())
	l.first.Store(uint64(first))
	return first, max(first, end), nil
}

// end returns the position after the last event, and whether there is none that can
// be read. If that is before known, it is the answer of a node that leads for sure.
func (l *log) end(ctx context.Context, known journal.Position) (end journal.Position, empty bool, err error) {
	if end, empty, err = l.readEnd(ctx); err != nil || end >= known {
		return end, empty, err
	}
	s, err := l.handle.confirm(ctx)
	if err != nil {
		return 0, false, err
	}
	end, empty, err = l.readEnd(ctx)
	if err == nil && !l.handle.uses(s) {
		err = &driver.Error{Class: driver.Unavailable, Detail: "another node leads now"}
	}
	return end, empty, err
}

func (l *log) readEnd(ctx context.Context) (end journal.Position, empty bool, err error) {
	last, err := l.handle.readOne(ctx, l.stream, backwardsFromEnd)
	switch {
	case err != nil:
		return 0, false, err
	case len(last.events) > 0:
		return journal.Position(last.events[0].GetStreamRevision()) + 1, false, nil
	case last.known:
		end = journal.Position(last.last) + 1
		return end, true, l.refuseRetention(ctx, end)
	case last.missing:
		end, err = l.deleted(ctx)
		return end, true, err
	}
	return 0, true, nil
}

// beyond is a revision that no stream comes to.
const beyond = 1 << 62

// deleted returns where the numbers of a stream that cannot be read go on: at 0 if
// there never was one, else after the last event before it was deleted. An append
// of no events that expects another revision writes nothing and is told the
// present one.
func (l *log) deleted(ctx context.Context) (journal.Position, error) {
	err := l.handle.append(ctx, l.stream, exactly(beyond), nil)
	wrong, ok := errors.AsType[*wrongRevision](err)
	switch {
	case ok && wrong.exists:
		return journal.Position(wrong.revision) + 1, nil
	case ok:
		return 0, nil
	case err == nil:
		return 0, &driver.Error{Class: driver.Internal, Detail: "the server accepted an impossible revision"}
	case driver.ClassOf(err) == driver.Unknown: // there is nothing that could have been done
		return 0, &driver.Error{Class: driver.Unavailable, Detail: "no answer", Cause: errors.Unwrap(err)}
	}
	return 0, err
}

// Close implements [journal.Log].
func (l *log) Close(ctx context.Context) error { return l.handle.close(ctx) }
