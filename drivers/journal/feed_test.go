// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func TestFeedIsBoundedAndSaysWhenACursorIsLost(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l, func(o *Options) { o.Feed = 10 })
	cursors := []string{}
	errDone := errors.New("done")
	require.ErrorIs(t, m.Changes(t.Context(), driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
		cursors = append(cursors, b.Cursor)
		return errDone
	}), errDone)
	for i := range 10 {
		require.NoError(t, commitOne(t.Context(), m, started(t, fmt.Sprint("w", i))))
	}
	ids := []string{}
	err := m.Changes(t.Context(), driver.ChangesRequest{Cursor: cursors[0], Records: true}, func(b driver.ChangeBatch) error {
		for _, c := range b.Changes {
			require.Equal(t, c.ID, c.Record.ID)
			ids = append(ids, c.ID)
		}
		return errDone
	})
	require.ErrorIs(t, err, errDone)
	require.Len(t, ids, 10)
	require.NoError(t, commitOne(t.Context(), m, started(t, "one more")))
	none := func(driver.ChangeBatch) error { return nil }
	require.ErrorIs(t, m.Changes(t.Context(), driver.ChangesRequest{Cursor: cursors[0]}, none), driver.CursorLost)
	require.Len(t, m.replica.feed.changes, 10)
}

func TestFeedGoesOnWhileItsConsumerIsSlow(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began, release, got := make(chan struct{}), make(chan struct{}), make(chan driver.ChangeBatch, 10)
	first := sync.OnceFunc(func() { close(began); <-release })
	end := make(chan error, 1)
	go func() {
		end <- m.Changes(ctx, driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
			first()
			got <- b
			return nil
		})
	}()
	<-began
	for i := range 100 {
		require.NoError(t, commitOne(t.Context(), m, started(t, fmt.Sprint("w", i))), "a slow consumer holds up nobody")
	}
	close(release)
	require.Empty(t, (<-got).Changes, "the first batch")
	require.Len(t, (<-got).Changes, 100, "all that happened meanwhile, at once")
	cancel()
	require.ErrorIs(t, <-end, context.Canceled)
}

func FuzzParseCursor(f *testing.F) {
	f.Add(formatCursor(1, 2))
	f.Add("j1-")
	f.Fuzz(func(t *testing.T, s string) {
		incarnation, next, err := parseCursor(s)
		if err == nil {
			require.Equal(t, s, formatCursor(incarnation, next))
		} else {
			require.ErrorIs(t, err, driver.Invalid)
		}
	})
}

// FuzzApply feeds a replica events that no machine would write.
func FuzzApply(f *testing.F) {
	tr, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: testTime}, driver.Workflow{ID: "a", Kind: "k"})
	require.NoError(f, err)
	f.Add(uint8(Committed), driver.AppendRecord(nil, &tr.Record), uint64(1), uint64(0), true)
	f.Add(uint8(EpochAdvanced), []byte(`{"next":{"Number":1}}`), uint64(1), uint64(0), false)
	f.Add(uint8(Truncated), []byte(`{"before":1}`), uint64(0), uint64(0), false)
	f.Fuzz(func(t *testing.T, kind uint8, data []byte, after, epoch uint64, partial bool) {
		r := newReplica(4, 4)
		origin := &Origin{Batch: &Batch{}, After: 0}
		e, err := carrying(Created, Creation{Incarnation: 1})
		require.NoError(t, err)
		e.Origin = origin
		r.apply(0, &e)
		r.apply(1, &Event{Kind: Committed, Origin: &Origin{Batch: &Batch{}, After: 1}, Data: driver.AppendRecord(nil, &tr.Record)})
		for pos := Position(2); pos < 10; pos++ {
			r.apply(pos, &Event{Kind: Kind(kind), Partial: partial, Base: tr.Record.Token, Data: data,
				Origin: &Origin{Batch: &Batch{ID: driver.Token{1}}, After: Position(after), Epoch: epoch}})
		}
		require.NotEmpty(t, r.digest())
	})
}
