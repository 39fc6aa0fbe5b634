// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/journal"
	"github.com/understudy-dev/understudy/internal/pace"
)

// patience is how long tests wait for what has to happen.
const patience = time.Minute

// calm are the settings for tests in which the server is only busy.
func calm(addresses ...string) settings { return patient(settings{"hosts": addresses}) }

// patient lets a server take its time, on a machine that many tests share.
func patient(s settings) settings {
	s["connect_timeout"], s["response_timeout"], s["call_timeout"] = "5s", "10s", "30s"
	return s
}

// store is an open store as a test uses it.
type store struct {
	*journal.Machine
	t     testing.TB
	hasty bool // it takes a server that is only busy for dead
	watch *pace.Watch
}

// open opens a store on the chain "calls".
func open(t testing.TB, s settings, change ...func(*eventstore.Options)) store {
	t.Helper()
	config, err := eventstore.ParseConfig(s.json(t))
	require.NoError(t, err)
	o := eventstore.Options{Config: config, Chain: "calls"}
	for _, c := range change {
		c(&o)
	}
	m, err := eventstore.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		require.NoError(t, m.Close(ctx))
	})
	watch := pace.Start()
	t.Cleanup(watch.Stop)
	return store{m, t, s["response_timeout"] == hasty, watch}
}

// within makes a call that has to succeed; a store that is hasty may need some more.
func (s store) within(d time.Duration, call func(context.Context) error) error {
	for end := time.Now().Add(d); ; {
		ctx, cancel := context.WithDeadline(s.t.Context(), end)
		err := call(ctx)
		cancel()
		class := driver.ClassOf(err)
		if !s.hasty || class != driver.Unavailable && class != driver.Unknown || time.Now().After(end) {
			return err
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // a poll
	}
}

// ready waits until the store serves.
func (s store) ready() store {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	require.NoError(s.t, s.Ready(ctx))
	return s
}

func newStart(t testing.TB, id string, input []byte) driver.Transition {
	t.Helper()
	tr, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: time.Now()}, driver.Workflow{ID: id, Kind: "call", Input: input})
	require.NoError(t, err)
	return tr
}

// commit commits one transition and returns the error of the call or the verdict.
func (s store) commit(ctx context.Context, tr driver.Transition) error {
	resp, err := s.Commit(ctx, driver.CommitRequest{Transitions: []driver.Transition{tr}})
	if err != nil {
		return err
	}
	return resp.Verdicts[0].Err
}

// put starts a workflow.
func (s store) put(id string) driver.Record {
	s.t.Helper()
	tr := newStart(s.t, id, []byte(`{"of":"`+id+`"}`))
	require.NoError(s.t, s.within(patience, func(ctx context.Context) error { return s.commit(ctx, tr) }))
	return tr.Record
}

// get returns the record, nil if there is none.
func (s store) get(id string) *driver.Record {
	s.t.Helper()
	var r *driver.Record
	require.NoError(s.t, s.within(patience, func(ctx context.Context) (err error) {
		r, err = s.find(ctx, id)
		return err
	}))
	return r
}

// find is get while the server may be out of reach.
func (s store) find(ctx context.Context, id string) (*driver.Record, error) {
	resp, err := s.Get(ctx, driver.GetRequest{IDs: []string{id}})
	if err != nil || len(resp.Records) == 0 {
		return nil, err
	}
	return &resp.Records[0], nil
}

// getAll returns those of the records that there are, by id.
func (s store) getAll(ids []string) map[string]driver.Record {
	s.t.Helper()
	found := map[string]driver.Record{}
	for some := range slices.Chunk(ids, driver.MaxBatch) {
		require.NoError(s.t, s.within(patience, func(ctx context.Context) error {
			resp, err := s.Get(ctx, driver.GetRequest{IDs: some})
			for _, r := range resp.Records {
				found[r.ID] = r
			}
			return err
		}))
	}
	return found
}

// try reads once, within the time.
func (s store) try(d time.Duration) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	_, err := s.Get(ctx, driver.GetRequest{IDs: []string{"any"}})
	return err
}

func (s store) probe() driver.ProbeResponse {
	s.t.Helper()
	var resp driver.ProbeResponse
	require.NoError(s.t, s.within(patience, func(ctx context.Context) (err error) {
		resp, err = s.Probe(ctx, driver.ProbeRequest{})
		return err
	}))
	return resp
}

// eventually waits until the condition gives nil.
func eventually(t testing.TB, within time.Duration, condition func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // a poll
		if err = condition(); err == nil {
			return
		}
	}
	require.NoError(t, err, "waited %s", within)
}

// answers holds what callers of a store have been told.
type answers struct {
	mu       sync.Mutex
	accepted []driver.Record // acknowledged
	unknown  []driver.Transition
	refused  []driver.Transition // certainly not done
	late     []error             // calls that outlived their context; see late
}

// callers let n callers start workflows, one after the other each, with the time
// limit for each call, until ctx is done. Wait for the result before looking at
// the answers.
func (s store) callers(ctx context.Context, n int, limit time.Duration, name string) (*answers, *sync.WaitGroup) {
	a := &answers{}
	wg := &sync.WaitGroup{}
	for caller := range n {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				a.note(s.one(ctx, limit, fmt.Sprintf("%s-%d-%d", name, caller, i)))
			}
		})
	}
	return a, wg
}

// tardy is how long a call may outlive its context on a machine that keeps up. The
// contract says 100 ms, which the suite checks; a call that is not bounded by its
// context takes seconds.
const tardy = 500 * time.Millisecond

// late returns by how much a call that began then, with that time limit, and has just
// returned has outlived its context; 0 if that may be the machine's doing.
func (s store) late(began time.Time, limit time.Duration) time.Duration {
	over := time.Since(began) - limit
	if over <= tardy+s.watch.Slack(began.Add(limit)) {
		return 0
	}
	return over
}

// one makes a call and tells by how much it was late.
func (s store) one(parent context.Context, limit time.Duration, id string) (driver.Transition, time.Duration, error) {
	tr := newStart(s.t, id, []byte("input"))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), limit)
	defer cancel()
	began := time.Now()
	err := s.commit(ctx, tr)
	over := s.late(began, limit)
	if err != nil {
		// A caller that is refused at once does not ask again at once.
		select {
		case <-parent.Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
	return tr, over, err
}

func (a *answers) note(tr driver.Transition, over time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if over > 0 {
		a.late = append(a.late, fmt.Errorf("%s late: %w", over, errors.Join(err, errors.New(tr.Record.ID))))
	}
	switch driver.ClassOf(err) {
	case 0:
		a.accepted = append(a.accepted, tr.Record)
	case driver.Unknown:
		a.unknown = append(a.unknown, tr)
	default:
		a.refused = append(a.refused, tr)
	}
}

func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.accepted)
}

// settle checks that nothing acknowledged is lost, that nothing refused is there,
// and that what is unknown can be repeated.
func (a *answers) settle(s store) {
	s.t.Helper()
	require.Empty(s.t, a.late)
	var accepted, refused []string
	for _, r := range a.accepted {
		accepted = append(accepted, r.ID)
	}
	for _, tr := range a.refused {
		refused = append(refused, tr.Record.ID)
	}
	got := s.getAll(accepted)
	for _, r := range a.accepted {
		have, ok := got[r.ID]
		require.True(s.t, ok, "acknowledged: %s", r.ID)
		require.True(s.t, driver.Equal(&r, &have))
	}
	require.Empty(s.t, s.getAll(refused), "refused as certainly not done")
	for _, tr := range a.unknown {
		eventually(s.t, patience, func() error { // a busy machine may take a server for dead
			ctx, cancel := context.WithTimeout(s.t.Context(), patience)
			defer cancel()
			err := s.commit(ctx, tr)
			if class := driver.ClassOf(err); class != driver.Unknown && class != driver.Unavailable {
				require.NoError(s.t, err, "a repeat of an unknown outcome: %s", tr.Record.ID)
			}
			return err
		})
	}
}

// sees reads as somebody who has seen the marks.
func (s store) sees(seen driver.Marks) error {
	return s.within(patience, func(ctx context.Context) error {
		_, err := s.Get(ctx, driver.GetRequest{Seen: seen, IDs: []string{"any"}})
		return err
	})
}

// isLost tells a caller that has seen the marks to be told that they are lost.
func (s store) isLost(seen driver.Marks) error {
	err := s.sees(seen)
	if driver.ClassOf(err) != driver.Lost {
		return fmt.Errorf("want lost, got %w", errors.Join(errors.New("an answer"), err))
	}
	return nil
}

func containsAny(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}
