// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// link is a store at its place in the chain, and what this host knows of it.
type link struct {
	name   string
	store  driver.Store
	owned  bool // opened by the chain, so closed with it
	about  driver.DescribeResponse
	health health
	checks checks
	clock  clock
	merges *combiner[*mergeGroup]
	drop   chan struct{} // holds one while the in-sync set is changed because of this link

	// informed is the highest epoch number that the store is known to hold.
	informed atomic.Uint64

	mu     sync.Mutex
	marks  driver.Marks
	lost   error // why the data cannot be trusted until a resync; nil: it can
	latest error // the last failure, as evidence
}

// seen returns what the next call tells the store to have seen of it.
func (l *link) seen() driver.Marks {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks
}

// note takes in what an answer to a call sent at sent tells.
func (l *link) note(sent time.Time, r driver.Receipt) {
	l.clock.observe(sent, time.Now(), r.Time)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = l.marks.With(r.Marks)
}

// failed keeps err as evidence. A store that has lost data is not trusted again.
func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = err
	if driver.ClassOf(err) == driver.Lost && l.lost == nil {
		l.lost = err
	}
}

// distrusted returns why the data of the link cannot be trusted; nil if it can.
func (l *link) distrusted() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// evidence returns the last failure of the link; nil if there was none.
func (l *link) evidence() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest
}

// The calls below fill in the guard and take in the receipt.

func (l *link) commit(ctx context.Context, epoch uint64, transitions []driver.Transition) ([]driver.Verdict, error) {
	sent := time.Now()
	resp, err := l.store.Commit(ctx, driver.CommitRequest{
		Guard: driver.Guard{Epoch: epoch, Seen: l.seen()}, Transitions: transitions})
	if err != nil {
		return nil, driver.In(err, l.name, "commit")
	}
	l.note(sent, resp.Receipt)
	return resp.Verdicts, l.complete("commit", len(resp.Verdicts), len(transitions))
}

func (l *link) merge(ctx context.Context, epoch uint64, records []driver.Record) ([]driver.Verdict, error) {
	sent := time.Now()
	resp, err := l.store.Merge(ctx, driver.MergeRequest{
		Guard: driver.Guard{Epoch: epoch, Seen: l.seen()}, Records: records})
	if err != nil {
		return nil, driver.In(err, l.name, "merge")
	}
	l.note(sent, resp.Receipt)
	return resp.Verdicts, l.complete("merge", len(resp.Verdicts), len(records))
}

// complete refuses an answer without a verdict for each record: what became of
// them is then not known.
func (l *link) complete(op string, have, want int) error {
	if have == want {
		return nil
	}
	return &driver.Error{Class: driver.Unknown, Store: l.name, Op: op,
		Detail: fmt.Sprintf("the driver gave %d verdicts for %d records: it breaks the contract", have, want)}
}

func (l *link) claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	req.Seen = l.seen()
	sent := time.Now()
	resp, err := l.store.Claim(ctx, req)
	if err == nil {
		l.note(sent, resp.Receipt)
	}
	return resp, driver.In(err, l.name, "claim")
}

func (l *link) get(ctx context.Context, ids ...string) ([]driver.Record, error) {
	sent := time.Now()
	resp, err := l.store.Get(ctx, driver.GetRequest{Seen: l.seen(), IDs: ids})
	if err == nil {
		l.note(sent, resp.Receipt)
	}
	return resp.Records, driver.In(err, l.name, "get", ids...)
}

func (l *link) list(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	req.Seen = l.seen()
	sent := time.Now()
	resp, err := l.store.List(ctx, req)
	if err == nil {
		l.note(sent, resp.Receipt)
	}
	return resp, driver.In(err, l.name, "list")
}

func (l *link) epoch(ctx context.Context) (driver.Epoch, error) {
	sent := time.Now()
	resp, err := l.store.Epoch(ctx, driver.EpochRequest{})
	if err == nil {
		l.note(sent, resp.Receipt)
	}
	return resp.Epoch, driver.In(err, l.name, "read epoch")
}

// probe is Probe with what this host has seen of the store, unless its data
// cannot be trusted anyway.
func (l *link) probe(ctx context.Context) (driver.ProbeResponse, error) {
	var req driver.ProbeRequest
	trusted := l.distrusted() == nil
	if trusted {
		req.Seen = l.seen()
	}
	sent := time.Now()
	resp, err := l.store.Probe(ctx, req)
	if err == nil && trusted {
		l.note(sent, resp.Receipt)
	}
	return resp, driver.In(err, l.name, "probe")
}

// advance is Advance with what this host has seen of the store; trusting leaves
// that out, for a link that is only to be fenced.
func (l *link) advance(ctx context.Context, expect driver.EpochVersion, next driver.Epoch, trusting bool) error {
	req := driver.AdvanceRequest{Expect: expect, Next: next.Clone()}
	if !trusting {
		req.Seen = l.seen()
	}
	sent := time.Now()
	resp, err := l.store.Advance(ctx, req)
	if err != nil {
		return driver.In(err, l.name, "advance epoch")
	}
	l.informed.Store(max(l.informed.Load(), next.Number))
	if !trusting {
		l.note(sent, resp.Receipt)
	}
	return nil
}

// inform brings e to the store unless it holds that number already. The error is
// Fenced with the newer epoch if it holds a higher one.
func (l *link) inform(ctx context.Context, e driver.Epoch, trusting bool) error {
	if l.informed.Load() >= e.Number {
		return nil
	}
	held, err := l.epoch(ctx)
	switch {
	case err != nil:
		return err
	case held.Number > e.Number:
		return &driver.Error{Class: driver.Fenced, Store: l.name, Op: "advance epoch", Epoch: &held}
	case held.Number == e.Number && held.Active != e.Active:
		return &driver.Error{Class: driver.Conflict, Store: l.name, Op: "advance epoch", Epoch: &held,
			Detail: fmt.Sprintf("two hosts have made epoch %d, for %q and %q", e.Number, e.Active, held.Active)}
	case held.Number == e.Number:
		l.informed.Store(e.Number)
		return nil
	}
	return l.advance(ctx, held.At(), e, trusting)
}

// clock estimates a store's time from its answers, so that due times and ends of
// leases never depend on the clock of this host.
type clock struct {
	mu     sync.Mutex
	offset time.Duration // store's time minus ours
	trip   time.Duration // round trip of the answer it was taken from
	at     time.Time     // when that was
}

const clockAge = 10 * time.Second

// observe takes a sample. A quick answer tells the time better than a slow one,
// a recent one better than an old one.
func (c *clock) observe(sent, received, store time.Time) {
	if store.IsZero() {
		return
	}
	trip := received.Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && trip > c.trip && received.Sub(c.at) < clockAge {
		return
	}
	c.offset, c.trip, c.at = store.Sub(sent.Add(trip/2)), trip, received
}

// now returns the store's time as far as it is known.
func (c *clock) now() time.Time {
	return time.Now().Add(c.shift())
}

// until returns how long it is until the store's time is t.
func (c *clock) until(t time.Time) time.Duration {
	return time.Until(t.Add(-c.shift()))
}

func (c *clock) shift() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}
