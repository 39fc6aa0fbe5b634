// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"

	"github.com/understudy-dev/understudy/driver"
)

// Epoch implements [driver.Store].
func (m *Machine) Epoch(ctx context.Context, _ driver.EpochRequest) (driver.EpochResponse, error) {
	if err := m.sync(ctx); err != nil {
		return driver.EpochResponse{}, m.label(err, "epoch")
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return driver.EpochResponse{Receipt: m.receipt(), Epoch: m.replica.epoch.Clone()}, nil
}

// Advance implements [driver.Store].
func (m *Machine) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	fail := func(err error) (driver.AdvanceResponse, error) {
		return driver.AdvanceResponse{}, m.label(err, "advance")
	}
	if err := m.seen(ctx, req.Seen); err != nil {
		return fail(err)
	}
	_, err := driver.Epoch{}.AdmitAdvance(req.Expect, req.Next)
	if class := driver.ClassOf(err); class == driver.Invalid || class == driver.TooLarge {
		return fail(err)
	}
	e, err := carrying(EpochAdvanced, Advance{Expect: req.Expect, Next: req.Next})
	if err != nil {
		return fail(err)
	}
	verdicts, err := m.take(ctx, Origin{}, []Event{e})
	if err != nil {
		return fail(err)
	}
	if err := verdicts[0].Err; err != nil {
		return fail(err)
	}
	return driver.AdvanceResponse{Receipt: m.answer(), Epoch: req.Next.Clone()}, nil
}

// Probe implements [driver.Store].
func (m *Machine) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	if err := m.open(ctx); err != nil {
		return driver.ProbeResponse{}, m.label(err, "probe")
	}
	resp, err := m.log.Check(ctx)
	if err != nil {
		return driver.ProbeResponse{}, m.label(err, "probe")
	}
	err = m.seen(ctx, req.Seen)
	if driver.ClassOf(err) == driver.Unavailable && m.catchingUp() {
		resp.Problems = append(resp.Problems, driver.Problem{Code: "replay", Text: err.Error()})
		m.report(&resp)
		return resp, nil
	}
	if err != nil {
		return driver.ProbeResponse{}, m.label(err, "probe")
	}
	// The write is read back by the follower.
	if _, err := m.take(ctx, Origin{}, []Event{{Kind: Probed}}); err != nil {
		return driver.ProbeResponse{}, m.label(err, "probe")
	}
	m.report(&resp)
	return resp, nil
}

func (m *Machine) catchingUp() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state.phase == starting
}

// report fills in what the machine knows itself.
func (m *Machine) report(resp *driver.ProbeResponse) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	resp.Receipt = m.receipt()
	resp.Records = int64(m.replica.table.live)
	if m.state.phase == starting {
		resp.ReplayDone, resp.ReplayTotal = m.state.replay(m.replica.next)
	}
	if limit := m.opts.MaxRecords; limit > 0 {
		resp.Details = withDetail(resp.Details, "max_records", limit)
	}
}
