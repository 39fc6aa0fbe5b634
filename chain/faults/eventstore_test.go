// SPDX-License-Identifier: Apache-2.0

//go:build faults

package faults

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// dropped waits until the second link is out of step.
func (w *world) dropped(t testing.TB) {
	t.Helper()
	await(t, "eventstore is dropped", func() error {
		if e := w.epoch(t); slices.Contains(e.InSync, second) {
			return fmt.Errorf("the epoch is %s in sync %v", e, e.InSync)
		}
		return nil
	})
}

// slow makes everything arrive late.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

func TestEventStoreKilled(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	w.eventstore.kill()
	w.dropped(t)
	w.progress(t, 40)
	w.eventstore.start(t)
	w.finish(t)
}

func TestEventStoreFrozen(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	w.eventstore.signal(t, syscall.SIGSTOP)
	w.dropped(t)
	lasts(t, 5*time.Second)
	w.progress(t, 40)
	w.eventstore.signal(t, syscall.SIGCONT)
	w.finish(t)
}

func TestEventStoreSlow(t *testing.T) {
	t.Parallel()
	w := start(t, options{proxied: true})
	slow := func(delay time.Duration) {
		for _, h := range w.hosts {
			h.events.slow(delay)
		}
	}
	slow(150 * time.Millisecond)
	w.progress(t, 40)
	w.whole(t) // slow is not broken
	slow(3 * time.Second)
	w.dropped(t)
	w.progress(t, 40)
	slow(0)
	w.finish(t)
}

func TestBothDown(t *testing.T) {
	t.Parallel()
	for _, back := range []string{first, second} {
		t.Run(back+"BackFirst", func(t *testing.T) {
			t.Parallel()
			w := start(t, options{redis: durable})
			w.redis.Kill(t)
			w.eventstore.kill()
			lasts(t, 5*time.Second)
			if back == first {
				w.redis.Start(t)
				w.dropped(t)
				w.progress(t, 20)
				w.eventstore.start(t)
			} else {
				w.eventstore.start(t)
				w.active(t, second)
				w.progress(t, 20)
				w.redis.Start(t)
			}
			w.finish(t)
		})
	}
}
