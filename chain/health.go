// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// incident is a row of failures of the active link. All callers share it: their
// failures at one moment are one failure, and a round of retries by all of them
// is one retry.
type incident struct {
	began    time.Time // start of the first attempt that failed
	latest   time.Time // when the last one was seen to fail
	next     time.Time // no attempt starts before
	first    error
	last     error
	attempts int // that failed
	retries  int // rounds of retries that failed
	spent    bool
	slow     bool // the link has answered each time, but not within the latency budget
}

func (i *incident) open() bool { return i.attempts > 0 }

// past reports whether nobody has called for so long since that what fails now is
// another incident.
func (i *incident) past(p *Policy, now time.Time) bool {
	return i.open() && !i.spent && now.Sub(i.latest) > p.Timeout
}

// health holds the incidents of one link while it is active. Reads and mutations
// have one each, since a store that refuses all writes may well answer reads, and
// the other way round.
type health struct {
	mu       sync.Mutex
	reads    incident
	mutating incident
	checks   incident  // of the status checks
	served   time.Time // when the latest mutation was sent that succeeded
	pace     pace      // since the last status check
}

// pace is how commits have kept within the latency budget.
type pace struct {
	commits, slow int // that succeeded; of these, those that took longer
	longest       time.Duration
}

// slowly reports whether most commits took longer: neither a batch that is larger
// than others nor an outlier makes a slow link.
func (p pace) slowly() bool { return 2*p.slow > p.commits }

func (h *health) of(op operation) *incident {
	if op.mutates() {
		return &h.mutating
	}
	return &h.reads
}

// failed notes that an attempt begun at started failed with err, and returns the
// incident; its spent field says that the budget is used up. At once makes it so.
func (h *health) failed(p *Policy, op operation, started time.Time, err error, atOnce bool) incident {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.of(op)
	if i.past(p, now) {
		*i = incident{}
	}
	i.attempts++
	i.last, i.latest = err, now
	switch {
	case i.attempts == 1:
		i.began, i.first = started, err
		i.next = now.Add(p.pause(0))
	case !started.Before(i.next):
		i.retries++
		i.next = now.Add(p.pause(i.retries))
	}
	limit := i.began.Add(p.Timeout)
	if atOnce || i.retries >= p.Retries || !i.next.Before(limit) {
		i.spent = true
	}
	return *i
}

// succeeded notes an attempt begun at started, which ends the incident of its
// kind if it was a retry. It returns what it ended.
func (h *health) succeeded(p *Policy, op operation, started time.Time) (ended incident) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if op == opCommit && p.Check.Slow > 0 {
		took := time.Since(started)
		h.pace.commits++
		h.pace.longest = max(h.pace.longest, took)
		if took > p.Check.Slow {
			h.pace.slow++
		}
	}
	if op.mutates() {
		h.served = started
	}
	if i := h.of(op); i.open() && !started.Before(i.next) {
		ended, *i = *i, incident{}
	}
	return ended
}

// paced returns how commits have kept within the latency budget since the last
// call.
func (h *health) paced() pace {
	h.mu.Lock()
	defer h.mu.Unlock()
	paced := h.pace
	h.pace = pace{}
	return paced
}

// checkFailed is failed for a status check. The budget is used up after as many
// in a row as policy says; while calls fail too, it is theirs that counts.
// Mutations that succeed meanwhile begin the count anew, as the link serves,
// unless the check was only slow, as they may be too.
func (h *health) checkFailed(p *Policy, started time.Time, slow bool, err error) incident {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	i := &h.checks
	if !slow && i.open() && h.served.After(i.began) {
		*i = incident{}
	}
	i.attempts++
	i.last, i.latest = err, now
	i.slow = slow && (i.slow || i.attempts == 1)
	if i.attempts == 1 {
		i.began, i.first = started, err
	} else {
		i.retries++
	}
	i.spent = i.spent || driver.ClassOf(err) == driver.Lost
	calls := false
	for _, call := range [...]*incident{&h.reads, &h.mutating} {
		if call.open() && now.Sub(call.latest) <= p.Timeout {
			calls = true
			i.spent = i.spent || call.spent || now.Sub(call.began) >= p.Timeout
		}
	}
	if !calls && i.attempts >= p.Check.Fall {
		i.spent = true
	}
	return *i
}

// checkPassed ends the incident of the status checks, and those of calls that nobody
// makes any more.
func (h *health) checkPassed(p *Policy) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = incident{}
	for _, i := range [...]*incident{&h.reads, &h.mutating} {
		if i.open() && now.After(i.next) && now.Sub(i.latest) > p.Timeout {
			*i = incident{}
		}
	}
}

// gate returns when the next attempt may start (zero: now), and the limit that
// the incident leaves to one.
func (h *health) gate(p *Policy, op operation) (next time.Time, limit time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.of(op)
	if !i.open() || i.past(p, time.Now()) {
		return time.Time{}, p.Attempt
	}
	limit = p.Attempt
	if !i.spent {
		left := time.Until(i.began.Add(p.Timeout))
		limit = min(limit, max(left, time.Millisecond))
	}
	return i.next, limit
}

// reset forgets everything: the link begins to serve.
func (h *health) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads, h.mutating, h.checks, h.pace = incident{}, incident{}, incident{}, pace{}
}
