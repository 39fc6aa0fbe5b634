// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// chooser picks the records a claim gives out of those it may give, which it may
// reorder: at most limit of them.
type chooser func(claimable []driver.Record, limit int) []driver.Record

// earliest chooses those due first; the id decides between equals, where the
// contract leaves it open.
func earliest(claimable []driver.Record, limit int) []driver.Record {
	slices.SortFunc(claimable, func(a, b driver.Record) int {
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.ID, b.ID))
	})
	size := 0
	for i := range claimable {
		size += driver.EncodedSize(&claimable[i]) + driver.MaxOwnerBytes
		if i == limit || i > 0 && size > driver.MaxBatchBytes {
			return claimable[:i]
		}
	}
	return claimable
}

func (s *state) claim(req driver.ClaimRequest, now time.Time, choose chooser) (driver.ClaimResponse, error) {
	if err := s.guard(req.Guard, false); err != nil {
		return driver.ClaimResponse{}, err
	}
	if err := req.Validate(); err != nil {
		return driver.ClaimResponse{}, err
	}
	var given []driver.Record
	if before, ok := s.claims[req.Token]; ok && now.Before(before.end) {
		given = s.unchanged(req.Token, before)
	} else {
		for _, r := range choose(s.claimable(&req, now), req.Limit) {
			given = append(given, s.lease(&req, r, now))
		}
		s.remember(&req, given, now)
	}
	resp := driver.ClaimResponse{Receipt: s.receipt(now), Next: s.nextDue(req.Kinds, given)}
	for _, r := range given {
		resp.Records = append(resp.Records, r.Clone())
	}
	return resp, nil
}

// claimable returns what the claim may give, in no order.
func (s *state) claimable(req *driver.ClaimRequest, now time.Time) []driver.Record {
	var found []driver.Record
	for _, r := range s.records {
		due := !r.Due.IsZero() && !r.Due.After(now)
		if due && r.Epoch <= req.Epoch && slices.Contains(req.Kinds, r.Kind) {
			found = append(found, r)
		}
	}
	return found
}

// lease gives r to the owner of the claim.
func (s *state) lease(req *driver.ClaimRequest, r driver.Record, now time.Time) driver.Record {
	r.Revision++
	r.Epoch, r.Token, r.Updated = req.Epoch, req.Token, driver.Millis(now)
	r.Status = driver.Leased
	r.Lease = driver.Lease{Owner: req.Owner, Token: req.Token}
	r.Due = driver.Millis(now).Add(req.Lease)
	if r.Attempt < math.MaxUint32 {
		r.Attempt++
	}
	s.put(r)
	return r
}

// remember keeps what a claim gave until its leases end.
func (s *state) remember(req *driver.ClaimRequest, given []driver.Record, now time.Time) {
	for token, c := range s.claims {
		if !now.Before(c.end) {
			delete(s.claims, token)
		}
	}
	if len(given) == 0 {
		return
	}
	c := claimed{end: given[0].Due}
	for _, r := range given {
		c.given = append(c.given, revisionOf{r.ID, r.Revision})
	}
	s.claims[req.Token] = c
}

// unchanged returns those records of a former claim that are as it left them, in
// its order.
func (s *state) unchanged(token driver.Token, c claimed) []driver.Record {
	var same []driver.Record
	for _, g := range c.given {
		if r, found := s.records[g.id]; found && r.Revision == g.revision && r.Token == token {
			same = append(same, r)
		}
	}
	return same
}

// nextDue returns the earliest due time of the kinds without those given.
func (s *state) nextDue(kinds []string, given []driver.Record) time.Time {
	var next time.Time
	for _, r := range s.records {
		if r.Due.IsZero() || !slices.Contains(kinds, r.Kind) ||
			slices.ContainsFunc(given, func(g driver.Record) bool { return g.ID == r.ID }) {
			continue
		}
		if next.IsZero() || r.Due.Before(next) {
			next = r.Due
		}
	}
	return next
}

func (s *state) advance(req driver.AdvanceRequest, now time.Time) (driver.AdvanceResponse, error) {
	if err := s.seen(req.Seen); err != nil {
		return driver.AdvanceResponse{}, err
	}
	next := req.Next.Clone()
	if err := validAdvance(req.Expect, next); err != nil {
		return driver.AdvanceResponse{}, err
	}
	held := s.epoch.Clone()
	repeat := held.Equal(next)
	switch {
	case repeat:
	case held.Number > next.Number:
		return driver.AdvanceResponse{}, &driver.Error{Class: driver.Fenced, Epoch: &held, Detail: fmt.Sprintf("advance to %s", next)}
	case held.Number != req.Expect.Number || held.Version != req.Expect.Version:
		return driver.AdvanceResponse{}, &driver.Error{Class: driver.Conflict, Epoch: &held, Detail: fmt.Sprintf("advance to %s", next)}
	default:
		s.epoch = next
		s.mark.Sequence++
	}
	return driver.AdvanceResponse{Receipt: s.receipt(now), Epoch: s.epoch.Clone()}, nil
}

func validAdvance(expect driver.EpochVersion, next driver.Epoch) error {
	follows := next.Number > expect.Number || next.Number == expect.Number && next.Version > expect.Version
	switch {
	case !follows, next.Number == 0, next.Token.IsZero(), next.State != driver.Serving && next.State != driver.Handover:
		return refused(driver.Invalid, "advance from %v to %s", expect, next)
	case len(next.InSync) > driver.MaxLinks:
		return refused(driver.TooLarge, "in-sync set of %d names", len(next.InSync))
	case !slices.IsSorted(next.InSync):
		return refused(driver.Invalid, "in-sync set %q is not sorted", next.InSync)
	case len(next.Incarnations) > driver.MaxLinks:
		return refused(driver.TooLarge, "incarnations of %d links", len(next.Incarnations))
	}
	known := make([]string, len(next.Incarnations))
	for i := range known {
		known[i] = next.Incarnations[i].Link
	}
	if !slices.IsSorted(known) || len(slices.Compact(slices.Clone(known))) < len(known) {
		return refused(driver.Invalid, "incarnations of %q are not sorted, each link once", known)
	}
	for _, name := range slices.Concat([]string{next.Active}, next.InSync, known) {
		if err := driver.ValidateName("link", name); err != nil {
			return err
		}
	}
	return nil
}
