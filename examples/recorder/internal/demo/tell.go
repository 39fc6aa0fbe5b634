// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// message is one line that a host writes to its standard output.
type message struct {
	Stopped  string  `json:"stopped,omitempty"`   // the point within a step at which a call stands still
	WaitedMS float64 `json:"waited_ms,omitempty"` // the longest wait of a caller so far
	TakenIn  int     `json:"taken_in,omitempty"`  // all calls of the host's part, that many, are taken in
	Failed   string  `json:"failed,omitempty"`    // an error that a caller saw
	Event    *told   `json:"event,omitempty"`
}

// told is an event of the chain as a host saw it.
type told struct {
	At       time.Time    `json:"at,omitzero"` // of a failover or failback
	Epoch    driver.Epoch `json:"epoch"`
	Failover *Failover    `json:"failover,omitempty"`
	Failback *Failback    `json:"failback,omitempty"`
	Host     string       `json:"-"`
}

// Teller tells the demo what a host in another process sees.
type Teller struct {
	mu      sync.Mutex
	out     *json.Encoder
	longest time.Duration
}

// NewTeller returns a Teller that writes to out.
func NewTeller(out io.Writer) *Teller { return &Teller{out: json.NewEncoder(out)} }

// tell writes a message. When nobody reads it, the host is about to end anyway.
func (t *Teller) tell(m message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.out.Encode(m)
}

// Stopped tells that a call stands still at a point within a step.
func (t *Teller) Stopped(point string) { t.tell(message{Stopped: point}) }

// TakenIn tells that all lines of the host's part are started, and how many they are.
func (t *Teller) TakenIn(lines int) { t.tell(message{TakenIn: lines}) }

// Failed tells of an error that a caller saw.
func (t *Teller) Failed(err error) { t.tell(message{Failed: err.Error()}) }

// Waited tells how long a call to the chain took, if no other has taken longer.
func (t *Teller) Waited(d time.Duration) {
	t.mu.Lock()
	longer := d > t.longest
	t.longest = max(t.longest, d)
	t.mu.Unlock()
	if longer {
		t.tell(message{WaitedMS: ms(d)})
	}
}

// Event tells of what changes the epoch; it is a handler of the chain's events.
func (t *Teller) Event(event chain.Event) {
	e := &told{}
	switch event := event.(type) {
	case chain.FailedOver:
		e.At, e.Epoch = event.At, event.Epoch
		e.Failover = &Failover{Epoch: event.Epoch.Number, From: event.From, To: event.To, Cause: event.Cause.Error(),
			Attempts: event.Attempts, ElapsedMS: ms(event.Elapsed), InFlight: event.InFlight}
	case chain.Switched:
		e.At, e.Epoch = event.At, event.Epoch
		e.Failback = &Failback{Epoch: event.Epoch.Number, From: event.From, To: event.To, PauseMS: ms(event.Pause)}
	case chain.Joined:
		e.Epoch = event.Epoch
	case chain.Followed:
		e.Epoch = event.Epoch
	case chain.StandbyDropped:
		e.Epoch = event.Epoch
	default:
		return
	}
	t.tell(message{Event: e})
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
