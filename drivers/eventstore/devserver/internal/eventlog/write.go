// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"go.etcd.io/bbolt"
)

// maxCommitBytes is about how much one transaction writes at most; what is queued beyond it waits for the next.
const maxCommitBytes = 16 << 20

// Result is the answer to a write.
type Result struct {
	Revision    int64 // of the last event of the stream that the write stands for, or NoStream
	Position    uint64
	HasPosition bool // false for a repeat of events that can no longer be read
}

// Pending is a write that was accepted and not yet answered.
type Pending struct {
	stream string
	size   int
	apply  func(*writeTx) (Result, error)
	done   chan struct{}
	result Result
	err    error
}

// Done is closed when the write has its answer.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Result is the answer; it may be asked for once Done is closed.
func (p *Pending) Result() (Result, error) { return p.result, p.err }

// Wait returns the answer, or the error of ctx if that ends first; the write then goes on.
func (p *Pending) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Append queues the events for the end of a stream, all of them or none. Writes are done in the order in which they
// were queued. The answer comes when they are on the disk. Errors: *WrongVersionError, *DeletedError, *RequestError,
// ErrClosed; anything else means that the file could not be written.
func (l *Log) Append(stream string, expected int64, events []Proposed) *Pending {
	size := 0
	for i := range events {
		size += len(events[i].Data) + len(events[i].Custom)
	}
	return l.submit(stream, size, func(tx *writeTx) (Result, error) { return tx.append(stream, expected, events) })
}

// Delete soft-deletes a stream: its events become invisible and it can be written again. Errors are those of Append.
func (l *Log) Delete(stream string, expected int64) *Pending {
	return l.submit(stream, 0, func(tx *writeTx) (Result, error) { return tx.softDelete(stream, expected) })
}

// Tombstone deletes a stream for ever. Errors are those of Append.
func (l *Log) Tombstone(stream string, expected int64) *Pending {
	return l.submit(stream, 0, func(tx *writeTx) (Result, error) { return tx.tombstone(stream, expected) })
}

func (l *Log) submit(stream string, size int, apply func(*writeTx) (Result, error)) *Pending {
	p := &Pending{stream: stream, size: size, apply: apply, done: make(chan struct{})}
	if err := checkName(stream); err != nil {
		return p.answer(Result{}, err)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return p.answer(Result{}, ErrClosed)
	}
	l.pending = append(l.pending, p)
	l.mu.Unlock()
	l.signal()
	return p
}

// checkName refuses names that cannot be stored, and the one that makes the real server exit.
func checkName(stream string) error {
	switch {
	case stream == "":
		return &RequestError{Reason: "the stream name is empty"}
	case stream == metadataPrefix:
		return &RequestError{Reason: `a write to the stream "$$" would end an EventStoreDB 23.10.6; choose another name`}
	case len(stream) > MaxStreamName:
		return &RequestError{Reason: fmt.Sprintf("the stream name has %d bytes, the development server stores at most %d", len(stream), MaxStreamName)}
	}
	return nil
}

func (p *Pending) answer(r Result, err error) *Pending {
	p.result, p.err = r, err
	close(p.done)
	return p
}

// run commits what is queued until the log is closed.
func (l *Log) run() {
	defer close(l.stopped)
	for range l.wake {
		for {
			batch, closed := l.take()
			if len(batch) > 0 {
				l.commit(batch)
				continue
			}
			if closed {
				return
			}
			break
		}
	}
}

// take removes the next batch from the queue.
func (l *Log) take() ([]*Pending, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.pending) && (n == 0 || size+l.pending[n].size <= maxCommitBytes) {
		size += l.pending[n].size
		n++
	}
	batch := l.pending[:n:n]
	l.pending = l.pending[n:]
	if len(l.pending) == 0 {
		l.pending = nil
	}
	return batch, l.closed
}

// commit does all writes of a batch in one transaction and answers them after it is on the disk. A refusal concerns
// only the write refused; a failure of the file fails the batch.
func (l *Log) commit(batch []*Pending) {
	tx, err := l.begin()
	if err == nil {
		for _, p := range batch {
			if p.result, p.err = p.apply(tx); p.err != nil && !refusal(p.err) {
				err = p.err
				break
			}
		}
		err = tx.finish(err)
	}
	if err != nil {
		l.ids.clear()
		for _, p := range batch {
			p.answer(Result{}, fmt.Errorf("write to stream %q: %w", p.stream, err))
		}
		return
	}
	l.announce()
	for _, p := range batch {
		close(p.done)
	}
}

// writeTx is the transaction of one commit. It sees its own writes.
type writeTx struct {
	snapshot
	owner   *Log
	tx      *bbolt.Tx
	dirty   map[string]bool
	next    uint64
	streams uint64
	created int64
}

func (l *Log) begin() (*writeTx, error) {
	tx, err := l.db.Begin(true)
	if err != nil {
		return nil, err
	}
	w := &writeTx{snapshot: newSnapshot(tx), owner: l, tx: tx, dirty: map[string]bool{}, next: l.next, streams: l.streams, created: l.lastCreated}
	w.cached = map[string]*head{}
	w.log.FillPercent = 1 // records are only ever added at the end
	return w, nil
}

// finish commits, or rolls back if there was an error.
func (w *writeTx) finish(err error) error {
	for name := range w.dirty {
		if err == nil {
			err = w.heads.Put([]byte(name), w.cached[name].encode())
		}
	}
	if err == nil && w.streams != w.owner.streams {
		err = w.heads.SetSequence(w.streams)
	}
	if err == nil {
		err = w.tx.Commit()
	}
	if err != nil {
		_ = w.tx.Rollback() // the error to report is the first one
		return err
	}
	w.owner.next, w.owner.streams, w.owner.lastCreated = w.next, w.streams, w.created
	return nil
}

// remember makes the ids of events known for repeats.
func (w *writeTx) remember(number uint64, first int64, events []Proposed) {
	for i := range events {
		w.owner.ids.add(events[i].ID, number, first+int64(i))
	}
}

func (w *writeTx) seen(number uint64, id uuid.UUID) (int64, bool) {
	return w.owner.ids.revision(number, id)
}
