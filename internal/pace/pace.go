// SPDX-License-Identifier: Apache-2.0

// Package pace tells how late a busy machine runs what is due, so that tests of
// time limits can tell its fault from that of what they test.
package pace

import (
	"sync"
	"time"
)

const (
	// every is how often a Watch looks, and what it may be late without a word.
	every = 5 * time.Millisecond
	// hops is how many goroutines may have to be woken, one after the other, between
	// the end of a context and the return of a call.
	hops = 4
)

// Watch is a goroutine that is to be woken again and again, and notes how late that
// happens. Its methods may be called at the same time.
type Watch struct {
	stop func()
	over chan struct{}

	mu    sync.Mutex
	due   time.Time // when it is to be woken next; zero once it has ended
	waits []wait
}

// wait is a time at which it was woken, and by how much that was too late.
type wait struct {
	woken time.Time
	late  time.Duration
}

// Start starts a watch, which must be stopped.
func Start() *Watch {
	end := make(chan struct{})
	w := &Watch{stop: sync.OnceFunc(func() { close(end) }), over: make(chan struct{}), due: time.Now().Add(every)}
	go w.run(end)
	return w
}

// Stop ends the watch; what it has noted stays.
func (w *Watch) Stop() {
	w.stop()
	<-w.over
}

func (w *Watch) run(end <-chan struct{}) {
	defer close(w.over)
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-end:
			w.woken(time.Time{})
			return
		case <-timer.C:
			w.woken(time.Now().Add(every))
			timer.Reset(every)
		}
	}
}

// woken notes how late the goroutine was, and when it is due again.
func (w *Watch) woken(due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if late := now.Sub(w.due); late > every {
		w.waits = append(w.waits, wait{now, late})
	}
	w.due = due
}

// Slack returns what the machine may have added to a time that is measured from
// since to now: as often as goroutines have to be woken for a call to return, the
// most that this one was late meanwhile. It is 0 on a machine that keeps up.
func (w *Watch) Slack(since time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var most time.Duration
	if !w.due.IsZero() { // it may be due for long
		most = time.Since(w.due)
	}
	for i := len(w.waits) - 1; i >= 0 && w.waits[i].woken.After(since); i-- {
		most = max(most, w.waits[i].late)
	}
	if most <= every {
		return 0
	}
	return hops * most
}
