// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"math"

	"github.com/google/uuid"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// subscribeAll sends the events of all streams after a position, as far as the filter lets them through, and
// checkpoints if there is a filter.
func (r *reader) subscribeAll() error {
	start, err := parseAllStart(r.options.GetAll())
	if err != nil {
		return err
	}
	f, err := r.allFilter()
	if err != nil {
		return err
	}
	if f.match != nil && f.interval == 0 {
		return errThrown
	}
	next, err := r.firstPosition(start)
	if err != nil {
		return err
	}
	if err := r.sendConfirmation(uuid.NewString()); err != nil {
		return err
	}
	a := allSubscription{reader: r, filter: f, next: next}
	if !start.end {
		if err := a.catchUp(); err != nil {
			return err
		}
	}
	if err := r.sendCaughtUp(); err != nil {
		return err
	}
	return a.follow()
}

// firstPosition is where the first event that a subscription wants can stand: a position is exclusive.
func (r *reader) firstPosition(start allStart) (uint64, error) {
	switch {
	case start.end:
		return r.view().End()
	case start.start:
		return 0, nil
	}
	if err := r.view().CheckPosition(start.position); err != nil {
		return 0, err
	}
	return start.position + 1, nil
}

// allSubscription is where a subscription to all streams stands.
type allSubscription struct {
	*reader
	filter     filter
	next       uint64
	considered int64 // events since the last checkpoint
}

// catchUp sends the history in pages. At the end of a page, if enough events were considered since the last
// checkpoint, there is one: at the last event that matched, or where the page began if none did. The page that
// reaches the end of the log has none.
func (a *allSubscription) catchUp() error {
	q := eventlog.AllQuery{Match: a.filter.match, Events: pageSize, Consider: a.filter.window}
	if q.Match == nil {
		q.Consider = math.MaxInt
	}
	for {
		q.From = a.next
		page, err := a.view().ReadAll(q)
		if err != nil {
			return err
		}
		if err := a.sendEvents(page.Events); err != nil {
			return err
		}
		a.next = page.Next
		a.considered += int64(page.Considered)
		if page.End && page.Considered < q.Consider && len(page.Events) < q.Events {
			return nil
		}
		if err := a.checkpointOfPage(&page); err != nil {
			return err
		}
	}
}

func (a *allSubscription) checkpointOfPage(page *eventlog.AllPage) error {
	if a.filter.match == nil || a.considered < a.filter.interval {
		return nil
	}
	a.considered = 0
	if n := len(page.Events); n > 0 {
		last := page.Events[n-1].Position
		return a.sendCheckpoint(last, last)
	}
	return a.sendCheckpoint(page.First, 0)
}

// follow sends what is appended, and a checkpoint after every event at which enough were considered.
func (a *allSubscription) follow() error {
	q := eventlog.AllQuery{Match: a.filter.match, Events: pageSize}
	for {
		changed := a.log.Changed()
		q.From, q.Consider = a.next, considerAtOnce
		if a.filter.match != nil { // a page ends where a checkpoint is due
			q.Consider = int(min(considerAtOnce, max(a.filter.interval-a.considered, 1)))
		}
		page, err := a.view().ReadAll(q)
		if err != nil {
			return err
		}
		if err := a.sendEvents(page.Events); err != nil {
			return err
		}
		a.next = page.Next
		a.considered += int64(page.Considered)
		if a.filter.match != nil && page.Considered > 0 && a.considered >= a.filter.interval {
			if err := a.checkpointHere(page.Last); err != nil {
				return err
			}
		}
		if page.Considered > 0 || !page.End {
			continue
		}
		if err := a.wait(changed); err != nil {
			return err
		}
	}
}

func (a *allSubscription) checkpointHere(position uint64) error {
	a.considered = 0
	return a.sendCheckpoint(position, position)
}
