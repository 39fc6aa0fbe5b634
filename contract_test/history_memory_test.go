// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
	"github.com/understudy-dev/understudy/drivers/memory"
)

// handClock is a journal.Clock that is moved by hand.
type handClock struct {
	mu      sync.Mutex
	now     time.Time
	waiting map[int]waiter
	next    int
}

type waiter struct {
	at time.Time
	f  func()
}

var _ journal.Clock = (*handClock)(nil)

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.next
	c.next++
	c.waiting[id] = waiter{c.now.Add(d), f}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, pending := c.waiting[id]
		delete(c.waiting, id)
		return pending
	}
}

func (c *handClock) advance(by time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(by)
	var due []func()
	for id, w := range c.waiting {
		if !w.at.After(c.now) {
			due = append(due, w.f)
			delete(c.waiting, id)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		go f()
	}
}

// memoryHarness opens stores of the memory driver under clocks moved by hand.
func memoryHarness() Harness {
	var mu sync.Mutex
	clocks := map[string]*handClock{}
	of := func(chain string) *handClock {
		mu.Lock()
		defer mu.Unlock()
		if clocks[chain] == nil {
			clocks[chain] = &handClock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), waiting: map[int]waiter{}}
		}
		return clocks[chain]
	}
	return Harness{
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared},
		Open: func(t T, chain string) (driver.Store, error) {
			return memory.Open(t.Context(), memory.Options{Config: memory.Config{Name: "hand"}, Chain: chain, Clock: of(chain)})
		},
		Advance: func(_ T, chain string, by time.Duration) { of(chain).advance(by) },
		Timeout: 16 * time.Second,
	}
}

func TestHistoriesHoldOnMemoryUnderAClockMovedByHand(t *testing.T) {
	t.Parallel()
	result := checkCase(t, memoryHarness(), "History/MatchesTheModel")
	require.Equal(t, Passed, result.Outcome, result.Output)
}

func TestDifferentialHoldsBetweenMemoryAndTheModel(t *testing.T) {
	t.Parallel()
	Differential(t, memoryHarness(), modelHarness(true, asItIs))
}
