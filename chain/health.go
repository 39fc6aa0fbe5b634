// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"sync"
	"time"
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
}

func (i *incident) open() bool { return i.attempts > 0 }

// health holds the incidents of one link while it is active. Reads and mutations
// have one each, since a store that refuses all writes may well answer reads.
type health struct {
	mu       sync.Mutex
	reads    incident
	mutating incident
}

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
	if i.open() && !i.spent && now.Sub(i.latest) > p.Timeout {
		*i = incident{} // nobody has called since: that was another incident
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

// succeeded notes an attempt begun at started. It ends the incident if it was a
// retry; a mutation ends that of the reads too. It returns what it ended.
func (h *health) succeeded(op operation, started time.Time) (ended incident) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range [...]*incident{&h.reads, &h.mutating} {
		if (op.mutates() || i == &h.reads) && i.open() && !started.Before(i.next) {
			ended, *i = *i, incident{}
		}
	}
	return ended
}

// gate returns when the next attempt may start (zero: now), and the limit that
// the incident leaves to one.
func (h *health) gate(p *Policy, op operation) (next time.Time, limit time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.of(op)
	if !i.open() {
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
	h.reads, h.mutating = incident{}, incident{}
}
