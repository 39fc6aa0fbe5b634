// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// inFlight is how many batches of one combiner are under way at once: while the
// store deals with one, another can be on its way there, and the answers to a third
// be given to its callers.
const inFlight = 3

// minSweep is the length up to which a queue is not worth looking through.
const minSweep = 1024

// maxLooked is how many records of a queue are looked at to make one batch, where
// several are of one workflow.
const maxLooked = 16 * driver.MaxBatch

// load is what a batch that is being put together has to carry.
type load struct {
	records, bytes int
	looked         int            // records of which only the latest of each workflow goes
	sizes          map[string]int // of these, by id
}

// latest counts a record of a workflow of which only the latest one goes.
func (l *load) latest(r *driver.Record) {
	if l.sizes == nil {
		l.sizes = map[string]int{}
	}
	held, known := l.sizes[r.ID]
	if !known {
		l.records++
	}
	if size := driver.EncodedSize(r); size > held {
		l.bytes += size - held
		l.sizes[r.ID] = size
	}
	l.looked++
}

// fits reports whether it all goes in one call.
func (l *load) fits() bool {
	return l.records <= driver.MaxBatch && l.bytes <= driver.MaxBatchBytes && l.looked <= maxLooked
}

// weighty is what a combiner puts into batches.
type weighty interface {
	// weigh adds to what the batch carries.
	weigh(l *load)
}

// combiner makes batches of what comes while calls are in flight. When a slot is
// free, everything that has queued goes as one batch, up to the limits of a
// call; a lone caller is sent at once. Order is that of arrival, so nobody
// starves. What has time may wait for others to come.
type combiner[T weighty] struct {
	// send deals with a batch; the slot is free again when it returns.
	send func(batch []T)
	// gone tells which units nobody waits for any more. They need not be sent, and
	// must not pile up while nothing is. Nil: none.
	gone func(T) bool

	mu    sync.Mutex
	queue []T
	due   int         // so many of them go now, the others have time
	later *time.Timer // makes all of them due; nil: all are
	busy  int
	sweep int // the length at which the queue is rid of what is gone
}

// add queues units, to be sent in their order.
func (c *combiner[T]) add(units ...T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(units)
	c.start()
}

// addLater queues units that have time: they go when that is over, or together
// with one that has none.
func (c *combiner[T]) addLater(d time.Duration, units ...T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueue(units)
	if c.later == nil {
		c.later = time.AfterFunc(d, c.hurry)
	}
}

// hurry makes everything due that has queued.
func (c *combiner[T]) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start()
}

// enqueue adds to the queue. The caller holds c.mu.
func (c *combiner[T]) enqueue(units []T) {
	c.queue = append(c.queue, units...)
	if c.gone != nil && len(c.queue) > c.sweep {
		c.queue = slices.DeleteFunc(c.queue, c.gone)
		c.sweep = max(minSweep, 2*len(c.queue))
		c.due = min(c.due, len(c.queue))
	}
}

// start has everything sent that has queued. The caller holds c.mu.
func (c *combiner[T]) start() {
	if c.later != nil {
		c.later.Stop()
		c.later = nil
	}
	c.due = len(c.queue)
	if c.busy < inFlight && c.due > 0 {
		c.busy++
		go c.work()
	}
}

// work sends batches until nothing is due.
func (c *combiner[T]) work() {
	for {
		runtime.Gosched() // whoever can run and has something to send gets it into this batch
		c.mu.Lock()
		batch := c.take()
		if len(batch) == 0 {
			c.busy--
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.send(batch)
	}
}

// take removes the next batch of what is due from the queue: at least one unit, and
// as many as fit into one call.
func (c *combiner[T]) take() []T {
	n, all := 0, load{}
	for _, unit := range c.queue[:c.due] {
		if unit.weigh(&all); n > 0 && !all.fits() {
			break
		}
		n++
	}
	batch := make([]T, n)
	copy(batch, c.queue)
	clear(c.queue[:n])
	c.queue, c.due = c.queue[n:], c.due-n
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return batch
}
