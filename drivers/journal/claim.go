// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Claim implements [driver.Store].
func (m *Machine) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	if err := m.admit(ctx, req.Guard, driver.Epoch.Admit, req.Validate); err != nil {
		return driver.ClaimResponse{}, m.label(err, "claim")
	}
	if err := m.admitNow(ctx, req.Guard, driver.Epoch.Admit); err != nil {
		return driver.ClaimResponse{}, m.label(err, "claim")
	}
	if err := m.enter(ctx, req.Token); err != nil {
		return driver.ClaimResponse{}, m.label(err, "claim")
	}
	defer m.exit(req.Token)
	for own := false; ; {
		changed := m.changed.wait()
		p := m.pick(&req, own)
		if p.contended {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return driver.ClaimResponse{}, m.label(driver.ContextError(ctx, false), "claim")
			}
		}
		if len(p.events) == 0 {
			return m.claimed(&req, p.repeat), nil
		}
		verdicts, err := m.take(ctx, Origin{Epoch: req.Epoch, After: p.after}, p.events)
		m.unreserve(p.slots)
		if err != nil {
			return driver.ClaimResponse{}, m.label(err, "claim")
		}
		won := [][]byte{}
		own = true
		for i, v := range verdicts {
			switch class := driver.ClassOf(v.Err); {
			case v.Applied:
				won = append(won, p.events[i].Data)
			case v.Err == errRepeated: //nolint:errorlint // it is never wrapped
				own = false
			case class == driver.Fenced, class == driver.Lost:
				return driver.ClaimResponse{}, m.label(v.Err, "claim")
			}
		}
		if len(won) > 0 {
			return m.claimed(&req, won), nil
		}
		// Others were faster with every one: there may be more. The loop ends, since
		// each round that wins nothing is one that others have won.
		if ctx.Err() != nil {
			return driver.ClaimResponse{}, m.label(driver.ContextError(ctx, false), "claim")
		}
	}
}

// enter waits until no other call of this machine makes the same claim.
func (m *Machine) enter(ctx context.Context, token driver.Token) error {
	for {
		changed := m.changed.wait()
		m.mu.Lock()
		busy := m.claiming[token]
		if !busy {
			m.claiming[token] = true
		}
		m.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return driver.ContextError(ctx, false)
		}
	}
}

func (m *Machine) exit(token driver.Token) {
	m.mu.Lock()
	delete(m.claiming, token)
	m.mu.Unlock()
	m.changed.broadcast()
}

// pick is what a claim tries to get.
type pick struct {
	events []Event
	slots  []uint32
	after  Position
	repeat [][]byte // instead: the records that the same claim got before
	// contended: all there is, is reserved by other claims, which may yet fail.
	contended bool
}

// pick finds the records that a claim can lease and reserves them, so that no
// other claim of this machine tries to get them at the same time. own: the log has
// the token from an attempt of this very call, which won nothing.
func (m *Machine) pick(req *driver.ClaimRequest, own bool) pick {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.replica
	now := driver.Millis(m.clock.Now())
	if known, held := m.repeated(req.Token, now); known && !own {
		return pick{repeat: held}
	}
	p := pick{after: r.next}
	stamp := driver.Stamp{Epoch: req.Epoch, Token: req.Token, Now: now}
	size := 0
	earliest(r.table.queues(req.Kinds), func(it item) bool {
		if it.at > now.UnixMilli() || len(p.events) == req.Limit {
			return false
		}
		entry := r.table.at(it.slot)
		stored := decoded(entry.data)
		if stored.Epoch > req.Epoch {
			return true
		}
		if entry.reserved {
			p.contended = true
			return true
		}
		t, err := driver.Claim(stamp, stored, req.Owner, now.Add(req.Lease))
		if err != nil {
			return true // a merged record that cannot be leased, such as one at the limit of size
		}
		n := driver.EncodedSize(&t.Record)
		if size += n; size > driver.MaxBatchBytes {
			return false
		}
		data := driver.AppendRecord(make([]byte, 0, n), &t.Record)
		p.events = append(p.events, Event{Kind: Claimed, Verb: VerbOf(&stored, &t.Record), Base: t.Base, Data: data})
		p.slots = append(p.slots, it.slot)
		entry.reserved = true
		return true
	})
	p.contended = p.contended && len(p.events) == 0
	return p
}

// repeated reports whether a claim with the token was made before and its leases
// last, and returns the records that are as it left them. The caller holds m.mu.
func (m *Machine) repeated(token driver.Token, now time.Time) (bool, [][]byte) {
	r := m.replica
	c, known := r.claims[token]
	known = known && c.until > now.UnixMilli()
	var held [][]byte
	for _, slot := range r.table.held[token] {
		data := r.table.at(slot).data
		if rec := decoded(data); rec.Due.After(now) {
			known = true
			held = append(held, data)
		}
	}
	return known, held
}

func (m *Machine) unreserve(slots []uint32) {
	defer m.changed.broadcast()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, slot := range slots {
		if slot < m.replica.table.used {
			m.replica.table.at(slot).reserved = false
		}
	}
}

// claimed makes the response of a claim.
func (m *Machine) claimed(req *driver.ClaimRequest, won [][]byte) driver.ClaimResponse {
	resp := driver.ClaimResponse{Records: make([]driver.Record, 0, len(won))}
	own := make(map[string]bool, len(won))
	for _, data := range won {
		rec := owned(data)
		own[rec.ID] = true
		resp.Records = append(resp.Records, rec)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.replica.table
	earliest(t.queues(req.Kinds), func(it item) bool {
		if len(own) > 0 {
			if rec := decoded(t.at(it.slot).data); own[rec.ID] {
				return true
			}
		}
		resp.Next = time.UnixMilli(it.at).UTC()
		return false
	})
	resp.Receipt = m.receipt()
	return resp
}

// queues returns the queues of the kinds that there are.
func (t *table) queues(kinds []string) []*queue {
	var found []*queue
	seen := make(map[uint32]bool, len(kinds))
	for _, name := range kinds {
		if k, ok := t.kinds[name]; ok && !seen[k] {
			seen[k] = true
			found = append(found, t.due[k])
		}
	}
	return found
}
