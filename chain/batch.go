// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"maps"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-dev/understudy/driver"
)

// Started is what became of one workflow of [Chain.StartBatch].
type Started struct {
	// Record of the workflow as it now stands; the zero Record with an error.
	Record Record
	// Err is nil if the workflow is there, started by this call or before. Else it
	// is what [Chain.Start] would have returned.
	Err error
}

// StartBatch creates any number of workflows and returns what became of each, in
// their order. It is [Chain.Start] for each of them: idempotent by id, so that a
// batch which ended half-way is simply started again, and one that is refused
// does not keep the others from being started. It is not a transaction.
//
// The workflows go to the store in calls of up to 256; no more than two calls of
// one batch are on their way at a time, so other callers do not wait behind a
// long batch. Those that were not sent when ctx ended have the error
// driver.Unavailable.
func (c *Chain) StartBatch(ctx context.Context, workflows []Workflow) []Started {
	started := make([]Started, len(workflows))
	for i, w := range workflows {
		started[i].Err = driver.In(refuseReserved(w.ID, w.Kind), c.config.Name, string(driver.VerbStart), w.ID)
	}
	var calls errgroup.Group // no call returns an error: each workflow has its own
	calls.SetLimit(inFlight)
	for low := 0; low < len(workflows); low += driver.MaxBatch {
		high := min(low+driver.MaxBatch, len(workflows))
		calls.Go(func() error {
			c.startAll(ctx, workflows[low:high], started[low:high])
			return nil
		})
	}
	_ = calls.Wait()
	return started
}

// startAll starts the workflows together and puts what became of each into
// started. Those that have an error there already are left out.
func (c *Chain) startAll(ctx context.Context, workflows []Workflow, started []Started) {
	starts := make([]*start, 0, len(workflows))
	items := make([]*item, 0, len(workflows))
	for i, w := range workflows {
		w.Input, w.Labels = bytes.Clone(w.Input), maps.Clone(w.Labels)
		if started[i].Err != nil {
			continue
		}
		s := &start{c: c, w: w, to: &started[i]}
		if s.prepare(ctx) && s.enter() {
			starts, items = append(starts, s), append(items, s.item)
		}
	}
	defer c.inFlight.Add(-int64(len(items)))
	c.commits.add(items...)
	var repeats errgroup.Group
	for _, s := range starts {
		if s.settle(ctx) {
			continue
		}
		// Repeats wait for the mirror, which combines those that wait at one time.
		repeats.Go(func() error {
			s.repeat(ctx)
			return nil
		})
	}
	_ = repeats.Wait()
}

// start is one workflow on its way in.
type start struct {
	c    *Chain
	w    Workflow // shares nothing with the application
	to   *Started
	view *view // from before item was made
	item *item
	was  *Record // what is stored, when the workflow has been started before
}

// prepare makes the transition. It returns false if there is none to send, and
// then to is set.
func (s *start) prepare(ctx context.Context) bool {
	if ctx.Err() != nil || s.c.ctx.Err() != nil {
		s.to.Err = s.c.ended(ctx, string(driver.VerbStart), false, s.w.ID)
		return false
	}
	s.view = s.c.view.Load()
	t, err := roomy(driver.Start(s.c.stamp(driver.Token{}), s.w))
	if err != nil {
		s.to.Err = driver.In(err, s.c.config.Name, string(driver.VerbStart), s.w.ID)
		return false
	}
	s.item = s.c.newItem(ctx, driver.VerbStart, t)
	return true
}

// enter counts the call in. It returns false if there are too many, and then to is
// set.
func (s *start) enter() bool {
	s.to.Err = s.c.enter(reserved(s.w.Kind), string(driver.VerbStart), s.w.ID)
	if s.to.Err != nil {
		s.item.sight.end(s.to.Err)
	}
	return s.to.Err == nil
}

// settle waits for the item. It returns false if the workflow has been started
// before, and it has yet to be seen to that every standby holds it.
func (s *start) settle(ctx context.Context) bool {
	r, err := s.c.await(ctx, driver.VerbStart, s.item)
	stored := storedIn(err)
	switch {
	case err == nil:
		s.to.Record = r.Clone()
	case driver.ClassOf(err) == driver.Exists && stored != nil && stored.Kind == s.w.Kind && bytes.Equal(stored.Input, s.w.Input):
		s.was = stored
		return false
	default:
		s.to.Err = shownIn(err)
	}
	return true
}

// repeat sees to it that every standby holds what is stored, since whoever started
// it may have died before that; over a failover it begins anew.
func (s *start) repeat(ctx context.Context) {
	for {
		switch err := s.c.ensureMirrored(ctx, s.view, *s.was); {
		case err == nil:
			s.to.Record = shown(*s.was)
			return
		case err != errMoved: //nolint:errorlint // it is never wrapped
			s.to.Err = driver.In(err, s.c.config.Name, string(driver.VerbStart), s.w.ID)
			return
		}
		if !s.prepare(ctx) {
			return
		}
		s.c.commits.add(s.item)
		if s.settle(ctx) {
			return
		}
	}
}
