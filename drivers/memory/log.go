// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// data is a log in memory, shared by the stores of one name and chain. It keeps
// the appended slices as they are and hands each to the followers before Append
// returns.
type data struct {
	mu        sync.Mutex
	appends   []appended // in the order of their positions
	followers map[*follower]struct{}

	// Changed under mu only, and read without it.
	first, end atomic.Uint64
}

type appended struct {
	at     journal.Position
	events []journal.Event
}

// follower is one that has caught up.
type follower struct {
	emit   func(journal.Position, []journal.Event) error
	failed chan error // capacity 1
}

func newData() *data { return &data{followers: map[*follower]struct{}{}} }

// log is one store's access to the data.
type log struct {
	*data
}

var _ journal.Log = log{}

// Limits implements [journal.Log]: what one call brings is never divided.
func (log) Limits() journal.Limits {
	return journal.Limits{Events: driver.MaxBatch, Bytes: 2 * driver.MaxBatchBytes, InFlight: 1, Local: true}
}

// Size implements [journal.Log].
func (log) Size(e *journal.Event) (int, error) { return len(e.Data), nil }

// Append implements [journal.Log].
func (l log) Append(_ context.Context, events []journal.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.end.Load()
	l.appends = append(l.appends, appended{journal.Position(at), events})
	l.end.Store(at + uint64(len(events)))
	for f := range l.followers {
		if err := f.emit(journal.Position(at), events); err != nil {
			delete(l.followers, f)
			f.failed <- err
		}
	}
	return nil
}

// Bounds implements [journal.Log].
func (l log) Bounds(context.Context) (first, end journal.Position, err error) {
	return journal.Position(l.first.Load()), journal.Position(l.end.Load()), nil
}

// Follow implements [journal.Log].
func (l log) Follow(ctx context.Context, from journal.Place, emit func(journal.Position, []journal.Event) error) error {
	next := from.Next
	l.mu.Lock()
	if err := l.check(from); err != nil {
		l.mu.Unlock()
		return err
	}
	for journal.Position(l.end.Load()) > next {
		at, events := l.read(next)
		l.mu.Unlock()
		if ctx.Err() != nil {
			return driver.ContextError(ctx, false)
		}
		if err := emit(at, events); err != nil {
			return err
		}
		next = at + journal.Position(len(events))
		l.mu.Lock()
	}
	f := &follower{emit: emit, failed: make(chan error, 1)}
	l.followers[f] = struct{}{}
	l.mu.Unlock()
	select {
	case err := <-f.failed:
		return err
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.followers, f)
		return driver.ContextError(ctx, false)
	}
}

// check reports a place that is not in this log. The caller holds mu.
func (l log) check(from journal.Place) error {
	end := journal.Position(l.end.Load())
	if from.Next > end {
		return &driver.Error{Class: driver.Lost, Detail: fmt.Sprintf("the log ends at %d and was seen at %d", end, from.Next)}
	}
	if from.Next == 0 || from.Next <= journal.Position(l.first.Load()) {
		return nil
	}
	_, events := l.read(from.Next - 1)
	if e := &events[0]; e.Origin.Batch.ID != from.Batch || e.Index != from.Index {
		return &driver.Error{Class: driver.Lost, Detail: fmt.Sprintf("event %d is another one than was seen", from.Next-1)}
	}
	return nil
}

// read returns events from next on, or from the first there is. The caller holds
// mu; there is at least one.
func (l log) read(next journal.Position) (journal.Position, []journal.Event) {
	i := max(0, sort.Search(len(l.appends), func(i int) bool { return l.appends[i].at > next })-1)
	a := l.appends[i]
	skip := max(next, journal.Position(l.first.Load()), a.at) - a.at
	return a.at + skip, a.events[skip:]
}

// Truncate implements [journal.Log].
func (l log) Truncate(_ context.Context, before journal.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before <= journal.Position(l.first.Load()) || before > journal.Position(l.end.Load()) {
		return nil
	}
	l.first.Store(uint64(before))
	i := sort.Search(len(l.appends), func(i int) bool { return l.appends[i].at > before }) - 1
	l.appends = append([]appended(nil), l.appends[max(0, i):]...)
	return nil
}

// Check implements [journal.Log].
func (log) Check(context.Context) (driver.ProbeResponse, error) {
	return driver.ProbeResponse{
		Role:       "memory",
		Durability: "the life of the process",
		UsedBytes:  -1,
		LimitBytes: -1,
	}, nil
}

// Close implements [journal.Log]. The data stay for other stores.
func (log) Close(context.Context) error { return nil }
