// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
	"sync"
)

// protected reports whether enough standbys are in step for anything to be
// acknowledged.
func (c *Chain) protected(v *view) bool { return len(v.standbys) >= c.policy().MinInSync }

// awaitProtection waits until enough standbys are in step.
func (c *Chain) awaitProtection(ctx context.Context) error {
	for {
		changed := c.moved.next()
		if c.protected(c.view.Load()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
}

// parked are the items that wait for standbys, in the order in which they came.
type parked struct {
	mu     sync.Mutex
	items  []*item
	awaits bool // somebody does, for all of them
	sweep  int  // the length at which they are rid of what nobody waits for any more
}

// park takes out of items those that have to wait for standbys, and queues them
// again when there are enough. It returns the others.
func (c *Chain) park(items []*item) []*item {
	var own []*item
	p := &c.parked
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, it := range items {
		if it.own {
			own = append(own, it)
		} else {
			p.items = append(p.items, it)
		}
	}
	if len(p.items) > p.sweep {
		p.items = slices.DeleteFunc(p.items, (*item).abandoned)
		p.sweep = max(minSweep, 2*len(p.items))
	}
	if len(p.items) > 0 && !p.awaits {
		p.awaits = true
		go c.unpark()
	}
	return own
}

// unpark queues what is parked as soon as enough standbys are in step.
func (c *Chain) unpark() {
	err := c.awaitProtection(c.ctx)
	p := &c.parked
	p.mu.Lock()
	items := p.items
	p.items, p.awaits = nil, false
	p.mu.Unlock()
	if err == nil {
		c.commits.add(items...)
	}
}
