// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// ProofAge is how long an append that was read back shows that the log can be
// written to. A log keeps what a probe writes until it is compacted, and probes come
// every second from every host.
const ProofAge = 10 * time.Second

// Probe implements [driver.Store]. It writes and reads back an event of its own
// unless one that this machine has appended was read back within the last
// [ProofAge] and nothing has failed since; then it reads up to the end of the log.
func (m *Machine) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	if err := m.open(ctx); err != nil {
		return driver.ProbeResponse{}, m.label(err, "probe")
	}
	resp, err := m.log.Check(ctx)
	if err != nil {
		m.sender.disprove()
		return driver.ProbeResponse{}, m.label(err, "probe")
	}
	err = m.seen(ctx, req.Seen)
	if driver.ClassOf(err) == driver.Unavailable && m.catchingUp() {
		resp.Problems = append(resp.Problems, driver.Problem{Code: "replay", Text: err.Error()})
		m.report(&resp)
		return resp, nil
	}
	if err == nil {
		err = m.prove(ctx)
	}
	if err != nil {
		m.sender.disprove()
		return driver.ProbeResponse{}, m.label(err, "probe")
	}
	m.report(&resp)
	return resp, nil
}

// prove shows that the log can be written to and followed.
func (m *Machine) prove(ctx context.Context) error {
	if m.sender.provenWithin(ProofAge) {
		return m.sync(ctx)
	}
	_, err := m.take(ctx, Origin{}, []Event{{Kind: Probed}})
	return err
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

func withDetail(details map[string]string, key string, value any) map[string]string {
	if details == nil {
		details = map[string]string{}
	}
	details[key] = fmt.Sprint(value)
	return details
}
