// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// wakes tells the pools of this host that there may be something to claim.
type wakes struct {
	mu    sync.Mutex
	pools map[string][]chan struct{} // by kind
	feed  context.CancelFunc         // ends the feed; nil while nobody works
}

// wakeFor wakes the pools of r's kind if r can be claimed now or later.
func (c *Chain) wakeFor(r *driver.Record) {
	if r.Status != driver.Leased && !r.Due.IsZero() {
		c.wake(r.Kind)
	}
}

func (c *Chain) wake(kind string) {
	c.wakes.mu.Lock()
	defer c.wakes.mu.Unlock()
	for _, pool := range c.wakes.pools[kind] {
		nudge(pool)
	}
}

func (c *Chain) wakeAll() {
	c.wakes.mu.Lock()
	defer c.wakes.mu.Unlock()
	for _, pools := range c.wakes.pools {
		for _, pool := range pools {
			nudge(pool)
		}
	}
}

// nudge leaves one signal in ch, which has room for one.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// listen returns a channel that gets a signal when there may be work of the
// kind, and a function that ends that. The change feed of the active link is
// followed for as long as anybody listens.
func (c *Chain) listen(kind string) (signal <-chan struct{}, end func()) {
	w := &c.wakes
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pools == nil {
		w.pools = map[string][]chan struct{}{}
	}
	w.pools[kind] = append(w.pools[kind], ch)
	if w.feed == nil {
		ctx, cancel := context.WithCancel(c.ctx)
		w.feed = cancel
		c.background(func() { c.followChanges(ctx) })
	}
	return ch, func() { w.forget(kind, ch) }
}

func (w *wakes) forget(kind string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pools[kind] = slices.DeleteFunc(w.pools[kind], func(c chan struct{}) bool { return c == ch })
	if len(w.pools[kind]) == 0 {
		delete(w.pools, kind)
	}
	if len(w.pools) == 0 {
		w.feed()
		w.feed = nil
	}
}

// followChanges wakes pools for what other hosts make claimable, until ctx is
// done. Whatever the feed may have missed is found by claiming: pools are woken
// when it begins and when it breaks off.
func (c *Chain) followChanges(ctx context.Context) {
	cursor, at, failures := "", (*link)(nil), 0
	for ctx.Err() == nil {
		v := c.view.Load()
		if v.active != at {
			cursor, at, failures = "", v.active, 0
		}
		if !v.active.feeds() {
			pause(ctx, v.ctx, maxPollWithFeed)
			continue
		}
		// The feed belongs to the epoch and to whoever listens.
		feed, cancel := context.WithCancel(v.ctx)
		stop := context.AfterFunc(ctx, cancel)
		err := v.active.store.Changes(feed, driver.ChangesRequest{Seen: v.active.seen(), Cursor: cursor}, func(b driver.ChangeBatch) error {
			if len(b.Changes) == 0 {
				c.wakeAll()
			}
			for i := range b.Changes {
				if ch := &b.Changes[i]; ch.Status != driver.Leased && !ch.Due.IsZero() {
					c.wake(ch.Kind)
				}
			}
			cursor, failures = b.Cursor, 0
			return nil
		})
		stop()
		cancel()
		if v.ctx.Err() != nil || ctx.Err() != nil {
			continue
		}
		if class := driver.ClassOf(err); class == driver.CursorLost || class == driver.Invalid {
			cursor = ""
		}
		if failures == 0 {
			c.log.Info("change feed broke off", zap.String("link", v.active.name), zap.Error(err))
		}
		c.wakeAll()
		pause(ctx, v.ctx, c.policy().pause(failures))
		failures++
	}
}
