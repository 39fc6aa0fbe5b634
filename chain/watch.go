// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// Change tells that a workflow has come to a revision.
type Change = driver.Change

// WatchFilter says what [Chain.Watch] tells of.
type WatchFilter struct {
	Kinds    []string // empty: all
	Statuses []Status // that a change has led to; empty: all
	// Cursor is where to go on: that of a batch, from any host of the chain, with
	// any filter. Empty: begin now.
	Cursor string
	// Records asks for the record of each workflow. It is as it stands when it is
	// read, so it may be of a later revision than the change.
	Records bool
}

// Changes is a stretch of what [Chain.Watch] tells.
type Changes struct {
	Changes []Change
	// Cursor is the place after the last of Changes: opaque, a text of printable
	// ASCII, at most 2 KiB for each link of the chain. Whoever has dealt with the
	// batch goes on from there, on this host or another one.
	Cursor string
	// Listed is whether the changes are those of a list: the workflows as they
	// stand, whether they have changed or not.
	Listed bool
}

// watchInterval is how often a watcher that is told something brings the places in
// the other links up to date.
const watchInterval = 10 * time.Second

// Watch calls emit for what happens to the workflows that match f, in batches,
// from one goroutine at a time, until ctx is done or emit returns an error. The
// first batch comes at once, with the cursor of the beginning.
//
// Every change comes at least once, with one exception: a change may be left out
// when a later one of the same workflow comes. So the last change of each workflow
// always comes, also over failovers and from a cursor of the past; whoever needs
// more than the last state must not rely on seeing each. Expiry is no change.
//
// Changes may come again, older ones too: those of about the last 10 s after a
// failover, and all since the cursor after a resumption. A change that was never
// acknowledged, and that a failover has overtaken, may come too, before the one
// that counts. (Epoch, Revision) of a change tells what is new: what a consumer has
// seen of a workflow was newer if its pair is not lower. An id that is used anew,
// after its workflow has expired, begins at revision 1 again. Where a store no longer
// reaches back to the cursor, all workflows that match come once, as a list.
//
// Errors: that of emit as it is; driver.Unavailable that wraps ctx's error or
// [ErrClosed]; driver.Invalid for a filter or cursor that cannot be one, or no emit;
// driver.Unsupported if a link has no change feed. While a link fails Watch waits,
// and goes on with the next one.
func (c *Chain) Watch(ctx context.Context, f WatchFilter, emit func(Changes) error) error {
	w := &watcher{c: c, filter: f, emit: emit}
	err := w.begin()
	for err == nil && w.stopped == nil && ctx.Err() == nil && c.ctx.Err() == nil {
		w.follow(ctx)
	}
	switch {
	case w.stopped != nil:
		return w.stopped
	case err == nil:
		err = c.ended(ctx, "watch", false)
	}
	return driver.In(err, c.config.Name, "watch")
}

// watcher is one call of Watch.
type watcher struct {
	c      *Chain
	filter WatchFilter
	emit   func(Changes) error

	// at holds a place in the feed of each link. That of the active link is where the
	// watcher stands. In the feed of another link, all that has not been told yet
	// comes after its place, should that link become active: see refresh.
	at       places
	begun    bool  // the first batch has been told
	untold   bool  // the cursor has moved since it was told
	stopped  error // by emit
	failures int   // of the feed, in a row
}

func (w *watcher) begin() error {
	if w.emit == nil {
		return missing("emit")
	}
	for _, l := range w.c.links {
		if !l.feeds() {
			return &driver.Error{Class: driver.Unsupported, Store: l.name, Op: "watch", Detail: "its store has no change feed"}
		}
	}
	check := driver.ListRequest{Kinds: w.filter.Kinds, Statuses: w.filter.Statuses, Limit: driver.MaxBatch}
	err := check.Validate()
	if err == nil {
		w.at, err = parsePlaces(w.c.config.Name, w.filter.Cursor)
	}
	return err
}

// follow goes on in the active link until the epoch is over, the feed breaks off,
// or the places in the other links have grown old.
func (w *watcher) follow(ctx context.Context) {
	v := w.c.view.Load()
	var err error
	if _, known := w.at[v.active.name]; !known && (w.begun || w.filter.Cursor != "") {
		err = w.list(ctx, v)
	} else {
		err = w.refresh(ctx, v)
	}
	if err == nil {
		err = w.live(ctx, v)
	}
	switch {
	case err == nil:
		return
	case w.stopped != nil || ctx.Err() != nil || v.ctx.Err() != nil:
		return
	case driver.ClassOf(err) == driver.CursorLost || driver.ClassOf(err) == driver.Invalid:
		delete(w.at, v.active.name)
		w.begun = true // so that it lists
	case w.failures == 0:
		w.c.log.Info("watch broke off", zap.String("link", v.active.name), zap.Error(err))
	}
	pause(ctx, v.ctx, w.c.policy().pause(w.failures))
	w.failures++
}

// refresh takes the present places of the standbys, and then tells everything that
// the active link holds. Whatever reached a standby before its place was taken had
// been acknowledged by the active link before that, and has been told now; the
// rest comes after that place.
func (w *watcher) refresh(ctx context.Context, v *view) error {
	others := places{}
	for _, l := range v.standbys {
		if place, err := w.present(ctx, v, l); err == nil {
			others[l.name] = place // else the former one, if any, still holds
		}
	}
	err := w.feed(ctx, v, driver.ChangesRequest{Cursor: w.at[v.active.name], ToEnd: true}, func() {})
	if err != nil || ctx.Err() != nil {
		return err // not everything before those places has been told
	}
	maps.Copy(w.at, others)
	if w.begun && !w.untold {
		return nil
	}
	return w.tell(nil, false)
}

// present returns the place of the present in the feed of a link.
func (w *watcher) present(ctx context.Context, v *view, l *link) (string, error) {
	found := errors.New("found")
	return attempt(ctx, v.ctx, w.c.policy().Attempt, func(ctx context.Context) (place string, err error) {
		err = l.store.Changes(ctx, driver.ChangesRequest{Seen: l.seen()}, func(b driver.ChangeBatch) error {
			place = b.Cursor
			return found
		})
		if errors.Is(err, found) {
			return place, nil
		}
		return "", driver.In(err, l.name, "changes")
	}, func(error) {})
}

// live tells what happens from now on. It ends, with nil, some time after
// something did.
func (w *watcher) live(ctx context.Context, v *view) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	old := time.AfterFunc(math.MaxInt64, stop)
	defer old.Stop()
	moved := sync.OnceFunc(func() { old.Reset(watchInterval) })
	return w.feed(ctx, v, driver.ChangesRequest{Cursor: w.at[v.active.name]}, moved)
}

// feed follows the feed of the active link of v, until the epoch or ctx is over.
// It calls moved with each batch that holds something.
func (w *watcher) feed(ctx context.Context, v *view, req driver.ChangesRequest, moved func()) error {
	run, cancel := context.WithCancel(v.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	req.Seen, req.Records = v.active.seen(), w.filter.Records
	err := v.active.store.Changes(run, req, func(b driver.ChangeBatch) error {
		w.failures = 0
		w.at[v.active.name] = b.Cursor
		if len(b.Changes) == 0 {
			return nil
		}
		w.untold = true
		moved()
		if matching := slices.DeleteFunc(b.Changes, w.hides); len(matching) > 0 {
			return w.tell(matching, false)
		}
		return nil
	})
	if w.stopped == nil && ctx.Err() != nil {
		return nil
	}
	return driver.In(err, v.active.name, "changes")
}

// list tells every workflow that matches as it stands in the active link of v. The
// place there is the one from before the list.
func (w *watcher) list(ctx context.Context, v *view) error {
	place, err := w.present(ctx, v, v.active)
	if err != nil {
		return err
	}
	w.c.log.Warn("watch lists all workflows: the change feed does not reach back to its cursor", zap.String("link", v.active.name))
	req := driver.ListRequest{Kinds: w.filter.Kinds, Statuses: w.filter.Statuses, Limit: driver.MaxBatch}
	for {
		page, _, err := onActive(ctx, w.c, opRead, "list", nil, func(ctx context.Context, now *view) (driver.ListResponse, error) {
			if now.epoch.Number != v.epoch.Number {
				return driver.ListResponse{}, driver.CursorLost
			}
			return v.active.list(ctx, req)
		})
		if err != nil {
			return err
		}
		changes := make([]Change, len(page.Records))
		for i := range page.Records {
			r := &page.Records[i]
			changes[i] = Change{ID: r.ID, Kind: r.Kind, Revision: r.Revision, Epoch: r.Epoch, Status: r.Status, Due: r.Due, Record: r}
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			w.at[v.active.name] = place
		}
		if err := w.tell(slices.DeleteFunc(changes, w.hides), true); err != nil {
			return err
		}
		if req.Cursor == "" {
			return nil
		}
	}
}

// hides reports whether the watcher does not tell of a change.
func (w *watcher) hides(ch Change) bool {
	return reserved(ch.Kind) ||
		len(w.filter.Kinds) > 0 && !slices.Contains(w.filter.Kinds, ch.Kind) ||
		len(w.filter.Statuses) > 0 && !slices.Contains(w.filter.Statuses, ch.Status)
}

// tell hands a batch to the application, which may keep it.
func (w *watcher) tell(changes []Change, listed bool) error {
	for i := range changes {
		switch r := changes[i].Record; {
		case !w.filter.Records:
			changes[i].Record = nil
		case r != nil:
			*r = shown(*r)
		}
	}
	w.begun, w.untold = true, false
	w.stopped = w.emit(Changes{Changes: changes, Cursor: w.at.cursor(w.c.config.Name), Listed: listed})
	return w.stopped
}

// places are cursors of stores, by the name of the link.
type places map[string]string

// cursorText is what a cursor of [Chain.Watch] holds, as JSON in base64.
type cursorText struct {
	Chain string `json:"chain"`
	Links places `json:"links"`
}

func (p places) cursor(chain string) string {
	text, _ := json.Marshal(cursorText{chain, p}) // texts can always be written
	return base64.RawURLEncoding.EncodeToString(text)
}

func parsePlaces(chain, cursor string) (places, error) {
	if cursor == "" {
		return places{}, nil
	}
	var c cursorText
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.Chain != chain || c.Links == nil {
		return nil, &driver.Error{Class: driver.Invalid, Cause: err, Detail: "the cursor is not that of a batch of this chain"}
	}
	return c.Links, nil
}
