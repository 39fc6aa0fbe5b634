// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"

	"github.com/understudy-dev/understudy/driver"
)

// Commit implements [driver.Store].
func (m *Machine) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	if err := m.admit(ctx, req.Guard, driver.Epoch.Admit, req.Validate); err != nil {
		return driver.CommitResponse{}, m.label(err, "commit")
	}
	p := m.newPassage(len(req.Transitions))
	for i := range req.Transitions {
		t := &req.Transitions[i]
		p.add(i, t.Record.ID, Event{Kind: Committed, Base: t.Base}, &t.Record, req.ValidateAt(i))
	}
	if err := p.pass(ctx, req.Guard, driver.Epoch.Admit); err != nil {
		return driver.CommitResponse{}, m.label(err, "commit")
	}
	for i := range p.verdicts {
		p.verdicts[i].Err = m.label(p.verdicts[i].Err, "commit", req.Transitions[i].Record.ID)
	}
	return driver.CommitResponse{Receipt: m.answer(), Verdicts: p.verdicts}, nil
}

// Merge implements [driver.Store].
func (m *Machine) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	if err := m.admit(ctx, req.Guard, driver.Epoch.AdmitMerge, req.Validate); err != nil {
		return driver.MergeResponse{}, m.label(err, "merge")
	}
	p := m.newPassage(len(req.Records))
	for i := range req.Records {
		p.add(i, req.Records[i].ID, Event{Kind: Merged}, &req.Records[i], req.ValidateAt(i))
	}
	if err := p.pass(ctx, req.Guard, driver.Epoch.AdmitMerge); err != nil {
		return driver.MergeResponse{}, m.label(err, "merge")
	}
	for i := range p.verdicts {
		p.verdicts[i].Err = m.label(p.verdicts[i].Err, "merge", req.Records[i].ID)
	}
	return driver.MergeResponse{Receipt: m.answer(), Verdicts: p.verdicts}, nil
}

// admission is how an epoch admits a mutation.
type admission func(driver.Epoch, uint64) error

// admit makes the checks before a mutation, in the order of the contract. What the
// epoch of the replica admits may still be refused at its position.
func (m *Machine) admit(ctx context.Context, g driver.Guard, by admission, validate func() error) error {
	if err := m.seen(ctx, g.Seen); err != nil {
		return err
	}
	invalid := validate()
	if invalid == nil && m.epochAdmits(g.Epoch, by) == nil {
		return nil
	}
	if err := m.admitNow(ctx, g, by); err != nil {
		return err
	}
	return invalid
}

// admitNow checks the epoch as the log has it now.
func (m *Machine) admitNow(ctx context.Context, g driver.Guard, by admission) error {
	if err := m.sync(ctx); err != nil {
		return err
	}
	return m.epochAdmits(g.Epoch, by)
}

func (m *Machine) epochAdmits(number uint64, by admission) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return by(m.replica.epoch, number)
}

// seen checks what the caller has seen of the store.
func (m *Machine) seen(ctx context.Context, seen driver.Marks) error {
	if err := m.serve(ctx); err != nil {
		return err
	}
	check := func() error {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return m.replica.marks().Check(seen)
	}
	if check() == nil {
		return nil
	}
	// This replica may just be behind the one that the caller saw.
	if err := m.sync(ctx); err != nil {
		return err
	}
	return check()
}

// passage takes the records of one request through the log.
type passage struct {
	machine  *Machine
	verdicts []driver.Verdict
	events   []Event // those that are under way
	where    []int   // their places in the request
	ids      []string
	fresh    map[string]bool
}

func (m *Machine) newPassage(n int) *passage {
	return &passage{machine: m, verdicts: make([]driver.Verdict, n), events: make([]Event, 0, n), where: make([]int, 0, n)}
}

// add takes up the record at place i unless it is invalid or the store is full.
func (p *passage) add(i int, id string, e Event, rec *driver.Record, invalid error) {
	if invalid == nil {
		invalid = p.full(id)
	}
	if invalid != nil {
		p.verdicts[i].Err = invalid
		return
	}
	if p.machine.limits.Verbs && e.Kind == Committed {
		e.Verb = p.machine.verbOf(rec)
	}
	e.Data = driver.AppendRecord(make([]byte, 0, driver.EncodedSize(rec)), rec)
	p.events = append(p.events, e)
	p.where = append(p.where, i)
	p.ids = append(p.ids, id)
}

// full reports whether there is no room for another record with the given id.
func (p *passage) full(id string) error {
	limit := p.machine.opts.MaxRecords
	if limit <= 0 || p.fresh[id] {
		return nil
	}
	p.machine.mu.RLock()
	defer p.machine.mu.RUnlock()
	t := p.machine.replica.table
	if slot, _ := t.get(id); slot != noSlot {
		return nil
	}
	if t.live+len(p.fresh) >= limit {
		return &driver.Error{Class: driver.Full, Detail: fmt.Sprintf("the store holds %d records: its limit is %d", t.live, limit)}
	}
	if p.fresh == nil {
		p.fresh = map[string]bool{}
	}
	p.fresh[id] = true
	return nil
}

func (m *Machine) verbOf(rec *driver.Record) Verb {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if slot, stored := m.replica.table.get(rec.ID); slot != noSlot {
		return VerbOf(&stored, rec)
	}
	return VerbOf(nil, rec)
}

// pass sends what was added until all has a verdict. An error means that nothing
// was applied or, if Unknown, that each may have been.
func (p *passage) pass(ctx context.Context, g driver.Guard, by admission) error {
	if len(p.events) == 0 {
		return p.machine.admitNow(ctx, g, by)
	}
	sent := len(p.events)
	refused := 0
	var refusal error
	for effect := false; len(p.events) > 0; {
		verdicts, err := p.machine.take(ctx, Origin{Epoch: g.Epoch}, p.events)
		if err != nil && effect {
			return uncertain(err)
		} else if err != nil {
			return err
		}
		again := 0
		stale := map[string]bool{} // ids of which a transition is sent once more, and so those that follow it
		for i, v := range verdicts {
			isStale := v.Err == errStale //nolint:errorlint // it is never wrapped
			if isStale || stale[p.ids[i]] {
				stale[p.ids[i]] = true
				p.events[again], p.where[again], p.ids[again] = p.events[i], p.where[i], p.ids[i]
				again++
				continue
			}
			p.verdicts[p.where[i]] = v
			switch driver.ClassOf(v.Err) {
			case driver.Fenced, driver.Lost:
				refused, refusal = refused+1, v.Err
			default:
				effect = true
			}
		}
		p.events, p.where, p.ids = p.events[:again], p.where[:again], p.ids[:again]
	}
	if refused == sent {
		return refusal
	}
	return nil
}

// uncertain makes the error of a part that of a whole of which other parts have
// been applied.
func uncertain(err error) error {
	return &driver.Error{Class: driver.Unknown, Detail: "a part of the batch was applied", Cause: err}
}

// take sends events through the log in as many appends as they need, one after
// the other so that they keep their order, and returns their verdicts. An origin
// without After is given the one of the moment when they are sent.
func (m *Machine) take(ctx context.Context, o Origin, events []Event) ([]driver.Verdict, error) {
	verdicts := make([]driver.Verdict, len(events))
	part := make([]Event, 0, len(events))
	where := make([]int, 0, len(events))
	size, sent := 0, false
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		origin := o
		for i := range part {
			part[i].Origin = &origin
		}
		found, err := m.sender.send(ctx, part, size)
		if err != nil && sent {
			return uncertain(err)
		} else if err != nil {
			return err
		}
		for i, v := range found {
			verdicts[where[i]] = v
		}
		part, where, size, sent = make([]Event, 0, len(events)), where[:0], 0, true
		return nil
	}
	for i := range events {
		e := events[i]
		n, err := m.log.Size(&e)
		if err != nil {
			verdicts[i].Err = err
			continue
		}
		if len(part) >= m.limits.Events || size+n > m.limits.Bytes {
			if e.Kind == Claimed { // the second append of a claim would look like another claim of its token
				for ; i < len(events); i++ {
					verdicts[i].Err = errStale
				}
				break
			}
			if err := flush(); err != nil {
				return nil, err
			}
		}
		part, where, size = append(part, e), append(where, i), size+n
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return verdicts, nil
}
