// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// State says how it stands with the process of a plugin.
type State uint8

const (
	// Starting means that the first process is being started. Calls wait for it.
	Starting State = iota
	// Running means that a process serves.
	Running
	// Restarting means that the process is gone and the next is about to be
	// started. Calls wait for it.
	Restarting
	// Failed means that too many processes have ended in a short time, and that the
	// next is started after a longer pause. Calls are refused at once.
	Failed
	// Closed means that the store was closed, or never opened.
	Closed
)

// String returns the name of s in lower case.
func (s State) String() string {
	names := [...]string{"starting", "running", "restarting", "failed", "closed"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Status tells how it stands with the process of a plugin.
type Status struct {
	State    State
	Since    time.Time // when it came into this state
	PID      int       // of the process while Running, else 0
	Restarts int       // starts after the first, those included that failed
	Err      error     // why the last process ended or did not start; nil if none did
	Retry    time.Time // Restarting and Failed: when the next is started
}

// restarts decides when the next process is started.
type restarts struct {
	policy restartPolicy
	ends   []time.Time // of processes, within the last window
	loop   bool        // they are in a crash loop, until one has lived for a window
}

// restartPolicy has the times of [restarts].
type restartPolicy struct {
	most   int           // ends within window that make a crash loop
	window time.Duration // also: how long a process must live to end the loop
	first  time.Duration // pause before the second restart within window; doubles
	slow   time.Duration // pause in a crash loop
}

// defaultRestarts: the first restart is immediate, since that is what a single
// crash needs; five ends within a minute are a crash loop.
var defaultRestarts = restartPolicy{most: 5, window: time.Minute, first: 100 * time.Millisecond, slow: 30 * time.Second}

// ended notes that a process has ended after it lived for a time (0 if it did not
// start), and returns how long to wait, and whether this is a crash loop.
func (r *restarts) ended(now time.Time, lived time.Duration) (pause time.Duration, loop bool) {
	if lived >= r.policy.window {
		r.loop, r.ends = false, nil
	}
	r.ends = slices.DeleteFunc(r.ends, func(end time.Time) bool { return now.Sub(end) >= r.policy.window })
	r.ends = append(r.ends, now)
	n := len(r.ends)
	if r.loop = r.loop || n >= r.policy.most; r.loop {
		return jitter(r.policy.slow), true
	}
	if n == 1 {
		return 0, false
	}
	return jitter(r.policy.first << (n - 2)), false
}

// jitter returns d or up to a tenth less, so that hosts which failed together do
// not come back together.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }
