// SPDX-License-Identifier: Apache-2.0

// Package crew runs functions in goroutines that are used again. Each new goroutine
// begins with a small stack and has it copied as calls go deeper; in a call that
// takes some ten microseconds that can be a tenth of the time.
package crew

import "sync/atomic"

// idle is how many goroutines of a Crew wait for something to do.
const idle = 8

// Crew is such goroutines: as many as there is to do at once, of which a few stay.
// Its methods may be called at the same time.
type Crew struct {
	next    chan func()
	waiting atomic.Int32
	ended   <-chan struct{}
}

// New returns a crew whose goroutines go, once they have nothing to do, when ended
// is closed.
func New(ended <-chan struct{}) *Crew {
	return &Crew{next: make(chan func()), ended: ended}
}

// Go runs f in a goroutine, also after the end. It does not wait.
func (c *Crew) Go(f func()) {
	select {
	case c.next <- f:
	default:
		go c.work(f)
	}
}

func (c *Crew) work(f func()) {
	for {
		f()
		if c.waiting.Add(1) > idle {
			c.waiting.Add(-1)
			return
		}
		select {
		case f = <-c.next:
			c.waiting.Add(-1)
		case <-c.ended:
			return
		}
	}
}
