// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// broadcast wakes everybody who waits for something to change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that is closed at the next change. To miss none, look
// at what may change after the call.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// owed counts the records that were acknowledged before the standbys had them
// (MirrorAsync), by the number of the epoch they were acknowledged in. When the
// epoch is over, they are brought into the new active link before this host does
// anything else there.
type owed struct {
	mu      sync.Mutex
	records map[uint64]int
	total   int
	paid    broadcast
}

// borrow counts n records more, unless that were more than limit.
func (o *owed) borrow(number uint64, n, limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.total+n > limit {
		return false
	}
	o.add(number, n)
	return true
}

// owe counts n records more, however many that are.
func (o *owed) owe(number uint64, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(number, n)
}

// add counts n records more. The caller holds o.mu.
func (o *owed) add(number uint64, n int) {
	if o.records == nil {
		o.records = map[uint64]int{}
	}
	o.records[number] += n
	o.total += n
}

func (o *owed) pay(number uint64, n int) {
	o.mu.Lock()
	o.total -= n
	if o.records[number] -= n; o.records[number] == 0 {
		delete(o.records, number)
	}
	o.mu.Unlock()
	o.paid.send()
}

// before reports whether anything is owed from epochs before number.
func (o *owed) before(number uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n := range o.records {
		if n < number {
			return true
		}
	}
	return false
}

// open returns how many records are owed in all.
func (o *owed) open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// acknowledgeEarly answers the callers of what may be acknowledged before the
// standbys have it, and mirrors that behind them. It returns the others.
//
// Starts are such, and what is done under a lease: nobody else can touch a
// leased workflow until its lease ends, which a standby that lags knows too.
func (c *Chain) acknowledgeEarly(v *view, items []applied) []applied {
	p := c.policy()
	if p.MirrorMode != MirrorAsync || len(v.standbys) == 0 || !c.protected(v) {
		return items
	}
	var early, strict []applied
	for _, it := range items {
		if it.early {
			early = append(early, it)
		} else {
			strict = append(strict, it)
		}
	}
	if len(early) == 0 || !c.owed.borrow(v.epoch.Number, len(early), p.Outbox) {
		return items
	}
	go c.repay(v, records(early))
	for i := range early {
		c.remember(v, early[i].record) // if the epoch is over, repay brings it
		early[i].answer(c)
	}
	return strict
}

// repay brings records that were acknowledged early to the standbys, over any
// number of failovers.
func (c *Chain) repay(v *view, records []driver.Record) {
	defer c.owed.pay(v.epoch.Number, len(records))
	c.repayAll(v, records, c.mirrorLater(v, records))
}

// repayAll goes on with a mirror in v that has ended with err.
func (c *Chain) repayAll(v *view, records []driver.Record, err error) {
	if err = c.carryAll(v, records, err); err != nil && c.ctx.Err() == nil {
		c.log.Error("acknowledged records are on the active link only: no standby has them, and none will get them but by a resync",
			zap.Int("records", len(records)), zap.Error(err))
	}
}

// hurryMerges has everything brought to the standbys at once that has time.
func (c *Chain) hurryMerges() {
	for _, l := range c.links {
		l.merges.hurry()
	}
}

// settleOwed waits until nothing is owed, for as long as a standby is waited for.
func (c *Chain) settleOwed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.policy().Mirror)
	defer cancel()
	for {
		c.hurryMerges()
		paid := c.owed.paid.next()
		n := c.owed.open()
		if n == 0 {
			return nil
		}
		select {
		case <-paid:
		case <-ctx.Done():
			return fmt.Errorf("close chain %q: %d acknowledged records have not reached the standbys: %w", c.config.Name, n, ctx.Err())
		}
	}
}
