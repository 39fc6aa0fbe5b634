// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"math"

	"github.com/google/uuid"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// subscribeStream sends a stream's events after a revision: first those there are, then caught_up, then what is
// appended. It ends with the call, with an error, or with the stream's tombstone.
func (r *reader) subscribeStream(name string) error {
	start, err := streamStart(r.options.GetStream())
	if err != nil {
		return err
	}
	var next int64
	if start == streamEnd {
		next, err = r.subscribeFromEnd(name)
	} else {
		next, err = r.catchUp(name, r.firstWanted(start))
	}
	if err != nil {
		return err
	}
	return r.follow(name, next)
}

// firstWanted is the first revision that a subscription is to get: Start includes event 0, a revision is exclusive.
func (r *reader) firstWanted(start uint64) int64 {
	if r.options.GetStream().GetStart() != nil {
		return 0
	}
	return int64(min(start, math.MaxInt64-1)) + 1
}

// subscribeFromEnd confirms a subscription that wants only new events, and returns the first revision it wants. A
// tombstoned stream has no new events, ever.
func (r *reader) subscribeFromEnd(name string) (int64, error) {
	live, err := r.view().ReadLive(name, math.MaxInt64, 1)
	if err != nil {
		return 0, err
	}
	if err := r.sendConfirmation(uuid.NewString()); err != nil {
		return 0, err
	}
	if err := r.sendCaughtUp(); err != nil {
		return 0, err
	}
	if live.Tombstone != nil {
		<-r.ctx.Done()
		return 0, r.ctx.Err()
	}
	return live.Last + 1, nil
}

// catchUp sends the events from a revision on that are visible, waits for the stream if there is none yet, and
// returns the revision from which on events are new.
func (r *reader) catchUp(name string, from int64) (int64, error) {
	confirmed := false
	for next := from; ; {
		changed := r.log.Changed()
		page, err := r.view().ReadForward(name, next, pageSize)
		if err != nil {
			return 0, err
		}
		if !confirmed {
			if err := r.sendConfirmation(uuid.NewString()); err != nil {
				return 0, err
			}
			confirmed = true
		}
		if page.Missing {
			if err := r.wait(changed); err != nil {
				return 0, err
			}
			continue
		}
		if err := r.sendEvents(page.Events); err != nil {
			return 0, err
		}
		next = max(next, page.Next)
		if page.End {
			return next, r.sendCaughtUp()
		}
	}
}

// follow sends what is appended from a revision on, whatever the metadata say by then.
func (r *reader) follow(name string, next int64) error {
	for {
		changed := r.log.Changed()
		live, err := r.view().ReadLive(name, next, pageSize)
		if err != nil {
			return err
		}
		if err := r.sendEvents(live.Events); err != nil {
			return err
		}
		next += int64(len(live.Events))
		switch {
		case next <= live.Last:
			continue
		case live.Tombstone != nil:
			if err := r.sendEvents([]eventlog.Event{*live.Tombstone}); err != nil {
				return err
			}
			return &eventlog.DeletedError{Stream: name}
		}
		if err := r.wait(changed); err != nil {
			return err
		}
	}
}

// wait waits for the next commit, or for the end of the call.
func (r *reader) wait(changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}
