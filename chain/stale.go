// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// missed is what this host has acknowledged while a link was out of step: the
// latest revision of each record. It matters if that link has to serve
// (StaleServe).
type missed struct {
	mu      sync.Mutex
	records map[string]driver.Record
	more    bool // than are kept
}

func (m *missed) add(r driver.Record, limit int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held, known := m.records[r.ID]
	switch {
	case known && driver.Compare(&r, &held) <= 0:
		return
	case !known && len(m.records) >= limit:
		m.more = true
		return
	case m.records == nil:
		m.records = map[string]driver.Record{}
	}
	m.records[r.ID] = r
}

// take empties m and returns what it held, and whether that was all.
func (m *missed) take() (records []driver.Record, all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	records, all = slices.Collect(maps.Values(m.records)), !m.more
	m.records, m.more = nil, false
	return records, all
}

// remember keeps a record, which the active link of v has taken and which is to be
// acknowledged now, for the links that are out of step. It returns false if the
// epoch is over: a link that was out of step may serve by now, without the record.
func (c *Chain) remember(v *view, r *driver.Record) bool {
	p := c.policy()
	if p.StaleStandby != StaleServe {
		return true
	}
	c.mu.Lock() // bring takes what is kept
	defer c.mu.Unlock()
	cur := c.view.Load()
	if cur.epoch.Number != v.epoch.Number {
		return false
	}
	for _, l := range c.links {
		if !cur.counts(l) {
			l.missed.add(*r, p.Outbox)
		}
	}
	return true
}

// bring takes what this host holds for l, which begins to serve in v although it
// was not in step in old, into it before anything else is done there. The caller
// holds c.mu.
func (c *Chain) bring(old, v *view, l *link) {
	records, all := l.missed.take()
	v.settled = time.Now().Add(c.policy().Mirror)
	if len(records) == 0 && all && v.epoch.Number > old.epoch.Number+failoverStep {
		return // it may have come into step in an epoch between them, which this host has not seen
	}
	c.log.Error("a link that was not in step serves: what hosts acknowledged without it and do not bring now is missing until the other link returns",
		zap.String("link", l.name), zap.Stringer("epoch", v.epoch), zap.Int("brought", len(records)), zap.Bool("complete", all))
	c.events.emit(StaleServes{At: now(), Link: l.name, Epoch: v.epoch.Clone(), Brought: len(records), Complete: all})
	if len(records) == 0 || c.closed {
		return
	}
	c.owed.owe(old.epoch.Number, len(records))
	c.tasks.Go(func() {
		defer c.owed.pay(old.epoch.Number, len(records))
		for some := range slices.Chunk(records, driver.MaxBatchBytes/driver.MaxRecordBytes) {
			c.repayAll(v, some, errMoved)
		}
	})
}

// stale returns the first link outside the set of v that could serve and is not
// unfit, with what it holds; nil if there is none, or policy does not allow it. A
// link that is known to have lost data, or was never in use, cannot.
func (c *Chain) stale(ctx context.Context, v *view, unfit map[*link]error) (*link, driver.Epoch) {
	if c.policy().StaleStandby != StaleServe {
		return nil, driver.Epoch{}
	}
	held := c.readEpochs(ctx)
	for _, l := range c.links {
		e, answered := held[l]
		if answered && unfit[l] == nil && !v.counts(l) && l.distrusted() == nil && e.Number > 0 && !before(v.epoch.At(), e.At()) {
			return l, e
		}
	}
	return nil, driver.Epoch{}
}
