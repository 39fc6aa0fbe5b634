// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"time"

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
	var calls errgroup.Group     // no call returns an error: each workflow has its own
	calls.SetLimit(inFlight - 1) // which leaves room for others
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
	starts := make([]*start, len(workflows))
	items := make([]*item, 0, len(workflows))
	for i, w := range workflows {
		if started[i].Err != nil {
			continue
		}
		if starts[i], started[i].Err = c.newStart(ctx, w); started[i].Err == nil {
			items = append(items, starts[i].item)
		}
	}
	defer c.inFlight.Add(-int64(len(items)))
	c.commits.add(items...)
	var repeats errgroup.Group
	for i, s := range starts {
		if started[i].Err != nil {
			continue
		}
		to := &started[i]
		if to.Record, to.Err = s.settle(ctx, workflows[i]); s.was == nil {
			continue
		}
		// Repeats wait for the mirror, which combines those that wait at one time.
		repeats.Go(func() error {
			to.Record, to.Err = s.repeat(ctx, workflows[i])
			return nil
		})
	}
	_ = repeats.Wait()
}

// start is one workflow on its way in.
type start struct {
	c    *Chain
	w    Workflow // shares nothing with the application
	view *view    // from before item was made
	item *item
	was  *Record // what is stored, when the workflow has been started before
}

// newStart prepares the start of w and counts it in.
func (c *Chain) newStart(ctx context.Context, w Workflow) (*start, error) {
	w.Input, w.Labels = bytes.Clone(w.Input), maps.Clone(w.Labels)
	s := &start{c: c, w: w}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	err := c.enter(reserved(w.Kind), string(driver.VerbStart), w.ID)
	if err != nil {
		s.item.sight.end(err)
	}
	return s, err
}

// prepare makes the transition.
func (s *start) prepare(ctx context.Context) error {
	if ctx.Err() != nil || s.c.ctx.Err() != nil {
		return s.c.ended(ctx, string(driver.VerbStart), false, s.w.ID)
	}
	s.view, s.was = s.c.view.Load(), nil
	t, err := roomy(driver.Start(s.c.stamp(driver.Token{}), s.w))
	if err != nil {
		return driver.In(err, s.c.config.Name, string(driver.VerbStart), s.w.ID)
	}
	s.item = s.c.newItem(ctx, driver.VerbStart, t)
	return nil
}

// settle waits for the item. It sets was, and returns neither a record nor an
// error, if w has been started before: it has then yet to be seen to that every
// standby holds it. The record shares the slices and the map of w, as the
// application gave them.
func (s *start) settle(ctx context.Context, w Workflow) (Record, error) {
	r, err := s.c.await(ctx, driver.VerbStart, s.item)
	if err == nil {
		r.Input, r.Labels = w.Input, w.Labels
		return r, nil
	}
	stored := storedIn(err)
	switch {
	case driver.ClassOf(err) != driver.Exists || stored == nil:
		return Record{}, shownIn(err)
	case stored.Kind != s.w.Kind:
		return Record{}, s.taken(err, stored, fmt.Sprintf("kind %q", stored.Kind))
	case !bytes.Equal(stored.Input, s.w.Input):
		return Record{}, s.taken(err, stored, "another input")
	}
	s.was = stored
	return Record{}, nil
}

// taken is the error when another workflow has the id.
func (s *start) taken(cause error, stored *Record, other string) error {
	return shownIn(&driver.Error{Class: driver.Exists, Store: s.c.config.Name, Op: string(driver.VerbStart), IDs: []string{s.w.ID}, Stored: stored,
		Detail: fmt.Sprintf("there is a workflow with this id and %s, created at %s: the new one needs another id", other, stored.Created.Format(time.RFC3339)), Cause: cause})
}

// repeat sees to it that every standby holds what is stored, since whoever started
// it may have died before that; over a failover it begins anew.
func (s *start) repeat(ctx context.Context, w Workflow) (Record, error) {
	for {
		switch err := s.c.ensureMirrored(ctx, s.view, *s.was); {
		case err == nil:
			return shown(*s.was), nil
		case err != errMoved: //nolint:errorlint // it is never wrapped
			return Record{}, driver.In(err, s.c.config.Name, string(driver.VerbStart), s.w.ID)
		}
		if err := s.prepare(ctx); err != nil {
			return Record{}, err
		}
		s.c.commits.add(s.item)
		if r, err := s.settle(ctx, w); s.was == nil {
			return r, err
		}
	}
}
