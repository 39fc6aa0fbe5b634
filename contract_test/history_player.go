// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// player turns the steps of one history into requests, sends them, and keeps what
// each host learns.
type player struct {
	*stage
	scope   string       // before each id and kind, since histories share a chain
	began   time.Time    // the store's time at the begin, in whole milliseconds
	base    driver.Epoch // at the begin
	ticks   int          // passed since
	hosts   [historyHosts]host
	sent    map[int]any  // the mutation of each step
	nothing map[int]bool // the claims that gave nothing
}

// host is what one host knows. Ids are without scope.
type host struct {
	epoch driver.Epoch
	known map[string]driver.Record
	seen  driver.Marks
}

// answer is the outcome of any request.
type answer struct {
	err      error
	receipt  driver.Receipt
	verdicts []driver.Verdict // commit, merge
	records  []driver.Record  // claim, get, list
	next     time.Time        // claim
	epoch    driver.Epoch     // epoch, advance
}

// callTime is how long one call may take: long enough for a machine that is busy.
func (e *env) callTime() time.Duration { return max(10*time.Second, e.h.timeout()/6) }

func newPlayer(s *stage) (*player, error) {
	s.played++
	p := &player{stage: s, scope: fmt.Sprintf("h%d-", s.played), sent: map[int]any{}, nothing: map[int]bool{}}
	now := p.send(0, driver.EpochRequest{})
	if now.err != nil {
		return nil, fmt.Errorf("read the epoch: %w", now.err)
	}
	if now.epoch.State != driver.Serving {
		next := driver.Epoch{Number: now.epoch.Number + 1, Token: p.token(-1, 0), Active: "one"}
		now = p.send(0, driver.AdvanceRequest{Expect: now.epoch.At(), Next: next})
		if now.err != nil {
			return nil, fmt.Errorf("end the handover of the history before: %w", now.err)
		}
	}
	p.began = driver.Millis(now.receipt.Time)
	p.base, p.marks = now.epoch, p.marks.With(now.receipt.Marks)
	for i := range p.hosts {
		p.hosts[i] = host{epoch: now.epoch, known: map[string]driver.Record{}, seen: now.receipt.Marks}
	}
	return p, nil
}

// at is the instant k ticks after the begin, less half a tick.
func (p *player) at(k int) time.Time { return p.began.Add(time.Duration(k)*tick - tick/2) }

// now is the time at which the store's clock ought to stand.
func (p *player) now() time.Time { return p.began.Add(time.Duration(p.ticks) * tick) }

// token names item j of step i. Its order against other tokens does not depend on
// the scope, so that a history always goes the same way.
func (p *player) token(i, j int) driver.Token {
	var place [16]byte
	binary.BigEndian.PutUint64(place[:8], uint64(i))
	binary.BigEndian.PutUint64(place[8:], uint64(j))
	sum := sha256.Sum256(place[:])
	scope := sha256.Sum256([]byte(p.e.chain + p.scope))
	return driver.Token(append(sum[:8:8], scope[:8]...))
}

func (p *player) scoped(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, p.scope+n)
	}
	return out
}

// take returns the request of a step, or nil if it has none: it moves the clock,
// opens a connection anew, or cannot be taken here.
func (p *player) take(i int, s Step) (any, error) {
	switch s.Op {
	case OpPass:
		if p.e.h.Advance != nil {
			p.e.h.Advance(p.e.T, p.e.chain, time.Duration(s.Ticks)*tick)
			p.ticks += s.Ticks
		}
		return nil, nil
	case OpReopen:
		return nil, p.reopen(s.Host)
	case OpRepeat:
		req := p.sent[i-s.Back]
		if _, claim := req.(driver.ClaimRequest); p.nothing[i-s.Back] || claim && p.e.h.Chain {
			// Whether a claim that gave nothing is remembered is the store's own affair, and
			// the callers of a chain do not repeat claims.
			req = nil
		}
		if s.Restamp {
			req = restamp(req, p.hosts[s.Host].epoch.Number)
		}
		p.sent[i] = req
		return req, nil
	default:
		req, err := p.request(i, s)
		p.sent[i] = req
		return req, err
	}
}

func (p *player) reopen(h int) error {
	if !p.e.h.Has(driver.CapShared) {
		return nil
	}
	if err := closeStore(p.stores[h], p.e.closeTime()); err != nil {
		return err
	}
	p.stores[h] = p.e.open().Store
	return nil
}

// send makes the call and returns what became of it.
func (p *player) send(h int, request any) answer {
	ctx, cancel := context.WithTimeout(p.e.Context(), p.e.callTime())
	defer cancel()
	store := p.stores[h]
	var a answer
	switch req := request.(type) {
	case driver.CommitRequest:
		resp, err := store.Commit(ctx, req)
		a = answer{err: err, receipt: resp.Receipt, verdicts: resp.Verdicts}
	case driver.MergeRequest:
		resp, err := store.Merge(ctx, req)
		a = answer{err: err, receipt: resp.Receipt, verdicts: resp.Verdicts}
	case driver.ClaimRequest:
		resp, err := store.Claim(ctx, req)
		a = answer{err: err, receipt: resp.Receipt, records: resp.Records, next: resp.Next}
	case driver.GetRequest:
		resp, err := store.Get(ctx, req)
		a = answer{err: err, receipt: resp.Receipt, records: resp.Records}
	case driver.ListRequest:
		a = listAll(ctx, store, req, p.e.h.Chain)
	case driver.EpochRequest:
		resp, err := store.Epoch(ctx, req)
		a = answer{err: err, receipt: resp.Receipt, epoch: resp.Epoch}
	case driver.AdvanceRequest:
		resp, err := store.Advance(ctx, req)
		a = answer{err: err, receipt: resp.Receipt, epoch: resp.Epoch}
	case driver.ProbeRequest:
		resp, err := store.Probe(ctx, req)
		a = answer{err: err, receipt: resp.Receipt}
	}
	return a
}

// listAll reads all pages.
func listAll(ctx context.Context, store driver.Store, req driver.ListRequest, chained bool) answer {
	var a answer
	for {
		page, err := store.List(ctx, req)
		if driver.ClassOf(err) == driver.CursorLost && chained {
			a.records, req.Cursor = nil, "" // it has moved to another link: begin anew
			continue
		}
		if err != nil {
			a.err = err
			return a
		}
		if len(page.Records) > req.Limit {
			a.err = fmt.Errorf("a page of %d records where the limit is %d", len(page.Records), req.Limit)
			return a
		}
		a.receipt, a.records = page.Receipt, append(a.records, page.Records...)
		if page.Next == "" {
			return a
		}
		req.Cursor = page.Next
	}
}

// learn keeps what a host may conclude from an answer.
func (p *player) learn(i, h int, request any, a answer) {
	who := &p.hosts[h]
	if _, isClaim := request.(driver.ClaimRequest); isClaim && a.err == nil && len(a.records) == 0 {
		p.nothing[i] = true
	}
	who.seen, p.marks = who.seen.With(a.receipt.Marks), p.marks.With(a.receipt.Marks)
	for _, r := range a.records {
		p.knows(who, r)
	}
	for j, v := range a.verdicts {
		if v.Applied {
			p.knows(who, writtenAt(request, j))
		}
		if e, ok := errors.AsType[*driver.Error](v.Err); ok && e.Stored != nil {
			p.knows(who, *e.Stored)
		}
	}
	if e, ok := errors.AsType[*driver.Error](a.err); ok && e.Epoch != nil && e.Class != driver.Lost {
		who.epoch = *e.Epoch
	}
	if a.epoch.Number > 0 {
		who.epoch = a.epoch
	}
}

func (p *player) knows(who *host, r driver.Record) {
	if id, ours := strings.CutPrefix(r.ID, p.scope); ours {
		who.known[id] = r.Clone()
	}
}

// writtenAt returns record j of a commit or a merge.
func writtenAt(request any, j int) driver.Record {
	switch req := request.(type) {
	case driver.CommitRequest:
		return req.Transitions[j].Record
	case driver.MergeRequest:
		return req.Records[j]
	}
	return driver.Record{}
}
