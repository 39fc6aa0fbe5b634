// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"sync"
	"time"
)

// clock estimates a store's time from its answers, so that due times and ends of
// leases never depend on the clock of this host.
type clock struct {
	mu     sync.Mutex
	offset time.Duration // store's time minus ours
	trip   time.Duration // round trip of the answer it was taken from
	at     time.Time     // when that was
}

const clockAge = 10 * time.Second

// observe takes a sample. A quick answer tells the time better than a slow one,
// a recent one better than an old one.
func (c *clock) observe(sent, received, store time.Time) {
	if store.IsZero() {
		return
	}
	trip := received.Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && trip > c.trip && received.Sub(c.at) < clockAge {
		return
	}
	c.offset, c.trip, c.at = store.Sub(sent.Add(trip/2)), trip, received
}

// now returns the store's time as far as it is known.
func (c *clock) now() time.Time {
	return time.Now().Add(c.shift())
}

// until returns how long it is until the store's time is t.
func (c *clock) until(t time.Time) time.Duration {
	return time.Until(t.Add(-c.shift()))
}

func (c *clock) shift() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}
