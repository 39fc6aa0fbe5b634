// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Event is a change of the chain's state: one of the types below. Each is also
// one log line.
type Event interface{ event() }

// FailedOver tells that this host has moved the chain to the next link.
type FailedOver struct {
	At       time.Time // when the next link served, by this host's clock
	From, To string
	Epoch    driver.Epoch
	Cause    error         // the last failure of From
	Evidence error         // the first one
	Attempts int           // on From that failed
	Elapsed  time.Duration // since the start of the first attempt that failed
	InFlight int           // calls that waited and go on in To

	Protected bool // whether a standby is in step behind To
}

// Followed tells that the chain has moved to another epoch by the decision of
// another host.
type Followed struct {
	At    time.Time
	From  string // the link that was active
	Epoch driver.Epoch
}

// StandbyDropped tells that a standby no longer holds everything acknowledged:
// the chain goes on without it, by the decision of this host or another. It stays
// out until it has been brought up to date.
type StandbyDropped struct {
	At        time.Time
	Link      string
	Epoch     driver.Epoch
	Cause     error
	Protected bool // whether another standby is in step
}

// AllDown tells that the active link is down and no standby can take over.
// Callers wait up to their own deadlines.
type AllDown struct {
	At    time.Time
	Epoch driver.Epoch
	Cause error // joins the failures of all links
}

// StaleServes tells that a link serves which misses something acknowledged, as
// StaleServe allows.
type StaleServes struct {
	At    time.Time
	Link  string
	Epoch driver.Epoch
	// Brought is how many records this host brings that it acknowledged while the
	// link was out of step; Complete whether those are all of its own. Other hosts
	// tell of theirs.
	Brought  int
	Complete bool
}

// Recovered tells that the active link serves again, after AllDown.
type Recovered struct {
	At    time.Time
	Epoch driver.Epoch
}

// LinkFenced tells that a link which is not active has taken over an epoch, so
// that it refuses everybody who believes in an older one.
type LinkFenced struct {
	At    time.Time
	Link  string
	Epoch driver.Epoch
}

// EffectUnresolved tells that a workflow waits for an operator, since nobody knows
// whether an effect of it happened; see [Handle.Once] and [Chain.Resolve].
type EffectUnresolved struct {
	At       time.Time
	ID, Kind string    // of the workflow
	Effect   string    // its name
	Key      string    // the idempotency key that the outside got
	Begun    time.Time // by the clock of the store
}

// HandoverBegun tells that this host has stopped all writers, so that links which
// were brought up to date can join the in-sync set.
type HandoverBegun struct {
	At    time.Time
	Links []string
	Epoch driver.Epoch
}

// HandoverRolledBack tells that this host has ended a handover without a new link
// in the in-sync set.
type HandoverRolledBack struct {
	At    time.Time
	Epoch driver.Epoch
	Cause error
}

// Joined tells that this host has brought a link back into the in-sync set.
type Joined struct {
	At    time.Time
	Link  string
	Epoch driver.Epoch
	Pause time.Duration // for which writers were stopped
}

// Switched tells that this host has made another link the active one, as
// planned.
type Switched struct {
	At       time.Time
	From, To string
	Epoch    driver.Epoch
	Pause    time.Duration // until To could serve
}

// LinkLost tells that a link has lost data. It is not trusted before it has been
// brought up to date and has joined the in-sync set again.
type LinkLost struct {
	At    time.Time
	Link  string
	Cause error
}

// TieSettled tells that two groups of hosts, cut off from each other, had made the
// same epoch in two links, and that this host has ended that. What was
// acknowledged in Lost since then is told when its link returns.
type TieSettled struct {
	At    time.Time
	Lost  driver.Epoch
	Epoch driver.Epoch // in which the chain goes on
}

func (EffectUnresolved) event()   {}
func (FailedOver) event()         {}
func (Followed) event()           {}
func (StandbyDropped) event()     {}
func (AllDown) event()            {}
func (StaleServes) event()        {}
func (Recovered) event()          {}
func (LinkFenced) event()         {}
func (HandoverBegun) event()      {}
func (HandoverRolledBack) event() {}
func (Joined) event()             {}
func (Switched) event()           {}
func (LinkLost) event()           {}
func (TieSettled) event()         {}

// events hands events to the handler in order, from one goroutine that runs
// while there are any, so that a slow handler never holds up the chain.
type events struct {
	telemetry *telemetry
	handler   func(Event)
	history   history
	ways      waysBack
	mu        sync.Mutex
	queue     []Event
	running   bool
	closed    bool
	idle      sync.WaitGroup
}

func (e *events) emit(event Event) {
	t := transitionOf(event)
	e.history.add(t)
	e.telemetry.event(t)
	e.ways.take(event)
	if e.handler == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.queue = append(e.queue, event)
	if !e.running {
		e.running = true
		e.idle.Go(e.deliver)
	}
}

// close waits until the handler has had all events; later ones are not delivered.
func (e *events) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.idle.Wait()
}

func (e *events) deliver() {
	for {
		e.mu.Lock()
		if len(e.queue) == 0 {
			e.running = false
			e.mu.Unlock()
			return
		}
		event := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		e.handler(event)
	}
}
