// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// item is one transition on its way into the chain. It keeps its token over
// retries and failovers; only its epoch becomes that of the request.
type item struct {
	ctx   context.Context // the caller's patience
	t     driver.Transition
	bytes int
	sight *sighting
	early bool        // may be acknowledged before the standbys have it
	own   bool        // is of the chain itself: does not wait for standbys, which it brings back
	done  chan result // of one

	mu      sync.Mutex
	sending bool      // a call with it is under way
	unknown bool      // one ended without telling what became of it
	gone    bool      // the caller no longer waits
	left    time.Time // when it went
}

// afterlife is how long an item goes on whose outcome is unknown when its caller
// leaves. The active link may have it, where others see it: then the standbys are
// to have it too.
const afterlife = time.Minute

type result struct {
	record *driver.Record // nil with an error
	err    error
}

func (it *item) weigh(l *load) {
	l.records++
	l.bytes += it.bytes
}

// take marks it as being sent, unless it is abandoned.
func (it *item) take() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.sending = !it.needless()
	return it.sending
}

// abandoned reports whether it need not be sent any more.
func (it *item) abandoned() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.needless()
}

// needless is abandoned. The caller holds it.mu.
func (it *item) needless() bool {
	if it.unknown {
		return it.gone && time.Since(it.left) > afterlife
	}
	return it.gone || it.ctx.Err() != nil
}

// back marks it as waiting again.
func (it *item) back(unknown bool) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.sending, it.unknown = false, it.unknown || unknown
}

// refuse answers its caller with err. After an attempt that did not tell what
// became of it, only an error that shows a stored record which cannot follow it
// means that the transition does not count.
func (it *item) refuse(err error) {
	it.mu.Lock()
	unknown := it.unknown
	it.mu.Unlock()
	if stored := storedIn(err); unknown && (stored == nil || it.mayPrecede(stored)) {
		err = &driver.Error{Class: driver.Unknown, Stored: stored, Cause: err,
			Detail: "an earlier attempt did not tell what became of it, and its repeat was refused"}
	}
	it.done <- result{err: err}
}

// mayPrecede reports whether stored, which another transition has made, may have
// come from what this one made. A start never has to ask: whether the workflow is
// the one to be started shows in the record at any later time.
func (it *item) mayPrecede(stored *driver.Record) bool {
	r := &it.t.Record
	return r.Revision > 1 && stored.Revision > r.Revision
}

// leave marks its caller as gone, and returns whether it may have been done.
func (it *item) leave() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.gone, it.left = true, time.Now()
	return it.sending || it.unknown
}

// verbRestamp is what a resync does to a record of which the returning link holds
// another one that would count as newer.
const verbRestamp driver.Verb = "restamp"

func (c *Chain) newItem(ctx context.Context, verb driver.Verb, t driver.Transition) *item {
	early := verb != driver.VerbCancel && verb != driver.VerbRequeue
	ctx, sight := c.telemetry.call(ctx, string(verb))
	return &item{ctx: ctx, t: t, bytes: driver.EncodedSize(&t.Record), sight: sight, early: early,
		own: verb == verbRestamp || reserved(t.Record.Kind), done: make(chan result, 1)}
}

// commit brings t into the active link and every standby of the in-sync set, and
// returns its record as stored. t must not share memory with the application.
func (c *Chain) commit(ctx context.Context, verb driver.Verb, t driver.Transition) (driver.Record, error) {
	if ctx.Err() != nil || c.ctx.Err() != nil {
		return driver.Record{}, c.ended(ctx, string(verb), false, t.Record.ID)
	}
	worker := verb != driver.VerbStart && verb != driver.VerbCancel && verb != driver.VerbRequeue
	if err := c.enter(worker, string(verb), t.Record.ID); err != nil {
		return driver.Record{}, err
	}
	defer c.inFlight.Add(-1)
	it := c.newItem(ctx, verb, t)
	c.commits.add(it)
	return c.await(ctx, verb, it)
}

// await waits for what becomes of an item that has been queued.
func (c *Chain) await(ctx context.Context, verb driver.Verb, it *item) (r driver.Record, err error) {
	defer func() { it.sight.end(err) }()
	id := it.t.Record.ID
	select {
	case r := <-it.done:
		if r.err != nil {
			return driver.Record{}, driver.In(r.err, c.config.Name, string(verb), id)
		}
		return *r.record, nil
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return driver.Record{}, c.ended(ctx, string(verb), it.leave(), id)
}

// commitBatch brings a batch into the active link, over any number of retries
// and failovers, and hands what was applied on to be mirrored.
func (c *Chain) commitBatch(items []*item) {
	for c.ctx.Err() == nil {
		v := c.view.Load()
		if c.gate(c.ctx, v, opCommit) != nil {
			return
		}
		if v != c.view.Load() {
			continue
		}
		if !c.protected(v) {
			items = c.park(items)
		}
		items = taken(items)
		if len(items) == 0 {
			return
		}
		transitions, sent := stamped(items, v.epoch.Number), items // what an attempt keeps that is late
		verdicts, repeat, err := try(c.ctx, c, v, opCommit, func(ctx context.Context) ([]driver.Verdict, error) {
			verdicts, err := v.active.commit(c.telemetry.callers(ctx, sent), v.epoch.Number, transitions)
			if err == nil {
				err = driver.In(refusal(verdicts), v.active.name, "commit")
			}
			if err == nil {
				err = raise(ctx, v, transitions, verdicts)
			}
			return verdicts, err
		})
		if err != nil {
			for i, it := range items {
				applied := i < len(verdicts) && verdicts[i].Err == nil // and then another record failed the batch
				it.back(applied || driver.ClassOf(err) == driver.Unknown)
			}
		}
		switch {
		case repeat:
		case err == nil:
			c.conclude(v, items, transitions, verdicts)
			return
		case len(items) == 1:
			items[0].refuse(err)
			return
		default: // one of them is poison: the others must not suffer for it
			half := len(items) / 2
			c.commitBatch(items[:half])
			c.commitBatch(items[half:])
			return
		}
	}
}

// taken marks the items whose callers still wait, and returns them.
func taken(items []*item) []*item {
	alive := make([]*item, 0, len(items))
	for _, it := range items {
		if it.take() {
			alive = append(alive, it)
		}
	}
	return alive
}

// stamped returns the transitions of the items in an epoch. They are copies: a
// call that was given up may still be reading the last ones.
func stamped(items []*item, epoch uint64) []driver.Transition {
	transitions := make([]driver.Transition, len(items))
	for i, it := range items {
		transitions[i] = it.t
		transitions[i].Record.Epoch = epoch
	}
	return transitions
}

// raise brings transitions that the active link had already, under the same token,
// but from an earlier epoch, into the present one: in the standbys they will stand
// like that. No link may hold a lower epoch than another one.
func raise(ctx context.Context, v *view, transitions []driver.Transition, verdicts []driver.Verdict) error {
	var repeats []driver.Record
	for i := range verdicts {
		if verdicts[i].Err == nil && !verdicts[i].Applied {
			repeats = append(repeats, transitions[i].Record)
		}
	}
	if len(repeats) == 0 {
		return nil
	}
	return mergeActive(ctx, v, repeats)
}

// refusal returns the first verdict that is not for the caller but for the link:
// the batch then counts as failed and is repeated as a whole, which is harmless
// to what was applied.
func refusal(verdicts []driver.Verdict) error {
	for i := range verdicts {
		if err := verdicts[i].Err; err != nil && decide(opVerdict, err) != giveBack {
			return err
		}
	}
	return nil
}

// applied is an item that the active link has taken, with its record as stored.
type applied struct {
	*item
	record *driver.Record
}

// records returns the records of items, which share memory with them.
func records(items []applied) []driver.Record {
	records := make([]driver.Record, len(items))
	for i := range items {
		records[i] = *items[i].record
	}
	return records
}

// conclude deals with the verdicts of a batch: errors go to their callers, what
// was applied is mirrored.
func (c *Chain) conclude(v *view, items []*item, transitions []driver.Transition, verdicts []driver.Verdict) {
	taken := make([]applied, 0, len(items))
	for i, it := range items {
		if err := verdicts[i].Err; err != nil {
			it.refuse(driver.In(err, v.active.name, "commit", it.t.Record.ID))
			continue
		}
		taken = append(taken, applied{it, &transitions[i].Record})
	}
	taken = c.acknowledgeEarly(v, taken)
	if len(taken) == 0 || len(v.standbys) == 0 {
		c.finish(v, taken, nil)
		return
	}
	go func() { c.finish(v, taken, c.mirror(v, records(taken))) }()
}

// finish answers the callers of what was applied in the active link of v and
// mirrored with the given outcome. What was overtaken by another epoch, or has
// too few standbys, is committed again, under the same token, in the epoch that
// comes: the store recognises it if it has it, and applies it if not.
func (c *Chain) finish(v *view, items []applied, err error) {
	moved := err == errMoved //nolint:errorlint // it is never wrapped
	protected := c.protected(c.view.Load())
	var again []*item
	for i := range items {
		switch it := &items[i]; {
		case moved || err == nil && (!protected && !it.own || !c.remember(v, it.record)):
			it.back(true)
			again = append(again, it.item)
		case err != nil:
			it.done <- result{err: err}
		default:
			it.answer(c)
		}
	}
	c.commits.add(again...)
}

// answer acknowledges the item to its caller.
func (a *applied) answer(c *Chain) {
	c.wakeFor(a.record)
	a.done <- result{record: a.record}
}
