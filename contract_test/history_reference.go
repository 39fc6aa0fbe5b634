// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// reference goes through a history beside the store and says whether its answers
// are right. Where the contract leaves a choice that shows at once (which of two
// records due at the same time a claim gives) it follows the store; where it may
// show later (whether an expired record has been forgotten) it keeps every state
// that explains the answers so far.
type reference struct{ states []*state }

func newReference(p *player) *reference {
	s := newState()
	s.epoch = p.hosts[0].epoch.Clone()
	return &reference{[]*state{s}}
}

// compare puts the request to the model as well and returns how the store's answer
// differs from an answer it may give.
func (ref *reference) compare(p *player, request any, got answer) error {
	if err := p.checkReceipt(got); err != nil {
		return err
	}
	request, seen := withoutSeen(request)
	if p.foreseesLost(seen) {
		if driver.ClassOf(got.err) == driver.Lost {
			return nil
		}
		if !p.mayMissMarks(seen, got) {
			return fmt.Errorf("the caller has seen more than the store holds: want %s, got %w", driver.Lost.String(), orNil(got.err))
		}
	}
	var first error
	explaining := map[string]*state{}
	for _, before := range ref.states {
		for _, s := range before.forgetful(touched(request, before), p.now()) {
			err := differs(s, p, request, got)
			if err == nil {
				explaining[s.key()] = s
			} else if first == nil {
				first = err
			}
		}
	}
	if len(explaining) == 0 {
		return first
	}
	ref.states = slices.Collect(maps.Values(explaining))
	return nil
}

// forgetful returns a copy of s for each way to have forgotten some of the ids that
// have expired at now. Of other ids it need not be settled yet.
func (s *state) forgetful(ids []string, now time.Time) []*state {
	ways := []*state{s.fork()}
	for _, id := range ids {
		if r, held := s.records[id]; !held || !expired(&r, now) {
			continue
		}
		for _, keeps := range slices.Clip(ways) {
			forgets := keeps.fork()
			delete(forgets.records, id)
			ways = append(ways, forgets)
		}
	}
	return ways
}

// touched returns the ids whose records matter for the answer to a request, each
// once.
func touched(request any, s *state) []string {
	ids := map[string]bool{}
	switch req := request.(type) {
	case driver.CommitRequest:
		for i := range req.Transitions {
			ids[req.Transitions[i].Record.ID] = true
		}
	case driver.MergeRequest:
		for i := range req.Records {
			ids[req.Records[i].ID] = true
		}
	case driver.GetRequest:
		for _, id := range req.IDs {
			ids[id] = true
		}
	case driver.ListRequest:
		for id := range s.records {
			ids[id] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// key tells states apart: those with the same key answer alike for ever.
func (s *state) key() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.records)) {
		r := s.records[id]
		fmt.Fprintf(&b, "%s %d %d %s;", id, r.Epoch, r.Revision, r.Token)
	}
	for _, c := range s.changes {
		fmt.Fprintf(&b, "%s %d %d;", c.ID, c.Epoch, c.Revision)
	}
	return b.String()
}

// differs applies the request to s and compares.
func differs(s *state, p *player, request any, got answer) error {
	choice := choice{got: got, ordered: len(p.marks) <= 1}
	want := s.answer(request, p.now(), choice.choose)
	if choice.fault != nil {
		return choice.fault
	}
	if req, isClaim := request.(driver.ClaimRequest); isClaim && want.err == nil && got.err == nil {
		s.adoptTimes(&req, &want, got, p.now())
	}
	got.records = slices.DeleteFunc(slices.Clone(got.records), func(r driver.Record) bool { return !strings.HasPrefix(r.ID, p.scope) })
	return difference(request, want, got)
}

// answer is what the model answers.
func (s *state) answer(request any, now time.Time, choose chooser) answer {
	switch req := request.(type) {
	case driver.CommitRequest:
		resp, err := s.commit(req, now)
		return answer{err: err, verdicts: resp.Verdicts}
	case driver.MergeRequest:
		resp, err := s.merge(req, now)
		return answer{err: err, verdicts: resp.Verdicts}
	case driver.ClaimRequest:
		resp, err := s.claim(req, now, choose)
		return answer{err: err, records: resp.Records, next: resp.Next}
	case driver.GetRequest:
		resp, err := s.get(req, now)
		return answer{err: err, records: resp.Records}
	case driver.ListRequest:
		resp, err := s.list(req, now)
		if err == nil {
			req.Limit = driver.MaxBatch // all pages
			resp, err = s.list(req, now)
		}
		return answer{err: err, records: resp.Records}
	case driver.EpochRequest:
		return answer{epoch: s.epoch.Clone()}
	case driver.AdvanceRequest:
		resp, err := s.advance(req, now)
		return answer{err: err, epoch: resp.Epoch}
	}
	return answer{} // a probe changes nothing
}

// choice follows the store in what a claim gives.
type choice struct {
	got     answer
	ordered bool // the store has one partition, so what is due first comes first
	fault   error
}

func (c *choice) choose(claimable []driver.Record, limit int) []driver.Record {
	if c.got.err != nil {
		return nil
	}
	if want := min(limit, len(claimable)); len(c.got.records) != want {
		c.fault = fmt.Errorf("the claim gave %v, which are not %d of the claimable %v", ids(c.got.records), want, sorted(ids(claimable)))
		return nil
	}
	var given []driver.Record
	var lastGiven time.Time
	for _, g := range c.got.records {
		i := slices.IndexFunc(claimable, func(r driver.Record) bool { return r.ID == g.ID })
		if i < 0 {
			c.fault = fmt.Errorf("the claim gave %q twice, or it is not claimable", g.ID)
			return nil
		}
		if c.ordered && claimable[i].Due.Before(lastGiven) {
			c.fault = fmt.Errorf("the claim gave %v, in which %q stands behind what is due later", ids(c.got.records), g.ID)
			return nil
		}
		given, lastGiven = append(given, claimable[i]), claimable[i].Due
		claimable = slices.Delete(claimable, i, i+1)
	}
	for _, r := range claimable {
		if c.ordered && r.Due.Before(lastGiven) {
			c.fault = fmt.Errorf("the claim passed over %q, which is due before others of %v", r.ID, ids(c.got.records))
		}
	}
	return given
}

// adoptTimes takes over the times that the store chose in a claim, if they are
// right: its own time, and the lease's length later.
func (s *state) adoptTimes(req *driver.ClaimRequest, want *answer, got answer, now time.Time) {
	for i := range want.records {
		r := &want.records[i]
		j := slices.IndexFunc(got.records, func(g driver.Record) bool { return g.ID == r.ID })
		if j < 0 || !r.Updated.Equal(now) {
			continue
		}
		chosen := got.records[j].Updated
		if !near(chosen, now) || !got.records[j].Due.Equal(chosen.Add(req.Lease)) {
			continue
		}
		r.Updated, r.Due = chosen, chosen.Add(req.Lease)
		s.records[r.ID] = *r
		if c, ok := s.claims[req.Token]; ok {
			c.end = r.Due
			s.claims[req.Token] = c
		}
		for k := len(s.changes) - 1; k >= 0; k-- { // its own change is the last of the id
			if s.changes[k].ID == r.ID {
				s.changes[k].Due = r.Due
				break
			}
		}
	}
}

func near(t, expected time.Time) bool { return t.Sub(expected).Abs() <= clockTolerance }

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// checkReceipt checks that the store's marks never go back, go on with each
// change, and that its clock is right.
func (p *player) checkReceipt(got answer) error {
	if got.err != nil {
		return nil
	}
	if !near(got.receipt.Time, p.now()) {
		return fmt.Errorf("the receipt has the time %s, the store's clock ought to stand at about %s", got.receipt.Time, p.now())
	}
	known := maps.Collect(func(yield func(uint32, driver.Mark) bool) {
		for _, m := range p.marks {
			if !yield(m.Partition, m) {
				return
			}
		}
	})
	grew := false
	for _, m := range got.receipt.Marks {
		before, ok := known[m.Partition]
		if ok && (m.Incarnation != before.Incarnation || m.Sequence < before.Sequence) {
			return fmt.Errorf("the mark went back: %+v, was %+v", m, before)
		}
		grew = grew || !ok || m.Sequence > before.Sequence
	}
	applied := slices.ContainsFunc(got.verdicts, func(v driver.Verdict) bool { return v.Applied })
	if applied && !grew && !p.e.h.Chain {
		return errors.New("a mutation was applied and no mark grew")
	}
	return nil
}

// withoutSeen takes the marks out of a request: they are those of the store, not
// of the model.
func withoutSeen(request any) (any, driver.Marks) {
	var seen driver.Marks
	take := func(m *driver.Marks) { seen, *m = *m, nil }
	switch req := request.(type) {
	case driver.CommitRequest:
		take(&req.Seen)
		return req, seen
	case driver.MergeRequest:
		take(&req.Seen)
		return req, seen
	case driver.ClaimRequest:
		take(&req.Seen)
		return req, seen
	case driver.GetRequest:
		take(&req.Seen)
		return req, seen
	case driver.ListRequest:
		take(&req.Seen)
		return req, seen
	case driver.AdvanceRequest:
		take(&req.Seen)
		return req, seen
	case driver.ProbeRequest:
		take(&req.Seen)
		return req, seen
	}
	return request, seen
}

// foreseesLost reports whether seen is more than the store has ever shown.
func (p *player) foreseesLost(seen driver.Marks) bool {
	return slices.ContainsFunc(seen, func(s driver.Mark) bool {
		return slices.ContainsFunc(p.marks, func(m driver.Mark) bool {
			return m.Partition == s.Partition && (m.Incarnation != s.Incarnation || m.Sequence < s.Sequence)
		})
	})
}

// mayMissMarks reports whether the call touched only partitions that the caller
// had not seen.
func (p *player) mayMissMarks(seen driver.Marks, got answer) bool {
	return len(p.marks.With(got.receipt.Marks)) > 1 && !slices.ContainsFunc(got.receipt.Marks, func(m driver.Mark) bool {
		return slices.ContainsFunc(seen, func(s driver.Mark) bool { return s.Partition == m.Partition })
	})
}
