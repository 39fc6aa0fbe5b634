// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// link is a store at its place in the chain, and what this host knows of it.
type link struct {
	name    string
	store   driver.Store
	owned   bool                                    // opened by the chain, so closed with it
	prompt  bool                                    // the store is in a plugin: a call returns when its context is done
	said    atomic.Pointer[driver.DescribeResponse] // what it is; nil until its driver has said so
	health  health
	checks  checks
	clock   clock
	merges  *combiner[*mergeGroup]
	drop    chan struct{}      // holds one while the in-sync set is changed because of this link
	stir    chan struct{}      // of one: the herald has something to do
	onLost  func(*link, error) // told once when lost is set
	missed  missed
	backlog backlog

	mu       sync.Mutex
	marks    driver.Marks
	since    time.Time           // answers to calls sent before do not count for marks
	anew     bool                // marks are of the data that a resync brings
	informed driver.EpochVersion // what the store is known to hold; zero: not known
	lost     error               // why the data cannot be trusted until a resync; nil: it can
	sound    bool                // see believed
	doubted  time.Time           // since when; zero: not
	latest   error               // the last failure, as evidence
}

// described reports whether the driver has said what the store is: always, but for
// a chain that was opened with Config.StartDegraded.
func (l *link) described() bool { return l.said.Load() != nil }

// about returns what the driver has said that the store is; nothing before it has.
func (l *link) about() *driver.DescribeResponse {
	if about := l.said.Load(); about != nil {
		return about
	}
	return &driver.DescribeResponse{}
}

// feeds reports whether the store has a change feed, as far as is known.
func (l *link) feeds() bool { return !l.described() || l.about().Has(driver.CapChanges) }

// seen returns what the next call tells the store to have seen of it.
func (l *link) seen() driver.Marks {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks
}

// note takes in what an answer to a call tells that was sent at sent, and that the
// store has checked against seen. Marks never go back. They turn to another
// incarnation, which a store begins when it restarts, only if the store has found
// everything there that is known now.
func (l *link) note(sent time.Time, seen driver.Marks, r driver.Receipt) {
	l.clock.observe(sent, time.Now(), r.Time)
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent.Before(l.since) {
		return
	}
	for _, m := range r.Marks {
		known := slices.IndexFunc(l.marks, func(k driver.Mark) bool { return k.Partition == m.Partition })
		if known < 0 || l.marks[known].Incarnation == m.Incarnation || slices.Contains(seen, l.marks[known]) {
			l.marks = l.marks.With(driver.Marks{m})
		}
	}
}

// recall begins the marks anew, from those of the save point of a resync; nil for
// a resync that begins.
func (l *link) recall(marks driver.Marks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks, l.since, l.anew = marks, time.Now(), true
}

// joined makes l a link to trust again, since it has come into the in-sync set.
// What was seen of it before its resync does not count; own says that the resync
// was one of this host.
func (l *link) joined(own bool) {
	l.missed.take()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sound = l.anew && own
	if !l.sound {
		l.marks, l.since = nil, time.Now()
	}
	l.lost, l.anew, l.doubted = nil, false, time.Time{}
}

// failed keeps err as evidence. A store that has lost data is not trusted again
// before it has joined anew.
func (l *link) failed(err error) {
	l.mu.Lock()
	l.latest = err
	lost := driver.ClassOf(err) == driver.Lost && l.lost == nil
	if lost {
		l.lost = err
	}
	l.mu.Unlock()
	if lost && l.onLost != nil {
		l.onLost(l, err)
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

// knows reports whether the store is known to hold a record, or a newer one.
func (l *link) knows(at driver.EpochVersion) bool {
	return !before(l.holding(), at)
}

// holding returns the highest record that the store is known to hold.
func (l *link) holding() driver.EpochVersion {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.informed
}

// learned notes that the store holds a record.
func (l *link) learned(at driver.EpochVersion) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before(l.informed, at) {
		l.informed = at
	}
}

// The calls below fill in the guard and take in the receipt.

func (l *link) commit(ctx context.Context, epoch uint64, transitions []driver.Transition) ([]driver.Verdict, error) {
	sent, seen := time.Now(), l.seen()
	resp, err := l.store.Commit(ctx, driver.CommitRequest{
		Guard: driver.Guard{Epoch: epoch, Seen: seen}, Transitions: transitions})
	if err != nil {
		return nil, driver.In(err, l.name, "commit")
	}
	l.note(sent, seen, resp.Receipt)
	return resp.Verdicts, l.complete("commit", len(resp.Verdicts), len(transitions))
}

func (l *link) merge(ctx context.Context, epoch uint64, records []driver.Record) ([]driver.Verdict, error) {
	sent, seen := time.Now(), l.seen()
	resp, err := l.store.Merge(ctx, driver.MergeRequest{
		Guard: driver.Guard{Epoch: epoch, Seen: seen}, Records: records})
	if err != nil {
		return nil, driver.In(err, l.name, "merge")
	}
	l.note(sent, seen, resp.Receipt)
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
		l.note(sent, req.Seen, resp.Receipt)
	}
	return resp, driver.In(err, l.name, "claim")
}

func (l *link) get(ctx context.Context, ids ...string) ([]driver.Record, error) {
	sent, seen := time.Now(), l.seen()
	resp, err := l.store.Get(ctx, driver.GetRequest{Seen: seen, IDs: ids})
	if err == nil {
		l.note(sent, seen, resp.Receipt)
	}
	return resp.Records, driver.In(err, l.name, "get", ids...)
}

func (l *link) list(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	req.Seen = l.seen()
	sent := time.Now()
	resp, err := l.store.List(ctx, req)
	if err == nil {
		l.note(sent, req.Seen, resp.Receipt)
	}
	return resp, driver.In(err, l.name, "list")
}

// epoch reads the epoch record of a link whose data counts. The store cannot
// check what was seen of it in this call, so the answer is checked here: the
// error is Lost if it is less than was known when the call was sent. Where the
// answer leaves that open, since the store has restarted, a probe tells.
func (l *link) epoch(ctx context.Context) (driver.Epoch, error) {
	seen, known, sent := l.seen(), l.holding(), time.Now()
	resp, err := l.store.Epoch(ctx, driver.EpochRequest{})
	if err == nil && resp.Marks.Check(seen) != nil {
		_, err = l.probeSince(ctx, seen)
	}
	if err == nil && before(resp.Epoch.At(), known) {
		err = &driver.Error{Class: driver.Lost, Detail: fmt.Sprintf(
			"it is at epoch %d.%d and was at %d.%d: it has gone back", resp.Epoch.Number, resp.Epoch.Version, known.Number, known.Version)}
	}
	if err != nil {
		return driver.Epoch{}, driver.In(err, l.name, "read epoch")
	}
	l.note(sent, nil, resp.Receipt)
	return resp.Epoch, nil
}

// read is epoch for a link whose data counts, else peek.
func (l *link) read(ctx context.Context, counts bool) (driver.Epoch, error) {
	if counts {
		return l.epoch(ctx)
	}
	return l.peek(ctx)
}

// meet reads the epoch record for a host that acts on none yet. A link that has
// lost what the host saw of it, and holds a record all the same, has been brought
// back by other hosts meanwhile, or fenced: the record says which.
func (l *link) meet(ctx context.Context) (driver.Epoch, error) {
	e, err := l.epoch(ctx)
	if driver.ClassOf(err) != driver.Lost {
		return e, err
	}
	if now, failed := l.peek(ctx); failed == nil && now.Number > 0 {
		l.joined(false)
		return now, nil
	}
	return e, err
}

// peek reads the epoch record of a link whose data does not count: it may have
// lost it.
func (l *link) peek(ctx context.Context) (driver.Epoch, error) {
	resp, err := l.store.Epoch(ctx, driver.EpochRequest{})
	if err != nil {
		return driver.Epoch{}, driver.In(err, l.name, "read epoch")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.informed = resp.Epoch.At()
	return resp.Epoch, nil
}

// probe is Probe with what this host has seen of the store, unless its data
// cannot be trusted anyway.
func (l *link) probe(ctx context.Context) (driver.ProbeResponse, error) {
	if l.distrusted() != nil {
		resp, err := l.store.Probe(ctx, driver.ProbeRequest{})
		return resp, driver.In(err, l.name, "probe")
	}
	return l.probeSince(ctx, l.seen())
}

// probeSince is Probe, with the error Lost if the store misses something of seen.
func (l *link) probeSince(ctx context.Context, seen driver.Marks) (driver.ProbeResponse, error) {
	sent := time.Now()
	resp, err := l.store.Probe(ctx, driver.ProbeRequest{Seen: seen})
	if err == nil {
		l.note(sent, seen, resp.Receipt)
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
	l.learned(next.At())
	if !trusting {
		l.note(sent, req.Seen, resp.Receipt)
	}
	return nil
}
