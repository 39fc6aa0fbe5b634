// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"context"
	"sync"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// seen is what came of a subscription: a revision, or one of the marks.
const (
	caughtUp   = -1
	checkpoint = -2
	dropped    = -3
)

// subscription gathers what arrives until it is asked for.
type subscription struct {
	t   *testing.T
	sub *esdb.Subscription
}

func (f *fixture) subscribe(stream string, o esdb.SubscribeToStreamOptions) *subscription {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), waiting)
	sub, err := f.client.SubscribeToStream(ctx, stream, o)
	require.NoError(f.t, err)
	f.t.Cleanup(func() {
		_ = sub.Close()
		cancel()
	})
	return &subscription{t: f.t, sub: sub}
}

// next returns the next so many things that arrive.
func (s *subscription) next(n int) []int {
	s.t.Helper()
	var out []int
	for range n {
		switch e := s.sub.Recv(); {
		case e.EventAppeared != nil:
			out = append(out, int(e.EventAppeared.OriginalEvent().EventNumber))
		case e.CaughtUp != nil:
			out = append(out, caughtUp)
		case e.CheckPointReached != nil:
			out = append(out, checkpoint)
		case e.SubscriptionDropped != nil:
			return append(out, dropped)
		}
	}
	return out
}

func TestSubscriptionCatchesUpAndGoesLive(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		from    esdb.StreamPosition
		history []int
		live    []int
	}{
		{name: "Start", from: esdb.Start{}, history: []int{0, 1, 2, caughtUp}, live: []int{3, 4}},
		{name: "RevisionIsExclusive", from: esdb.Revision(1), history: []int{2, caughtUp}, live: []int{3, 4}},
		{name: "Last", from: esdb.Revision(2), history: []int{caughtUp}, live: []int{3, 4}},
		{name: "NotYetThere", from: esdb.Revision(3), history: []int{caughtUp}, live: []int{4}},
		{name: "End", from: esdb.End{}, history: []int{caughtUp}, live: []int{3, 4}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, devserver.Options{})
			f.mustWrite("s", esdb.NoStream{}, ids(3)...)
			s := f.subscribe("s", esdb.SubscribeToStreamOptions{From: test.from})
			require.Equal(t, test.history, s.next(len(test.history)))
			f.mustWrite("other", esdb.Any{}, uuid.New())
			f.mustWrite("s", esdb.Any{}, ids(2)...)
			require.Equal(t, test.live, s.next(len(test.live)))
		})
	}
}

func TestSubscriptionWaitsForItsStream(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	s := f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	f.mustWrite("s", esdb.NoStream{}, ids(2)...)
	require.Equal(t, []int{0, 1, caughtUp}, s.next(3))
}

func TestSubscriptionOutlivesDeletionButNotTombstone(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(2)...)
	s := f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	require.Equal(t, []int{0, 1, caughtUp}, s.next(3))
	_, err := f.client.DeleteStream(t.Context(), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	require.NoError(t, err)
	f.mustWrite("s", esdb.Any{}, uuid.New())
	require.Equal(t, []int{2}, s.next(1))
	_, err = f.client.TombstoneStream(t.Context(), "s", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
	require.NoError(t, err)
	require.Equal(t, []int{1<<63 - 1, dropped}, s.next(2), "the $streamDeleted event, then the end")
}

func TestLiveSubscriptionSeesWhatMetadataHide(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(5)...)
	f.setMetadata("s", `{"$tb":3}`)
	s := f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	require.Equal(t, []int{3, 4, caughtUp}, s.next(3), "history begins at the lower bound")
	f.setMetadata("s", `{"$maxCount":1}`)
	f.mustWrite("s", esdb.Any{}, ids(3)...)
	require.Equal(t, []int{5, 6, 7}, s.next(3))
}

// TestSubscriptionHasNoGapsUnderLoad subscribes while several writers append, and resumes from where it stopped.
func TestSubscriptionHasNoGapsUnderLoad(t *testing.T) {
	t.Parallel()
	const writers, appends, each = 4, 50, 5
	f := setup(t, devserver.Options{})
	var running sync.WaitGroup
	errs := make(chan error, writers)
	for range writers {
		running.Go(func() {
			for range appends {
				if _, err := f.write("s", esdb.Any{}, ids(each)...); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	want := 0
	receive := func(s *subscription, until int) {
		for want < until {
			if got := s.next(1)[0]; got != caughtUp {
				require.Equal(t, want, got)
				want++
			}
		}
	}
	receive(f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}}), 200)
	receive(f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Revision(199)}), writers*appends*each)
	running.Wait()
	close(errs)
	require.NoError(t, <-errs)
}

func TestSubscriptionToAllWithFilter(t *testing.T) {
	t.Parallel()
	tests := map[string]*esdb.SubscriptionFilter{
		"StreamPrefix": {Type: esdb.StreamFilterType, Prefixes: []string{"nothing", "want"}},
		"StreamRegex":  {Type: esdb.StreamFilterType, Regex: "^want-.$"},
		"TypePrefix":   {Type: esdb.EventFilterType, Prefixes: []string{"Wan"}},
		"TypeRegex":    {Type: esdb.EventFilterType, Regex: "^W.*d$"},
	}
	for name, filter := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, devserver.Options{})
			wanted := func() {
				_, err := f.client.AppendToStream(t.Context(), "want-1", esdb.AppendToStreamOptions{},
					esdb.EventData{EventType: "Wanted", ContentType: esdb.ContentTypeJson, Data: []byte("{}")})
				require.NoError(t, err)
			}
			f.mustWrite("noise", esdb.Any{}, ids(8)...)
			wanted()
			ctx, cancel := context.WithTimeout(t.Context(), waiting)
			defer cancel()
			sub, err := f.client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: filter, MaxSearchWindow: 4, CheckpointInterval: 1})
			require.NoError(t, err)
			defer func() { require.NoError(t, sub.Close()) }()
			s := &subscription{t: t, sub: sub}
			require.Equal(t, []int{checkpoint, checkpoint, 0, caughtUp}, s.next(4), "a page of four is a checkpoint, the last page is none")
			f.mustWrite("noise", esdb.Any{}, ids(3)...)
			require.Equal(t, []int{checkpoint}, s.next(1), "the fourth event since the last checkpoint")
			wanted()
			require.Equal(t, []int{1}, s.next(1))
		})
	}
}

// TestCheckpointsStandWherePagesBegin: a page without a match is marked by its beginning, with prepare position 0.
func TestCheckpointsStandWherePagesBegin(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("noise", esdb.Any{}, ids(2)...)
	r, err := f.client.AppendToStream(t.Context(), "noise", esdb.AppendToStreamOptions{})
	require.NoError(t, err, "an empty append stands in the log, but is no event")
	f.mustWrite("noise", esdb.Any{}, ids(3)...)
	ctx, cancel := context.WithTimeout(t.Context(), waiting)
	defer cancel()
	sub, err := f.client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}, MaxSearchWindow: 2, CheckpointInterval: 1,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"nothing"}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, sub.Close()) }()
	for _, want := range []uint64{0, r.CommitPosition} {
		got := sub.Recv().CheckPointReached
		require.NotNil(t, got)
		require.Equal(t, esdb.Position{Commit: want}, *got)
	}
	require.NotNil(t, sub.Recv().CaughtUp)
}

func TestSubscriptionToAllResumesFromItsPosition(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(70)...)
	follow := func(from esdb.AllPosition, n int) []*esdb.RecordedEvent {
		ctx, cancel := context.WithTimeout(t.Context(), waiting)
		defer cancel()
		sub, err := f.client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: from})
		require.NoError(t, err)
		defer func() { _ = sub.Close() }()
		var out []*esdb.RecordedEvent
		for len(out) < n {
			e := sub.Recv()
			require.Nil(t, e.SubscriptionDropped)
			if e.EventAppeared != nil {
				out = append(out, e.EventAppeared.OriginalEvent())
			}
		}
		return out
	}
	first := follow(esdb.Start{}, 40)
	require.EqualValues(t, 39, first[39].EventNumber)
	f.restart()
	f.setMetadata("s", `{"$tb":70}`)
	rest := follow(first[39].Position, 31)
	require.EqualValues(t, 40, rest[0].EventNumber, "the position is exclusive, and truncated events stay in $all")
	require.Equal(t, "$$s", rest[30].StreamID)
}

func TestSubscriptionToAStreamResumesAfterARestart(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	f.mustWrite("s", esdb.NoStream{}, ids(5)...)
	s := f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	require.Equal(t, []int{0, 1, 2}, s.next(3))
	f.restart()
	s = f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Revision(2)})
	require.Equal(t, []int{3, 4, caughtUp}, s.next(3))
	f.mustWrite("s", esdb.Revision(4), uuid.New())
	require.Equal(t, []int{5}, s.next(1))
	f.setMetadata("s", `{"$tb":4}`)
	f.restart()
	s = f.subscribe("s", esdb.SubscribeToStreamOptions{From: esdb.Revision(0)})
	require.Equal(t, []int{4, 5, caughtUp}, s.next(3), "it goes on at the lower bound without a word")
}
