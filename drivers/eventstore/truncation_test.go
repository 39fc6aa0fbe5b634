// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

func TestTruncationKeepsTheOperatorsMetadata(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	o := newOperator(t, server.URL())
	s := open(t, calm(server.Addresses()...), func(o *eventstore.Options) { o.Slack, o.Tidy = 1, time.Millisecond }).ready()
	o.setMetadata(`{"$acl":{"$r":"$all"},"$cacheControl":12,"owner":{"team":"voice","since":1.50},"$tb":0}`)
	r := s.put("kept")
	compact(t, s, r, o)
	m := o.metadata()
	require.Equal(t, map[string]any{"$r": "$all"}, m["$acl"])
	require.Equal(t, map[string]any{"team": "voice", "since": 1.5}, m["owner"])
	require.Equal(t, 12.0, m["$cacheControl"]) //nolint:testifylint // as it was written
	late := open(t, calm(server.Addresses()...)).ready()
	require.True(t, driver.Equal(&r, late.get("kept")))

	// Metadata that are no JSON count as none, so all that was truncated comes back.
	o.append("$$"+journalStream, "$metadata", `{"$acl":`)
	require.Zero(t, o.events(journalStream)[0].EventNumber)
	again := open(t, calm(server.Addresses()...)).ready()
	require.True(t, driver.Equal(&r, again.get("kept")))
	eventually(t, patience, func() error {
		at, want := s.Digest()
		if pos, got := again.Digest(); pos != at || got != want {
			return fmt.Errorf("%d with %.8s, and %d with %.8s", at, want, pos, got)
		}
		return nil
	})
}

// TestFollowerLeftBehind: while one host is cut off, another truncates the journal
// past what the first has seen. A subscription from there would begin later without
// a word.
func TestFollowerLeftBehind(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	o := newOperator(t, server.URL())
	p := newProxy(t, server.Addresses()[0])
	behind := open(t, quick(p.address())).ready()
	s := open(t, calm(server.Addresses()...), func(o *eventstore.Options) { o.Slack, o.Tidy = 1, time.Millisecond }).ready()
	o.setMetadata(`{}`)
	kept := s.put("kept")
	require.NotNil(t, behind.get("kept"))
	seen := behind.probe().Marks
	p.set(func() { p.refuses = true })
	p.cut()
	s.put("meanwhile")
	compact(t, s, kept, o)
	p.set(func() { p.refuses = false })
	eventually(t, patience, func() error { return behind.try(limit) })
	require.True(t, driver.Equal(&kept, behind.get("kept")))
	require.NotNil(t, behind.get("meanwhile"))
	require.NoError(t, behind.sees(seen), "nothing was lost")
	eventually(t, patience, func() error {
		at, want := s.Digest()
		if pos, got := behind.Digest(); pos != at || got != want {
			return fmt.Errorf("%d with %.8s, and %d with %.8s", at, want, pos, got)
		}
		return nil
	})
}

// compact writes as much as a compaction needs, and waits until the journal was
// truncated.
func compact(t *testing.T, s store, r driver.Record, o operator) {
	t.Helper()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range journal.Window/4/driver.MaxBatch + 4 {
				if _, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: repeats(r, driver.MaxBatch)}); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, patience, func() error {
		if tb, _ := o.metadata()["$tb"].(float64); tb == 0 {
			at, _ := s.Digest()
			return fmt.Errorf("not truncated yet at %d", at)
		}
		return nil
	})
}

// repeats are transitions that change nothing and take up room.
func repeats(r driver.Record, n int) []driver.Transition {
	ts := make([]driver.Transition, n)
	for i := range ts {
		ts[i] = driver.Transition{Record: r}
	}
	return ts
}

func TestTruncationIsNeverLowered(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	o := newOperator(t, server.URL())
	l := eventstore.NewLog(t, calm(server.Addresses()...).json(t), journalStream)
	for range 10 {
		o.append(journalStream, "Anything", "{}")
	}
	require.NoError(t, l.Truncate(t.Context(), 5))
	require.NoError(t, l.Truncate(t.Context(), 3))
	require.InDelta(t, 5, o.metadata()["$tb"], 0)
	o.setMetadata(`{"$tb":5,"n":0}`)
	var wg sync.WaitGroup
	for i := range 4 { // several hosts at once
		wg.Go(func() {
			if err := l.Truncate(t.Context(), journal.Position(6+i%2)); err != nil {
				t.Errorf("truncate: %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, map[string]any{"$tb": 7.0, "n": 0.0}, o.metadata())
	o.append("$$"+journalStream, "$metadata", `no JSON`)
	require.NoError(t, l.Truncate(t.Context(), 8))
	require.Equal(t, map[string]any{"$tb": 8.0}, o.metadata())
	first, end, err := l.Bounds(t.Context())
	require.NoError(t, err)
	require.Equal(t, []journal.Position{8, 10}, []journal.Position{first, end})
}
