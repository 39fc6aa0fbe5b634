// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// The steps of a resync, as they stand in its save point.
const (
	stepCompare = "compare" // what the link holds is compared with the active link
	stepCopy    = "copy"    // every record of the active link is merged into the link
	stepFollow  = "follow"  // what has changed meanwhile is merged
)

// resyncPoint is the save point of a resync.
type resyncPoint struct {
	Changes string       // from where on the changes of the active link are still to come
	Marks   driver.Marks // how far the link had come; a link that is behind them has lost what was copied
	List    string       // the next page of the step; empty: the first
	Done    int64        // records that the step has gone through
	About   int64        // records there are, about; -1: not known
}

// resync brings the link to up to date from the active link of v, by one host, the
// steward. All that it does may be repeated, also by two stewards at once: merges
// keep the newer record, and only the end of the handover counts.
type resync struct {
	c    *Chain
	v    *view // the epoch in which it began; it ends with that
	to   *link
	save func(ctx context.Context, step string, p resyncPoint) error

	step  string
	point resyncPoint
	saved time.Time // when the save point was made last
	told  time.Time // when progress was told last

	mu     sync.Mutex // guards what follows, while several pages are in work
	copied int64
	sample sample
}

const (
	saveEvery     = 2 * time.Second  // between save points
	progressEvery = 10 * time.Second // between lines about the progress
	pagesAtOnce   = 4                // in work
	pagesPerBlock = 32               // after which all are waited for, at the latest
	followRounds  = 30               // after which writers are found to be too fast
	targetTries   = 3                // of a call to the link that fails
)

// run goes from the save point on, up to the moment when the link is in the
// in-sync set. It ends with the epoch.
func (r *resync) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.v.ctx, func() { cancel(errMoved) })()
	began := time.Now()
	err := r.bringUp(ctx)
	if err == nil {
		r.c.passing(stepResyncDone)
		r.c.toldResynced(r, time.Since(began))
		err = r.c.join(ctx, r.to, r.drain)
	}
	return err
}

func (r *resync) bringUp(ctx context.Context) error {
	if r.step == "" {
		if err := r.begin(ctx); err != nil {
			return err
		}
	} else {
		r.to.recall(r.point.Marks)
	}
	r.c.toldResyncing(r)
	r.c.passing(stepResyncStarted)
	for _, step := range [...]struct {
		name string
		run  func(context.Context) error
	}{{stepCompare, r.compare}, {stepCopy, r.copyAll}, {stepFollow, r.follow}} {
		if r.step != step.name {
			continue
		}
		if err := step.run(ctx); err != nil {
			return err
		}
		if next := map[string]string{stepCompare: stepCopy, stepCopy: stepFollow}[step.name]; next != "" {
			r.point.List, r.point.Done = "", 0
			if err := r.savePoint(ctx, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin notes the present of the feed, before anything is read.
func (r *resync) begin(ctx context.Context) error {
	r.to.recall(nil)
	if err := r.fence(ctx); err != nil {
		return err
	}
	r.point = resyncPoint{About: -1}
	if r.v.active.feeds() {
		at, err := r.changes(ctx, "", func([]driver.Change) error { return nil })
		if err != nil {
			return err
		}
		r.point.Changes = at
	}
	about, err := attempt(ctx, ctx, r.c.policy().Attempt, func(ctx context.Context) (driver.ProbeResponse, error) {
		return r.v.active.store.Probe(ctx, driver.ProbeRequest{})
	}, func(error) {})
	if err == nil {
		r.point.About = about.Records
	}
	return r.savePoint(ctx, stepCompare)
}

// fence brings the epoch to the link, which may have lost it, so that hosts that
// believe in an older one are refused there.
func (r *resync) fence(ctx context.Context) error {
	_, err := onTarget(ctx, r, "advance epoch", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.to.inform(ctx, r.c.view.Load())
	})
	return err
}

// savePoint records how far the resync has come, and in which step.
func (r *resync) savePoint(ctx context.Context, step string) error {
	r.point.Marks = r.to.seen()
	r.step, r.saved = step, time.Now()
	return r.save(ctx, step, r.point)
}

// onTarget makes a call to the link, a few times if it fails in a way that may
// pass.
func onTarget[R any](ctx context.Context, r *resync, op string, call func(context.Context) (R, error)) (R, error) {
	for n := 1; ; n++ {
		p := r.c.policy()
		resp, err := attempt(ctx, ctx, p.Attempt, call, func(error) {})
		if err == nil || ctx.Err() != nil || n == targetTries || decide(opMerge, err) != again {
			return resp, driver.In(err, r.to.name, op)
		}
		pause(ctx, ctx, p.pause(n-1))
	}
}

// onSource makes a read of the active link, within the incident budget.
func onSource[R any](ctx context.Context, r *resync, op string, call func(context.Context, *link) (R, error)) (R, error) {
	resp, _, err := answered(ctx, r.c, opRead, op, nil, func(ctx context.Context, v *view) (R, error) {
		if v.epoch.Number != r.v.epoch.Number {
			var none R
			return none, &driver.Error{Class: driver.CursorLost, Cause: errMoved}
		}
		return call(ctx, v.active)
	})
	return resp, err
}

// merge brings records to the link and returns how many it lacked.
func (r *resync) merge(ctx context.Context, records []driver.Record) (applied int64, err error) {
	for len(records) > 0 {
		n := fitting(records)
		verdicts, err := onTarget(ctx, r, "merge", func(ctx context.Context) ([]driver.Verdict, error) {
			return r.to.merge(ctx, r.v.epoch.Number, records[:n])
		})
		if err != nil {
			return applied, err
		}
		for i, verdict := range verdicts {
			if verdict.Err != nil {
				return applied, driver.In(verdict.Err, r.to.name, "merge", records[i].ID)
			}
			if verdict.Applied && !reserved(records[i].Kind) {
				applied++
			}
		}
		records = records[n:]
	}
	return applied, nil
}

// fitting returns how many of the records go into one call.
func fitting(records []driver.Record) int {
	bytes := 0
	for i := range records[:min(len(records), driver.MaxBatch)] {
		if bytes += driver.EncodedSize(&records[i]); bytes > driver.MaxBatchBytes && i > 0 {
			return i
		}
	}
	return min(len(records), driver.MaxBatch)
}

// copyAll merges every record of the active link into the link.
func (r *resync) copyAll(ctx context.Context) error {
	list := func(ctx context.Context, cursor string) (driver.ListResponse, error) {
		return onSource(ctx, r, "list", func(ctx context.Context, from *link) (driver.ListResponse, error) {
			return from.list(ctx, driver.ListRequest{Cursor: cursor, Limit: driver.MaxBatch})
		})
	}
	return r.pages(ctx, list, func(ctx context.Context, records []driver.Record) error {
		applied, err := r.merge(ctx, records)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.copied += applied
		for i := range records {
			r.sample.add(records[i].ID)
		}
		return err
	})
}

// changes feeds what has changed in the active link since the cursor, up to the
// end, and returns the cursor that follows.
func (r *resync) changes(ctx context.Context, cursor string, emit func([]driver.Change) error) (string, error) {
	for n := 0; ; n++ {
		from := r.v.active
		err := from.store.Changes(ctx, driver.ChangesRequest{Seen: from.seen(), Cursor: cursor, Records: cursor != "", ToEnd: true},
			func(b driver.ChangeBatch) error {
				if err := emit(b.Changes); err != nil {
					return err
				}
				cursor = b.Cursor
				return nil
			})
		if err == nil || ctx.Err() != nil || n == targetTries || decide(opRead, err) != again {
			return cursor, driver.In(err, from.name, "changes")
		}
		pause(ctx, ctx, r.c.policy().pause(n))
	}
}

// delta merges what has changed in the active link since the save point, and
// returns how many changes those were.
func (r *resync) delta(ctx context.Context) (told int, err error) {
	if !r.v.active.feeds() { // then only another look at everything tells
		before := r.copied
		err := r.copyAll(ctx)
		return int(r.copied - before), err
	}
	work := newCrew(ctx)
	var waiting []driver.Record // a feed may tell of one change at a time: that many merges would take too long
	bytes := 0
	flush := func() error {
		records := waiting
		waiting, bytes = nil, 0
		return work.do(func(ctx context.Context) error {
			_, err := r.merge(ctx, records)
			return err
		})
	}
	at, err := r.changes(work.ctx, r.point.Changes, func(changes []driver.Change) error {
		told += len(changes)
		r.mu.Lock()
		for i := range changes {
			if record := changes[i].Record; record != nil {
				waiting = append(waiting, *record)
				bytes += driver.EncodedSize(record)
				r.sample.add(changes[i].ID)
			}
		}
		r.mu.Unlock()
		if len(waiting) < driver.MaxBatch && bytes < driver.MaxBatchBytes {
			return nil
		}
		return flush()
	})
	if err == nil && len(waiting) > 0 {
		err = flush()
	}
	if failed := work.wait(); failed != nil {
		err = failed // which has ended the feed
	}
	if err != nil {
		return told, err
	}
	r.point.Changes = at
	return told, nil
}

// follow merges what changes until little is left for the handover.
func (r *resync) follow(ctx context.Context) error {
	for range followRounds {
		began := time.Now()
		told, err := r.delta(ctx)
		if err != nil {
			return err
		}
		if time.Since(began) < r.c.policy().Handover/8 {
			return nil
		}
		if err := r.progress(ctx, int64(told), stepFollow); err != nil {
			return err
		}
	}
	return &driver.Error{Class: driver.Unavailable, Store: r.to.name, Op: "resync",
		Detail: fmt.Sprintf("what is written in %q meanwhile takes longer to copy than a handover may, also after %d rounds: "+
			"the link is too slow for the present load; it is tried again", r.v.active.name, followRounds)}
}

// drain copies what is left while nobody writes, and checks that both links hold
// the same.
func (r *resync) drain(ctx context.Context) error {
	r.c.passing(stepHandoverBegun)
	if _, err := r.delta(ctx); err != nil {
		return err
	}
	if err := r.verify(ctx); err != nil {
		return err
	}
	r.c.passing(stepDrained)
	return ctx.Err()
}
