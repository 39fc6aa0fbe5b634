// SPDX-License-Identifier: Apache-2.0

package journal

import "container/heap"

// item is a record in a queue of times.
type item struct {
	at   int64 // milliseconds since 1970
	slot uint32
}

// queue is a binary heap of times. Each entry of the table knows its index in the
// one queue that it stands in, so that it can be moved and removed.
type queue struct {
	items []item
	table *table
}

func (q *queue) Len() int           { return len(q.items) }
func (q *queue) Less(i, j int) bool { return q.items[i].at < q.items[j].at }

func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.table.at(q.items[i].slot).index = int32(i)
	q.table.at(q.items[j].slot).index = int32(j)
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	it := x.(item) //nolint:errcheck // add is the only caller of heap.Push
	q.table.at(it.slot).index = int32(len(q.items))
	q.items = append(q.items, it)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(q.items) - 1
	it := q.items[last]
	q.items = q.items[:last]
	q.table.at(it.slot).index = -1
	return it
}

func (q *queue) add(slot uint32, at int64) { heap.Push(q, item{at, slot}) }

func (q *queue) move(index int32, at int64) {
	if q.items[index].at != at {
		q.items[index].at = at
		heap.Fix(q, int(index))
	}
}

func (q *queue) remove(index int32) { heap.Remove(q, int(index)) }

// walk is a walk through several queues in order of time that changes none of
// them: the front holds the items whose parents have been passed.
type walk struct {
	front []front
}

type front struct {
	queue *queue
	index int
}

func (w *walk) Len() int { return len(w.front) }
func (w *walk) Less(i, j int) bool {
	return w.front[i].queue.items[w.front[i].index].at < w.front[j].queue.items[w.front[j].index].at
}
func (w *walk) Swap(i, j int) { w.front[i], w.front[j] = w.front[j], w.front[i] }

// Push implements heap.Interface.
func (w *walk) Push(x any) {
	w.front = append(w.front, x.(front)) //nolint:errcheck // earliest is the only caller of heap.Push
}

// Pop implements heap.Interface.
func (w *walk) Pop() any {
	last := len(w.front) - 1
	f := w.front[last]
	w.front = w.front[:last]
	return f
}

// earliest yields the items of the queues in order of time until yield returns
// false.
func earliest(queues []*queue, yield func(item) bool) {
	w := walk{}
	for _, q := range queues {
		if len(q.items) > 0 {
			heap.Push(&w, front{q, 0})
		}
	}
	for len(w.front) > 0 {
		f := heap.Pop(&w).(front) //nolint:errcheck // nothing else is pushed
		if !yield(f.queue.items[f.index]) {
			return
		}
		for child := 2*f.index + 1; child <= 2*f.index+2 && child < len(f.queue.items); child++ {
			heap.Push(&w, front{f.queue, child})
		}
	}
}
