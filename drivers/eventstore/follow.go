// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"errors"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// ahead is how many messages are received before those in hand are applied.
const ahead = 2048

// follower is an open subscription.
type follower struct {
	log    *log
	from   journal.Place
	cancel context.CancelCauseFunc

	decoder *decoder
	checked bool // the event before the place is the one that it names
}

// stop ends the subscription with an error.
func (f *follower) stop(err error) { f.cancel(err) }

// following returns the open subscription, nil if there is none, and what is to
// come next.
func (l *log) following() (*follower, journal.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.follower, journal.Position(l.next.Load())
}

// Follow implements [journal.Log]. It begins one event early, to see that this is
// still the event that the place names.
func (l *log) Follow(caller context.Context, from journal.Place, emit func(at journal.Position, events []journal.Event) error) error {
	first, end, err := l.Bounds(caller)
	if err != nil {
		return err
	}
	if end < from.Next {
		if end, _, err = l.end(caller, from.Next); err != nil {
			return err
		}
	}
	if end < from.Next {
		return lost("the journal stream %q ends at %d and was followed to %d", l.stream, end, from.Next)
	}
	if from.Next > 0 && first == from.Next {
		// So it looks after the stream was deleted and written again. A compaction keeps
		// far more than that; what lags behind by so much finds a gap.
		return lost("the journal stream %q begins at %d and was followed to %d: it was deleted or truncated", l.stream, first, from.Next)
	}
	if err := l.refuseRetention(caller, end); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(caller)
	defer cancel(nil)
	f := &follower{log: l, from: from, cancel: cancel, decoder: newDecoder(), checked: from.Next == 0}
	l.mu.Lock()
	l.follower = f
	l.next.Store(uint64(from.Next))
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.follower = nil
		l.mu.Unlock()
	}()
	err = f.run(ctx, emit)
	if reason := context.Cause(ctx); reason != nil && caller.Err() == nil {
		return reason
	}
	return err
}

// run subscribes, receives in one goroutine, and emits in this one.
func (f *follower) run(caller context.Context, emit func(journal.Position, []journal.Event) error) error {
	h := f.log.handle
	s, err := h.acquire(caller)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(caller)
	o := readOptions(f.log.stream, f.place)
	o.CountOption = &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
	call, err := s.streams.Read(ctx, &streams.ReadReq{Options: o}, grpc.ForceCodecV2(newFrameCodec()))
	if err != nil {
		defer cancel()
		return h.failed(caller, ctx, s, classify(err, nil, false), false)
	}
	received := make(chan frame, ahead)
	var broken error
	go func() {
		defer close(received)
		for {
			var f frame
			if err := call.RecvMsg(&f); err != nil {
				broken = err
				return
			}
			s.hear()
			received <- f
		}
	}()
	err = f.pump(received, emit)
	cancel()
	for range received { // the receiver ends
	}
	if err != nil {
		return err
	}
	return h.failed(caller, caller, s, classify(broken, call.Trailer(), false), false)
}

// place says where the subscription begins: after the event before the one that
// the place names.
func (f *follower) place(o *streams.ReadReq_Options, s *streams.ReadReq_Options_StreamOptions) {
	o.ReadDirection = streams.ReadReq_Options_Forwards
	if f.from.Next < 2 {
		s.RevisionOption = &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}
		return
	}
	s.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: uint64(f.from.Next - 2)}
}

// pump decodes what was received and emits it, as much at once as there is.
func (f *follower) pump(received <-chan frame, emit func(journal.Position, []journal.Event) error) error {
	for message := range received {
		batch := make([]recorded, 0, min(len(received), 512)+1)
		for {
			r, found, err := message.event()
			if err != nil {
				return &driver.Error{Class: driver.Internal, Detail: "the server sent what is no message", Cause: err}
			}
			if found {
				batch = append(batch, r)
			}
			if len(batch) == cap(batch) || len(received) == 0 {
				break
			}
			message = <-received
		}
		if err := f.deliver(batch, emit); err != nil {
			return err
		}
	}
	return nil
}

// deliver emits events, in one piece unless positions are missing between them.
func (f *follower) deliver(batch []recorded, emit func(journal.Position, []journal.Event) error) error {
	events := make([]journal.Event, 0, len(batch))
	flush := func() error {
		if len(events) == 0 {
			return nil
		}
		at := journal.Position(f.log.next.Load()) - journal.Position(len(events))
		err := emit(at, events)
		events = nil
		return err
	}
	for _, r := range batch {
		e, err := f.event(r)
		if err != nil {
			return errors.Join(flush(), err)
		}
		revision := r.revision
		if !f.checked {
			f.checked = true
			if revision+1 == uint64(f.from.Next) {
				if e.Origin.Batch.ID != f.from.Batch || e.Index != f.from.Index {
					return lost("event %d of the journal stream %q is another one than was seen: the stream was recreated, or restored from a backup", revision, f.log.stream)
				}
				continue
			}
		}
		switch next := f.log.next.Load(); {
		case revision < next:
			return &driver.Error{Class: driver.Internal, Detail: "the server repeats events"}
		case revision > next: // truncated past the follower: the receiver of a jump begins anew
			if err := flush(); err != nil {
				return err
			}
		}
		f.log.next.Store(revision + 1)
		events = append(events, e)
	}
	return flush()
}

func (f *follower) event(r recorded) (journal.Event, error) {
	e, err := f.decoder.decode(r)
	if err == nil {
		return e, nil
	}
	if later, ok := errors.AsType[laterFormat](err); ok {
		return e, &driver.Error{Class: driver.Unavailable, Detail: later.Error()}
	}
	f.log.strange.Add(1)
	f.log.logger.Error("an event of the journal stream was not written by this driver: it is passed over",
		"stream", f.log.stream, "revision", r.revision, "error", err)
	return f.decoder.foreign(), nil
}
