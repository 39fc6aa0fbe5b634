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
