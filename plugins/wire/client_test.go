// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
	"github.com/understudy-dev/understudy/plugins/wire/wiretest"
)

// stub is a store made of functions; those that are not set must not be called.
type stub struct {
	driver.Store

	commit  func(context.Context, driver.CommitRequest) (driver.CommitResponse, error)
	get     func(context.Context, driver.GetRequest) (driver.GetResponse, error)
	changes func(context.Context, driver.ChangesRequest, func(driver.ChangeBatch) error) error
	closes  atomic.Int64
}

func (s *stub) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return s.commit(ctx, req)
}

func (s *stub) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return s.get(ctx, req)
}

func (s *stub) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	return s.changes(ctx, req, emit)
}

func (s *stub) Close(context.Context) error {
	s.closes.Add(1)
	return nil
}

func stubDriver(s driver.Store) driver.Driver {
	return driver.Driver{
		Name:     "stub",
		Open:     func(context.Context, driver.OpenRequest) (driver.Store, error) { return s, nil },
		Validate: func(json.RawMessage) error { return nil },
	}
}

// way puts the wire before a store.
type way func(wiretest.TB, driver.Store) *wire.Client

// eachWay runs a test over gRPC alone and with a lane.
func eachWay(t *testing.T, test func(t *testing.T, through way)) {
	t.Helper()
	for name, through := range map[string]way{"gRPC": wiretest.InMemory, "lane": wiretest.ByLane} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, through)
		})
	}
}

func one(id string) driver.CommitRequest {
	return driver.CommitRequest{Transitions: []driver.Transition{{Record: driver.Record{ID: id}}}}
}

// TestRecordsDoNotShareMemoryThatIsUsedAgain keeps the records of many calls made
// at once, those that either end got, and looks at them when all calls are over.
func TestRecordsDoNotShareMemoryThatIsUsedAgain(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, through way) {
		var mu sync.Mutex
		var kept []driver.Record
		var failures []error
		keep := func(records []driver.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			kept, failures = append(kept, records...), append(failures, err)
		}
		filled := func(id string, n int) driver.Record {
			return driver.Record{ID: id, Input: bytes.Repeat([]byte(id), n)}
		}
		client := through(t, &stub{
			commit: func(_ context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
				for _, tr := range req.Transitions {
					keep([]driver.Record{tr.Record}, nil)
				}
				return driver.CommitResponse{Verdicts: make([]driver.Verdict, len(req.Transitions))}, nil
			},
			get: func(_ context.Context, req driver.GetRequest) (driver.GetResponse, error) {
				var resp driver.GetResponse
				for i, id := range req.IDs {
					resp.Records = append(resp.Records, filled(id, i))
				}
				return resp, nil
			},
		})
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() {
				for call := range 30 {
					var req driver.CommitRequest
					var ids []string
					for i := range 1 + call*7%64 {
						id := fmt.Sprintf("%d-%02d-%02d", caller, call, i)
						ids = append(ids, id)
						req.Transitions = append(req.Transitions, driver.Transition{Record: filled(id, 64)})
					}
					_, err := client.Commit(t.Context(), req)
					keep(nil, err)
					resp, err := client.Get(t.Context(), driver.GetRequest{IDs: ids})
					keep(resp.Records, err)
				}
			})
		}
		callers.Wait()
		require.NoError(t, errors.Join(failures...))
		require.Greater(t, len(kept), 10_000)
		for _, r := range kept {
			require.Regexp(t, `^\d-\d\d-\d\d$`, r.ID)
			require.Empty(t, strings.ReplaceAll(string(r.Input), r.ID, ""), "the input of %s is its own", r.ID)
		}
	})
}

func TestDeadlineIsCarried(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, through way) {
		var want time.Time
		client := through(t, &stub{get: func(ctx context.Context, _ driver.GetRequest) (driver.GetResponse, error) {
			deadline, ok := ctx.Deadline()
			if !ok || deadline.Sub(want).Abs() > 20*time.Second {
				return driver.GetResponse{}, fmt.Errorf("deadline %s, want %s", deadline, want)
			}
			return driver.GetResponse{}, nil
		}})
		want = time.Now().Add(time.Minute)
		ctx, cancel := context.WithDeadline(t.Context(), want)
		defer cancel()
		_, err := client.Get(ctx, driver.GetRequest{IDs: []string{"a"}})
		require.NoError(t, err)
	})
}

func TestContextAlwaysWins(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, through way) {
		reached, told, release := make(chan struct{}, 2), make(chan error, 2), make(chan struct{})
		ignore := func(ctx context.Context) { reached <- struct{}{}; <-ctx.Done(); told <- ctx.Err(); <-release } // too late
		client := through(t, &stub{
			get: func(ctx context.Context, _ driver.GetRequest) (driver.GetResponse, error) {
				ignore(ctx)
				return driver.GetResponse{}, nil
			},
			commit: func(ctx context.Context, _ driver.CommitRequest) (driver.CommitResponse, error) {
				ignore(ctx)
				return driver.CommitResponse{Verdicts: make([]driver.Verdict, 1)}, nil
			},
		})
		defer close(release)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Commit(ctx, one("a"))
		require.ErrorIs(t, err, driver.Unknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-reached
		require.Error(t, <-told, "the store learns of it")

		ctx, cancel = context.WithCancel(t.Context())
		go func() { <-reached; cancel() }()
		_, err = client.Get(ctx, driver.GetRequest{IDs: []string{"a"}})
		require.ErrorIs(t, err, driver.Unavailable)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, <-told, context.Canceled)

		_, err = client.Commit(ctx, one("a"))
		require.ErrorIs(t, err, driver.Unavailable, "a context that is done on entry has no effect")
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestRequestOverTheLimitIsNotSent(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, through way) {
		client := through(t, &stub{get: func(context.Context, driver.GetRequest) (driver.GetResponse, error) {
			return driver.GetResponse{Records: []driver.Record{{ID: "a", Input: make([]byte, wire.MaxMessageBytes)}}}, nil
		}})
		req := one("a")
		req.Transitions[0].Record.Input = make([]byte, wire.MaxMessageBytes)
		_, err := client.Commit(t.Context(), req)
		require.ErrorIs(t, err, driver.TooLarge)
		require.ErrorIs(t, err, wire.ErrNotSent)

		_, err = client.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
		require.ErrorIs(t, err, driver.TooLarge, "nor does an answer over the limit come")
	})
}

func TestOpen(t *testing.T) {
	t.Parallel()
	var opened driver.OpenRequest
	store := &stub{}
	d := stubDriver(store)
	d.Open = func(_ context.Context, req driver.OpenRequest) (driver.Store, error) { opened = req; return store, nil }
	d.Validate = func(config json.RawMessage) error {
		return &driver.Error{Class: driver.Invalid, Detail: string(config)}
	}
	client := wiretest.Connect(t, d)
	require.ErrorContains(t, client.Validate(t.Context(), []byte("{}")), "invalid: {}")
	_, err := client.Commit(t.Context(), one("a"))
	require.ErrorIs(t, err, driver.Unavailable)

	require.NoError(t, client.Open(t.Context(), driver.OpenRequest{Chain: "calls", Link: "first", Config: []byte(`{"a":1}`)}))
	require.NotNil(t, opened.Logger)
	opened.Logger = nil
	require.Equal(t, driver.OpenRequest{Chain: "calls", Link: "first", Config: []byte(`{"a":1}`)}, opened)
	require.ErrorIs(t, client.Open(t.Context(), driver.OpenRequest{}), driver.Unsupported, "one store per process")

	require.NoError(t, client.Close(t.Context()))
	require.NoError(t, client.Close(t.Context()))
	require.Equal(t, int64(1), store.closes.Load())
	_, err = client.Commit(t.Context(), one("a"))
	require.ErrorIs(t, err, driver.Unavailable)
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, through way) {
		client := through(t, &stub{commit: func(_ context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
			stored := req.Transitions[0].Record.Clone()
			return driver.CommitResponse{Verdicts: []driver.Verdict{{Err: &driver.Error{Class: driver.Conflict, Stored: &stored}}}}, nil
		}})
		var wg sync.WaitGroup
		for i := range 2000 {
			wg.Go(func() {
				req := one(fmt.Sprintf("call-%d", i))
				req.Transitions[0].Record.Input = make([]byte, i)
				resp, err := client.Commit(t.Context(), req)
				if err == nil {
					e, _ := errors.AsType[*driver.Error](resp.Verdicts[0].Err)
					if e == nil || !driver.Equal(e.Stored, &req.Transitions[0].Record) {
						err = errors.New("the answer to another call")
					}
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestChanges(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	client := wiretest.InMemory(t, &stub{changes: func(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
		if req.Cursor == "gone" {
			return &driver.Error{Class: driver.CursorLost, Detail: "begin anew"}
		}
		for n := 0; ; n++ {
			if err := emit(driver.ChangeBatch{Cursor: fmt.Sprint(n)}); err != nil {
				<-ctx.Done() // The send may fail a moment before the context ends.
				ended <- ctx.Err()
				return err
			}
		}
	}})
	enough := errors.New("enough")
	var cursors []string
	err := client.Changes(t.Context(), driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
		if cursors = append(cursors, b.Cursor); len(cursors) == 3 {
			return enough
		}
		return nil
	})
	require.Equal(t, enough, err, "as it is")
	require.Equal(t, []string{"0", "1", "2"}, cursors)
	require.ErrorIs(t, <-ended, context.Canceled)

	err = client.Changes(t.Context(), driver.ChangesRequest{Cursor: "gone"}, nil)
	require.ErrorIs(t, err, driver.CursorLost)
	require.ErrorContains(t, err, "begin anew")

	ctx, cancel := context.WithCancel(t.Context())
	err = client.Changes(ctx, driver.ChangesRequest{}, func(driver.ChangeBatch) error { cancel(); return nil })
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, <-ended, context.Canceled)
}

// early is a context whose end the other side sees before this one does, as when
// two timers of the same deadline go off one after the other.
type early struct {
	context.Context
	deadline time.Time
}

func (e early) Deadline() (time.Time, bool) { return e.deadline, true }

func TestChangesToldToEndByTheOtherTimer(t *testing.T) {
	t.Parallel()
	client := wiretest.InMemory(t, &stub{changes: func(ctx context.Context, _ driver.ChangesRequest, _ func(driver.ChangeBatch) error) error {
		<-ctx.Done()
		return driver.ContextError(ctx, false)
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := client.Changes(early{ctx, time.Now().Add(20 * time.Millisecond)}, driver.ChangesRequest{}, nil)
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, ctx.Err())
}

// A consumer that does not read holds the store back.
func TestSlowConsumerOfChanges(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	var emitted atomic.Int64
	client := wiretest.InMemory(t, &stub{changes: func(ctx context.Context, _ driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
		for {
			r := &driver.Record{ID: "a", Input: make([]byte, size)}
			if err := emit(driver.ChangeBatch{Changes: []driver.Change{{ID: "a", Record: r}}}); err != nil {
				return err
			}
			if emitted.Add(1) > 1000 {
				return driver.ContextError(ctx, false)
			}
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := client.Changes(ctx, driver.ChangesRequest{}, func(driver.ChangeBatch) error {
		// It stops of itself: wait until nothing moves any more.
		for last := int64(-1); emitted.Load() != last; {
			last = emitted.Load()
			<-time.After(100 * time.Millisecond)
		}
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, emitted.Load(), int64(64), "16 MiB on the way")
}
