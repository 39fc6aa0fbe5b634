// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// faultyLog is a log over which tests have power. Appends and looks take place in
// the background, as over a network; what is written is kept for ever and shown
// from first on.
type faultyLog struct {
	mu      sync.Mutex
	events  []Event
	first   Position
	grown   notifier
	down    error         // all calls fail with it
	cut     chan struct{} // closed to break off all followers
	after   func() error  // runs when an append was written; its error is the answer
	before  func() error  // runs before an append is written
	appends int
	looks   int
	limits  Limits
	page    int
	blind   bool // followers are told nothing
}

func newFaultyLog() *faultyLog {
	return &faultyLog{cut: make(chan struct{}), limits: Limits{Events: 64, Bytes: 1 << 20, InFlight: 3, Verbs: true}, page: 50}
}

// change changes the log's behaviour.
func (l *faultyLog) change(f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	l.grown.broadcast()
}

// breakOff ends all followers.
func (l *faultyLog) breakOff() {
	l.change(func() {
		close(l.cut)
		l.cut = make(chan struct{})
	})
}

func (l *faultyLog) Limits() Limits { return l.limits }

func (l *faultyLog) Size(e *Event) (int, error) { return len(e.Data), nil }

func (l *faultyLog) Append(ctx context.Context, events []Event) error {
	l.mu.Lock()
	before, after, down := l.before, l.after, l.down
	l.mu.Unlock()
	if down != nil {
		return down
	}
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return driver.ContextError(ctx, false)
	}
	l.change(func() {
		for _, e := range events {
			l.events = append(l.events, part(e))
		}
		l.appends++
	})
	if after != nil {
		return after()
	}
	return nil
}

// part leaves out what never changes, as a log may do.
func part(e Event) Event {
	if e.Kind == Committed || e.Kind == Claimed {
		rec := owned(e.Data)
		if rec.Revision > 1 {
			rec.Kind, rec.Input, rec.Labels, rec.Created = "", nil, nil, time.Time{}
			e.Data, e.Partial = driver.AppendRecord(nil, &rec), true
		}
	}
	return e
}

func (l *faultyLog) Bounds(context.Context) (first, end Position, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	return l.first, Position(len(l.events)), l.down
}

func (l *faultyLog) Follow(ctx context.Context, from Place, emit func(Position, []Event) error) error {
	next := from.Next
	l.mu.Lock()
	cut := l.cut
	if n := int(from.Next); n > 0 && Position(n) > l.first && (n > len(l.events) || l.events[n-1].Origin.Batch.ID != from.Batch) {
		l.mu.Unlock()
		return &driver.Error{Class: driver.Lost, Detail: "another history"}
	}
	l.mu.Unlock()
	for {
		grown := l.grown.wait()
		l.mu.Lock()
		next = max(next, l.first)
		var page []Event
		if !l.blind && int(next) <= len(l.events) {
			page = l.events[next:min(len(l.events), int(next)+l.page)]
		}
		err := l.down
		l.mu.Unlock()
		if err != nil {
			return err
		}
		if len(page) > 0 {
			if err := emit(next, page); err != nil {
				return err
			}
			next += Position(len(page))
			continue
		}
		select {
		case <-grown:
		case <-cut:
			return &driver.Error{Class: driver.Unavailable, Detail: "cut off"}
		case <-ctx.Done():
			return driver.ContextError(ctx, false)
		}
	}
}

func (l *faultyLog) Truncate(_ context.Context, before Position) error {
	l.change(func() { l.first = max(l.first, before) })
	return nil
}

func (l *faultyLog) Check(context.Context) (driver.ProbeResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return driver.ProbeResponse{Role: "test", Durability: "the test", UsedBytes: -1, LimitBytes: -1}, l.down
}

func (l *faultyLog) Close(context.Context) error { return nil }

func (l *faultyLog) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// open opens a machine on l that is closed at the end of the test.
func open(t *testing.T, l Log, change ...func(*Options)) *Machine {
	t.Helper()
	o := Options{Log: l, Describe: driver.DescribeResponse{Driver: "faulty"}, Logger: discard, Tidy: time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	m := Open(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		require.NoError(t, m.Close(ctx))
	})
	return m
}

func ready(t *testing.T, l Log, change ...func(*Options)) *Machine {
	t.Helper()
	m := open(t, l, change...)
	require.NoError(t, m.Ready(within(t, time.Minute)))
	return m
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func started(t *testing.T, id string) driver.Transition {
	t.Helper()
	tr, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: time.Now()}, driver.Workflow{ID: id, Kind: "k", Input: []byte("input")})
	require.NoError(t, err)
	return tr
}

func commitOne(ctx context.Context, m *Machine, tr driver.Transition) error {
	resp, err := m.Commit(ctx, driver.CommitRequest{Transitions: []driver.Transition{tr}})
	if err != nil {
		return err
	}
	return resp.Verdicts[0].Err
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, time.Minute, time.Millisecond, what)
}

var errCut = &driver.Error{Class: driver.Unknown, Detail: "the reply was lost", Cause: errors.New("EOF")}

// chaos breaks off followers and loses replies at random until stop is called.
func chaos(l *faultyLog) (stop func()) {
	l.change(func() {
		l.after = func() error {
			if rand.IntN(4) == 0 {
				return errCut
			}
			return nil
		}
		l.before = func() error {
			switch rand.IntN(8) {
			case 0:
				return &driver.Error{Class: driver.Unavailable, Detail: "refused"}
			case 1:
				return errCut // lost on the way there
			}
			return nil
		}
	})
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.breakOff()
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
		l.change(func() { l.before, l.after = nil, nil })
	}
}
