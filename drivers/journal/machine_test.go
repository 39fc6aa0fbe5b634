// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

var discard = slog.New(slog.DiscardHandler)

var testTime = time.UnixMilli(1_000_000)

func TestCommitWhoseReplyIsLostIsResolvedByTheFollower(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	l.change(func() { l.after = func() error { return errCut } })
	require.NoError(t, commitOne(within(t, 10*time.Second), m, started(t, "a")))
}

func TestCommitThatNeverArrivesIsUnknownWithoutWaitingForTheContext(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	l.change(func() { l.before = func() error { return errCut } })
	began := time.Now()
	err := commitOne(within(t, 20*time.Second), m, started(t, "a"))
	require.ErrorIs(t, err, driver.Unknown)
	require.Less(t, time.Since(began), 10*time.Second)
}

func TestCommitThatIsRefusedIsNotDone(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	l.change(func() { l.before = func() error { return &driver.Error{Class: driver.Denied, Detail: "no"} } })
	require.ErrorIs(t, commitOne(t.Context(), m, started(t, "a")), driver.Denied)
}

func TestContextEndsACommit(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	l.change(func() { l.blind = true })

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := commitOne(ctx, m, started(t, "sent"))
	require.ErrorIs(t, err, driver.Unknown, "it was sent")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 2, l.length())

	hold := make(chan struct{})
	l.change(func() { l.before = func() error { <-hold; return nil } })
	var wg sync.WaitGroup
	waiting, stop := context.WithCancel(t.Context())
	for i := range l.limits.InFlight {
		wg.Go(func() { _ = commitOne(waiting, m, started(t, fmt.Sprint("holds", i))) })
		eventually(t, func() bool {
			m.sender.mu.Lock()
			defer m.sender.mu.Unlock()
			return len(m.sender.flights) == i+1
		}, "another place is taken")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, commitOne(ctx, m, started(t, "queued")), driver.Unavailable, "it was never sent")
	close(hold)
	stop()
	wg.Wait()
	for _, e := range l.events {
		if e.Kind == Committed {
			rec := decoded(e.Data)
			require.NotEqual(t, "queued", rec.ID)
		}
	}
}

func TestConcurrentCommitsAreCombined(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	release := make(chan struct{})
	l.change(func() { l.before = func() error { <-release; return nil } })
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() { require.NoError(t, commitOne(t.Context(), m, started(t, fmt.Sprint("w", i)))) })
	}
	eventually(t, func() bool {
		m.sender.mu.Lock()
		defer m.sender.mu.Unlock()
		n := len(m.sender.queue)
		for _, f := range m.sender.flights {
			n += len(f.calls)
		}
		return n == 200
	}, "the rest queues")
	close(release)
	wg.Wait()
	require.LessOrEqual(t, l.appends, 1+l.limits.InFlight+200/l.limits.Events+1)
}

func TestLargeRequestsAreDividedAndKeepTheirOrder(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	l.limits.Events = 7
	m := ready(t, l)
	s := driver.Stamp{Token: driver.NewToken(), Now: time.Now()}
	first := started(t, "a")
	req := driver.CommitRequest{Transitions: []driver.Transition{first}}
	rec := first.Record
	for range 100 {
		s.Token = driver.NewToken()
		cancel, err := driver.Cancel(s, rec, "", time.Time{})
		require.NoError(t, err)
		s.Token = driver.NewToken()
		back, err := driver.Requeue(s, cancel.Record, time.Now())
		require.NoError(t, err)
		req.Transitions = append(req.Transitions, cancel, back)
		rec = back.Record
	}
	resp, err := m.Commit(t.Context(), req)
	require.NoError(t, err)
	for i, v := range resp.Verdicts {
		require.NoError(t, v.Err, i)
		require.True(t, v.Applied)
	}
	got, err := m.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.NoError(t, err)
	require.True(t, driver.Equal(&rec, &got.Records[0]))
}

func TestUnavailableLogIsSaidSoAtOnceAndServesAgainByItself(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	require.NoError(t, commitOne(t.Context(), m, started(t, "a")))
	l.change(func() { l.down = &driver.Error{Class: driver.Unavailable, Detail: "gone"} })
	l.breakOff()
	eventually(t, func() bool {
		return driver.ClassOf(commitOne(t.Context(), m, started(t, "b"))) == driver.Unavailable
	}, "unavailable")
	_, err := m.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.ErrorIs(t, err, driver.Unavailable)
	_, err = m.Probe(t.Context(), driver.ProbeRequest{})
	require.ErrorIs(t, err, driver.Unavailable)
	_, err = m.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	l.change(func() { l.down = nil })
	eventually(t, func() bool { return commitOne(t.Context(), m, started(t, "c")) == nil }, "it serves again")
	got, err := m.Get(t.Context(), driver.GetRequest{IDs: []string{"a", "b", "c"}})
	require.NoError(t, err)
	require.Len(t, got.Records, 2)
}

func TestReplayIsReportedUntilItIsDone(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	for i := range 100 {
		require.NoError(t, commitOne(t.Context(), m, started(t, fmt.Sprint("w", i))))
	}
	l.change(func() { l.blind = true })
	late := open(t, l)
	late.mu.Lock()
	late.state.opened = time.Now().Add(-time.Minute) // its grace is over
	late.mu.Unlock()
	eventually(t, func() bool {
		p, err := late.Probe(t.Context(), driver.ProbeRequest{})
		return err == nil && !p.Healthy() && p.ReplayTotal == int64(l.length()) && p.ReplayDone == 0
	}, "the probe tells the progress")
	_, err := late.Get(t.Context(), driver.GetRequest{IDs: []string{"w1"}})
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorContains(t, err, "replayed 0 of 101 events")
	l.change(func() { l.blind = false })
	require.NoError(t, late.Ready(t.Context()))
	p, err := late.Probe(t.Context(), driver.ProbeRequest{})
	require.NoError(t, err)
	require.True(t, p.Healthy())
	require.EqualValues(t, 100, p.Records)
	require.Zero(t, p.ReplayTotal)
}

func TestReplacedHistoryIsLost(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	for i := range 10 {
		require.NoError(t, commitOne(t.Context(), m, started(t, fmt.Sprint("w", i))))
	}
	resp, err := m.Get(t.Context(), driver.GetRequest{IDs: []string{"w9"}})
	require.NoError(t, err)
	require.Len(t, resp.Records, 1)
	seen := resp.Marks

	// The log goes away and comes back as it was before, with what another host has
	// written to it since.
	l.change(func() { l.down = &driver.Error{Class: driver.Unavailable, Detail: "gone"} })
	l.breakOff()
	restored := newFaultyLog()
	restored.events = l.events[:6:6]
	writer := ready(t, restored)
	for i := range 20 {
		require.NoError(t, commitOne(t.Context(), writer, started(t, fmt.Sprint("x", i))))
	}
	l.change(func() { l.events, l.down = restored.events, nil })
	eventually(t, func() bool {
		_, err := m.Get(t.Context(), driver.GetRequest{Seen: seen, IDs: []string{"w9"}})
		return driver.ClassOf(err) == driver.Lost
	}, "what was seen is lost")
	resp, err = m.Get(t.Context(), driver.GetRequest{IDs: []string{"w9", "w4", "x9"}})
	require.NoError(t, err)
	require.Len(t, resp.Records, 2, "who has seen nothing is served what there is")
	other := ready(t, l)
	_, err = other.Get(t.Context(), driver.GetRequest{Seen: seen, IDs: []string{"w9"}})
	require.ErrorIs(t, err, driver.Lost, "on every connection, though the sequence has grown past what was seen")
}

func TestEmptiedLogIsLost(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	require.NoError(t, commitOne(t.Context(), m, started(t, "a")))
	seen := m.answer().Marks
	l.change(func() { l.events = nil })
	l.breakOff()
	eventually(t, func() bool {
		_, err := m.Get(t.Context(), driver.GetRequest{Seen: seen, IDs: []string{"a"}})
		return driver.ClassOf(err) == driver.Lost
	}, "lost")
	require.NoError(t, commitOne(t.Context(), m, started(t, "a")), "it serves those who trust it")
}

func TestLogThatSomebodyElseTruncatedIsRefused(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	for i := range 10 {
		require.NoError(t, commitOne(t.Context(), m, started(t, fmt.Sprint("w", i))))
	}
	l.change(func() { l.first = 5 })
	late := open(t, l)
	eventually(t, func() bool {
		_, err := late.Get(t.Context(), driver.GetRequest{IDs: []string{"w9"}})
		return err != nil && driver.ClassOf(err) == driver.Unavailable && contains(err, "records are missing")
	}, "it says what is wrong")
}

func TestCloseEndsCallsAndTheyStayEnded(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l)
	l.change(func() { l.blind = true })
	answer := make(chan error, 1)
	tr := started(t, "a")
	go func() { answer <- commitOne(t.Context(), m, tr) }()
	feed := make(chan error, 1)
	go func() {
		feed <- m.Changes(t.Context(), driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
	}()
	eventually(t, func() bool { return l.length() == 2 }, "it was sent")
	require.NoError(t, m.Close(t.Context()))
	require.ErrorIs(t, <-answer, driver.Unknown)
	require.ErrorIs(t, <-feed, driver.Unavailable)
	require.ErrorIs(t, commitOne(t.Context(), m, started(t, "b")), driver.Unavailable)
	require.NoError(t, m.Close(t.Context()))
}
