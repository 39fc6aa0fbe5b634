// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// The words of the contract that applications use.
type (
	// Workflow is what [Chain.Start] makes a record of.
	Workflow = driver.Workflow
	// Record is the whole state of one workflow.
	Record = driver.Record
	// Status says where a workflow stands.
	Status = driver.Status
)

// stamp returns what a new transition puts on the record. Its epoch may be over
// when the transition is sent; it is then renewed.
func (c *Chain) stamp(lease driver.Token) driver.Stamp {
	v := c.view.Load()
	return driver.Stamp{Epoch: v.epoch.Number, Token: driver.NewToken(), Now: v.active.clock.now(), Lease: lease}
}

// Start creates a workflow and returns its record. It is idempotent by id: if a
// workflow with the id, the kind and the input is there already, wherever it
// stands by now, Start returns that one and nil. Labels and Due do not count.
//
// Start keeps nothing of w. The record of a workflow that it has created has the
// Input and the Labels of w, not copies of them.
//
// Errors: driver.Exists, with the stored record, if another workflow has the id;
// driver.Invalid; driver.TooLarge if the record would have more than 256 KiB, of
// which 257 bytes are kept for the lease of a worker; driver.Unavailable and
// driver.Unknown when ctx ended first.
func (c *Chain) Start(ctx context.Context, w Workflow) (Record, error) {
	if err := refuseReserved(w.ID, w.Kind); err != nil {
		return Record{}, driver.In(err, c.config.Name, string(driver.VerbStart), w.ID)
	}
	return c.start(ctx, w)
}

// start is Start also for the workflows of the chain itself.
func (c *Chain) start(ctx context.Context, w Workflow) (Record, error) {
	s, err := c.newStart(ctx, w)
	if err != nil {
		return Record{}, err
	}
	defer c.inFlight.Add(-1)
	c.commits.add(s.item)
	r, err := s.settle(ctx, w)
	if s.was != nil {
		return s.repeat(ctx, w)
	}
	return r, err
}

// ensureMirrored is mirror, within ctx, for a record that was read and not
// written. v is a view from before it was read: if its epoch is over, the record
// may be of a store that no longer counts, and the error is errMoved. So it is when
// too few standbys were left to have it, as soon as there are enough.
func (c *Chain) ensureMirrored(ctx context.Context, v *view, r Record) error {
	done := make(chan error, 1)
	go func() { done <- c.mirror(v, []driver.Record{r.Clone()}) }()
	select {
	case err := <-done:
		cur := c.view.Load()
		switch {
		case cur.epoch.Number != v.epoch.Number:
			return errMoved
		case err != nil:
			return err
		case c.protected(cur) || reserved(r.Kind):
			if !c.remember(v, &r) {
				return errMoved
			}
			return nil
		case c.awaitProtection(ctx) == nil:
			return errMoved
		}
	case <-ctx.Done():
	}
	return c.ended(ctx, "mirror", true, r.ID)
}

func storedIn(err error) *Record {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e.Stored
	}
	return nil
}

// Get returns the record of a workflow as the active link holds it.
//
// Errors: driver.NotFound; driver.Invalid for an id that cannot be one;
// driver.Unavailable when ctx ended first.
func (c *Chain) Get(ctx context.Context, id string) (Record, error) {
	r, err := c.get(ctx, id)
	return shown(r), err
}

// get is Get with what the chain keeps in the record.
func (c *Chain) get(ctx context.Context, id string) (Record, error) {
	err := driver.ValidateID(id)
	if err == nil {
		err = refuseReserved(id)
	}
	if err != nil {
		return Record{}, driver.In(err, c.config.Name, "get", id)
	}
	records, _, err := onActive(ctx, c, opRead, "get", []string{id}, func(ctx context.Context, v *view) ([]driver.Record, error) {
		return v.active.get(ctx, id)
	})
	if err == nil && len(records) == 0 {
		err = driver.NotFound
	}
	if err != nil {
		return Record{}, driver.In(err, c.config.Name, "get", id)
	}
	return records[0], nil
}

// Filter says what [Chain.List] returns.
type Filter struct {
	Kinds    []string // empty: all
	Statuses []Status // empty: all
	Cursor   string   // empty: the first page; else the Next of the page before, with the same filter
	Limit    int      // records of a page, 1–256; 0: 256
}

// Page is one page of a list. Only an empty Next means the end; a page may have
// fewer records than the limit, even none.
type Page struct {
	Records []Record
	Next    string
}

// List returns one page of the workflows that match f. Over all pages, every
// workflow that matched throughout comes exactly once; one that changed
// meanwhile comes once or not at all. The order is the store's own.
//
// Errors: driver.CursorLost when the chain has moved to another link since the
// page before: begin anew; driver.Invalid; driver.Unavailable when ctx ended
// first.
func (c *Chain) List(ctx context.Context, f Filter) (Page, error) {
	if f.Limit == 0 {
		f.Limit = driver.MaxBatch
	}
	from, cursor, ok := strings.Cut(f.Cursor, cursorMark)
	if f.Cursor != "" && !ok {
		return Page{}, &driver.Error{Class: driver.Invalid, Store: c.config.Name, Op: "list", Detail: "the cursor is not the Next of a page"}
	}
	req := driver.ListRequest{Kinds: f.Kinds, Statuses: f.Statuses, Cursor: cursor, Limit: f.Limit}
	resp, v, err := onActive(ctx, c, opRead, "list", nil, func(ctx context.Context, v *view) (driver.ListResponse, error) {
		if f.Cursor != "" && from != v.active.name {
			return driver.ListResponse{}, &driver.Error{Class: driver.CursorLost,
				Detail: "the chain has moved from " + from + " to " + v.active.name + " since the page before: begin anew"}
		}
		return v.active.list(ctx, req)
	})
	if err != nil {
		return Page{}, driver.In(err, c.config.Name, "list")
	}
	page := Page{Records: withoutReserved(resp.Records)}
	for i := range page.Records {
		page.Records[i] = shown(page.Records[i])
	}
	if resp.Next != "" {
		page.Next = v.active.name + cursorMark + resp.Next
	}
	return page, nil
}

// cursorMark divides the name of the link from the cursor of its store. Names of
// links cannot hold it.
const cursorMark = "/"

// Cancel ends a workflow by request and returns its record. A handler that works
// on it loses its lease. Cancelling a cancelled workflow changes nothing.
//
// Errors: driver.NotFound; driver.Conflict, with the stored record, if it has
// ended otherwise; driver.Unavailable and driver.Unknown when ctx ended first;
// driver.Unknown, with the stored record, if the answer of a store was lost and
// others have gone on with the workflow since, perhaps from where this call had
// brought it: look at the record, and decide whether to cancel again.
func (c *Chain) Cancel(ctx context.Context, id, reason string) (Record, error) {
	return c.change(ctx, driver.VerbCancel, id, in(driver.Cancelled), func(s driver.Stamp, r Record) (driver.Transition, error) {
		return driver.Cancel(s, r, fitted(r, reason), c.expires(s.Now))
	})
}

// Requeue brings a failed, cancelled or waiting workflow back, from its last save
// point and with a fresh count of attempts. A workflow that is ready already is
// left as it is.
//
// Errors: driver.NotFound; driver.Conflict, with the stored record, if it is in
// another status; driver.Unavailable and driver.Unknown as of [Chain.Cancel].
func (c *Chain) Requeue(ctx context.Context, id string) (Record, error) {
	return c.change(ctx, driver.VerbRequeue, id, in(driver.Ready), func(s driver.Stamp, r Record) (driver.Transition, error) {
		return driver.Requeue(s, r, s.Now)
	})
}

func in(status Status) func(Record) bool {
	return func(r Record) bool { return r.Status == status }
}

// change makes a transition that needs no lease, anew for as long as others
// come between and it certainly was not done. done reports whether there is
// nothing left to do. What it returns is as applications see it.
func (c *Chain) change(ctx context.Context, verb driver.Verb, id string, done func(Record) bool, transition func(driver.Stamp, Record) (driver.Transition, error)) (Record, error) {
	v := c.view.Load()
	r, err := c.get(ctx, id)
	for err == nil {
		if done(r) {
			if err := c.ensureMirrored(ctx, v, r); err == nil {
				return shown(r), nil
			} else if err != errMoved { //nolint:errorlint // it is never wrapped
				return Record{}, driver.In(err, c.config.Name, string(verb), id)
			}
			v = c.view.Load()
			r, err = c.get(ctx, id)
			continue
		}
		var t driver.Transition
		if t, err = transition(c.stamp(driver.Token{}), r); err != nil {
			break
		}
		var changed Record
		if changed, err = c.commit(ctx, verb, t); err == nil {
			return shown(changed.Clone()), nil
		}
		stored := storedIn(err)
		if stored == nil || !decided(err, &r, stored) && !done(*stored) {
			break
		}
		r, err = *stored, nil
	}
	return Record{}, driver.In(shownIn(err), c.config.Name, string(verb), id)
}

// decided reports whether err, which shows what is stored, means that a transition
// from r without a lease certainly does not count. No such transition leaves a
// lease in place, so one that r had and that still holds tells that even if the
// outcome of an attempt was not known.
func decided(err error, r, stored *Record) bool {
	switch driver.ClassOf(err) {
	case driver.Conflict:
		return true
	case driver.Unknown:
		return r.Status == driver.Leased && stored.Status == driver.Leased && stored.Lease.Token == r.Lease.Token
	}
	return false
}

// expires returns when a store may forget a workflow that ends at t.
func (c *Chain) expires(t time.Time) time.Time {
	if c.config.Retention < 0 {
		return time.Time{}
	}
	return t.Add(c.config.Retention)
}
