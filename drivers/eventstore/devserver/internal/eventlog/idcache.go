// SPDX-License-Identifier: Apache-2.0

package eventlog

import "github.com/google/uuid"

// idCache remembers for recent event ids in which stream and under which revision they were first written. It is
// what makes repeats under Any and StreamExists known, it is bounded, and it is empty after a restart.
type idCache struct {
	known map[uuid.UUID]firstWrite
	ring  []uuid.UUID // in order of arrival; the oldest is overwritten
	next  int
}

type firstWrite struct {
	stream   uint64
	revision int64
}

func newIDCache(size int) *idCache {
	return &idCache{known: make(map[uuid.UUID]firstWrite), ring: make([]uuid.UUID, 0, size)}
}

// revision tells under which revision an id was first written to a stream.
func (c *idCache) revision(stream uint64, id uuid.UUID) (int64, bool) {
	w, ok := c.known[id]
	return w.revision, ok && w.stream == stream
}

// add remembers an id; later writes of the same id change nothing.
func (c *idCache) add(id uuid.UUID, stream uint64, revision int64) {
	if _, ok := c.known[id]; ok {
		return
	}
	if len(c.ring) < cap(c.ring) {
		c.ring = append(c.ring, id)
	} else {
		delete(c.known, c.ring[c.next])
		c.ring[c.next] = id
		c.next = (c.next + 1) % len(c.ring)
	}
	c.known[id] = firstWrite{stream: stream, revision: revision}
}

func (c *idCache) clear() {
	clear(c.known)
	c.ring, c.next = c.ring[:0], 0
}
