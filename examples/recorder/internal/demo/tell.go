// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
)

// ChainName is the name of the demo's chain.
const ChainName = "recorder"

// Failover is a failover as the report has it.
type Failover struct {
	Epoch     uint64  `json:"epoch"`
	From      string  `json:"from"`
	To        string  `json:"to"`
	Host      string  `json:"host"` // that decided it
	Cause     string  `json:"cause"`
	Attempts  int     `json:"attempts"`
	ElapsedMS float64 `json:"elapsed_ms"` // from the start of the first attempt that failed
	InFlight  int     `json:"in_flight"`
}

// message is one line that a pool writes to its standard output.
type message struct {
	Stopped  string    `json:"stopped,omitempty"`   // the point within a step at which a call stands still
	WaitedMS float64   `json:"waited_ms,omitempty"` // the longest wait for a save point so far
	Failover *Failover `json:"failover,omitempty"`
}

// Teller tells the demo what a pool in another process sees.
type Teller struct {
	mu      sync.Mutex
	out     *json.Encoder
	longest time.Duration
}

// NewTeller returns a Teller that writes to out.
func NewTeller(out io.Writer) *Teller { return &Teller{out: json.NewEncoder(out)} }

// tell writes a message. When nobody reads it, the pool is about to end anyway.
func (t *Teller) tell(m message) { _ = t.out.Encode(m) }

// Stopped tells that a call stands still at a point within a step.
func (t *Teller) Stopped(point string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(message{Stopped: point})
}

// Waited tells how long a save point took, if no other has taken longer.
func (t *Teller) Waited(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d > t.longest {
		t.longest = d
		t.tell(message{WaitedMS: ms(d)})
	}
}

// Event tells of failovers; it is a handler of the chain's events.
func (t *Teller) Event(e chain.Event) {
	if over, ok := e.(chain.FailedOver); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.tell(message{Failover: failoverOf(over, "pool")})
	}
}

func failoverOf(e chain.FailedOver, host string) *Failover {
	return &Failover{Epoch: e.Epoch.Number, From: e.From, To: e.To, Host: host, Cause: e.Cause.Error(),
		Attempts: e.Attempts, ElapsedMS: ms(e.Elapsed), InFlight: e.InFlight}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// NewLog returns a logger of JSON lines to a file.
func NewLog(path string) (*zap.Logger, error) {
	config := zap.NewProductionConfig()
	config.Sampling = nil // each line is a change of state
	config.DisableCaller, config.DisableStacktrace = true, true
	config.OutputPaths, config.ErrorOutputPaths = []string{path}, []string{path}
	return config.Build()
}
