// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// movedLog is truncated between the first look at its bounds and what follows. It
// shows its followers the events before shown only, until it is released.
type movedLog struct {
	*faultyLog
	looked  atomic.Bool
	shown   Position
	release chan struct{}
}

// Bounds implements [Log].
func (l *movedLog) Bounds(ctx context.Context) (first, end Position, err error) {
	if !l.looked.Swap(true) {
		return 0, l.shown, nil
	}
	return l.faultyLog.Bounds(ctx)
}

// Follow implements [Log].
func (l *movedLog) Follow(ctx context.Context, from Place, emit func(Position, []Event) error) error {
	return l.faultyLog.Follow(ctx, from, func(at Position, events []Event) error {
		if n := Position(len(events)); at < l.shown && at+n > l.shown {
			if err := emit(at, events[:l.shown-at]); err != nil {
				return err
			}
			at, events = l.shown, events[l.shown-at:]
		}
		if at >= l.shown {
			select {
			case <-l.release:
			case <-ctx.Done():
				return driver.ContextError(ctx, false)
			}
		}
		return emit(at, events)
	})
}

// TestReplicaThatBeganAfterATruncationServesOnlyFromThereOn lets a replica accept a
// truncation that others refused, because it does not know what was not repeated yet.
func TestReplicaThatBeganAfterATruncationServesOnlyFromThereOn(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 5)
	a := h.start(1, "a", 1)
	h.at(3).checkpoint(3, testTime)
	h.at(9).carry(9, Truncated, Truncation{Before: 3})
	require.Zero(t, h.replica(0).truncated)
	require.True(t, h.replica(3).exact)
	h.compacted(a)
	h.truncate(3)

	l := &movedLog{faultyLog: newFaultyLog(), shown: 10, release: make(chan struct{})}
	l.events, l.first = h.events, 3
	m := open(t, l, func(o *Options) { o.window = h.window })
	at := func() (Position, phase) {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return m.replica.next, m.state.phase
	}
	eventually(t, func() bool { next, _ := at(); return next == 10 }, "it has come to the truncation that was refused")
	_, phase := at()
	require.Equal(t, starting, phase)
	close(l.release)
	require.NoError(t, m.Ready(within(t, time.Minute)))
	got, err := m.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.NoError(t, err)
	require.Len(t, got.Records, 1)
}
