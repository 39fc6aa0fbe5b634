// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-dev/understudy/chain"
	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// faulty is the reference store with faults on demand.
type faulty struct {
	driver.Store
	model *contracttest.Model

	mu     sync.Mutex
	calls  map[string]int
	before func(ctx context.Context, op string) error // an error: not done
	after  func(op string) error                      // an error: done, but the answer is lost
	about  func(*driver.DescribeResponse)
	silent error // of Describe, unless nil
	commit func(driver.CommitRequest) error
	report func(*driver.ProbeResponse)
	class  driver.Class // of all verdicts, unless 0
}

func newFaulty(now func() time.Time) *faulty {
	m := contracttest.NewModel(now)
	return &faulty{Store: m.Connect(), model: m, calls: map[string]int{}}
}

// another is a second connection to the same data, without faults.
func (f *faulty) another() *faulty {
	return &faulty{Store: f.model.Connect(), model: f.model, calls: map[string]int{}}
}

// fail makes the calls named in ops (none: all) answer err and do nothing; nil ends that.
func (f *faulty) fail(err error, ops ...string) {
	f.hook(func(_ context.Context, op string) error {
		if err == nil || len(ops) > 0 && !slices.Contains(ops, op) {
			return nil
		}
		return err
	})
}

// freeze makes all calls wait until their context is done.
func (f *faulty) freeze() {
	f.hook(func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return driver.ContextError(ctx, true)
	})
}

func (f *faulty) hook(before func(ctx context.Context, op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

// loseAnswers makes the named calls be done, and answer Unknown n times.
func (f *faulty) loseAnswers(n int, ops ...string) {
	var lost atomic.Int64
	f.answers(func(op string) error {
		if !slices.Contains(ops, op) || lost.Add(1) > int64(n) {
			return nil
		}
		return driver.Unknown
	})
}

// answers makes the answer to each call that was done go through after.
func (f *faulty) answers(after func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = after
}

// commits makes each commit ask first; an error is the answer.
func (f *faulty) commits(ask func(driver.CommitRequest) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit = ask
}

// verdicts makes every record of every commit be refused with the class.
func (f *faulty) verdicts(class driver.Class) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.class = class
}

func (f *faulty) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func through[Q, R any](ctx context.Context, f *faulty, op string, call func(context.Context, Q) (R, error), req Q) (R, error) {
	f.mu.Lock()
	f.calls[op]++
	before, after := f.before, f.after
	f.mu.Unlock()
	var none R
	if before != nil {
		if err := before(ctx, op); err != nil {
			return none, err
		}
	}
	resp, err := call(ctx, req)
	if after != nil && err == nil {
		if err := after(op); err != nil {
			return none, err
		}
	}
	return resp, err
}

func (f *faulty) Describe(ctx context.Context, req driver.DescribeRequest) (driver.DescribeResponse, error) {
	resp, err := f.Store.Describe(ctx, req)
	f.mu.Lock()
	about, silent := f.about, f.silent
	f.mu.Unlock()
	if about != nil {
		about(&resp)
	}
	if silent != nil {
		return driver.DescribeResponse{}, silent
	}
	return resp, err
}

// describes makes Describe answer err, or what about makes of the answer.
func (f *faulty) describes(err error, about func(*driver.DescribeResponse)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent, f.about = err, about
}

func (f *faulty) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return through(ctx, f, "commit", func(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
		f.mu.Lock()
		ask, class := f.commit, f.class
		f.mu.Unlock()
		if ask != nil {
			if err := ask(req); err != nil {
				return driver.CommitResponse{}, err
			}
		}
		if class != 0 {
			verdicts := make([]driver.Verdict, len(req.Transitions))
			for i := range verdicts {
				verdicts[i].Err = class
			}
			return driver.CommitResponse{Verdicts: verdicts}, nil
		}
		return f.Store.Commit(ctx, req)
	}, req)
}

func (f *faulty) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	return through(ctx, f, "claim", f.Store.Claim, req)
}

func (f *faulty) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return through(ctx, f, "get", f.Store.Get, req)
}

func (f *faulty) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	return through(ctx, f, "list", f.Store.List, req)
}

func (f *faulty) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	return through(ctx, f, "merge", f.Store.Merge, req)
}

func (f *faulty) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	return through(ctx, f, "epoch", f.Store.Epoch, req)
}

func (f *faulty) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return through(ctx, f, "advance", f.Store.Advance, req)
}

func (f *faulty) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	resp, err := through(ctx, f, "probe", f.Store.Probe, req)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.report != nil && err == nil {
		f.report(&resp)
	}
	return resp, err
}

// reports makes each probe go through report; nil ends that.
func (f *faulty) reports(report func(*driver.ProbeResponse)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report = report
}

// changes has what is needed of a second method set only: a feed that a fault cuts off.
func (f *faulty) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	_, err := through(ctx, f, "changes", func(ctx context.Context, req driver.ChangesRequest) (struct{}, error) {
		return struct{}{}, f.Store.Changes(ctx, req, emit)
	}, req)
	return err
}

// bench is an opened chain over faulty stores a, b, … in this order.
type bench struct {
	*chain.Chain
	stores []*faulty
	logs   *observer.ObservedLogs
	seen   *events
}

type events struct {
	mu  sync.Mutex
	all []chain.Event
}

func (e *events) add(event chain.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// eventsOf returns the events of one type, so far.
func eventsOf[E chain.Event](b *bench) []E {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	var out []E
	for _, event := range b.seen.all {
		if e, ok := event.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// The numbers of the epochs of a chain of several links: when it is opened for
// the first time, and after a failover.
const (
	firstEpoch uint64 = 2
	movedEpoch uint64 = 4
)

var linkNames = []string{"a", "b", "c", "d"}

func configOf(stores ...*faulty) chain.Config {
	config := chain.Config{Name: "test"}
	for i, s := range stores {
		config.Links = append(config.Links, chain.Link{Name: linkNames[i], Store: s})
	}
	return config
}

// open opens a chain over the stores and closes it at the end of the test.
func open(t *testing.T, config chain.Config, options ...chain.Option) *bench {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	b := &bench{logs: logs, seen: &events{}}
	for _, l := range config.Links {
		b.stores = append(b.stores, l.Store.(*faulty)) //nolint:errcheck // all links of tests are
	}
	var err error
	options = append(options, chain.WithLogger(zap.New(core)), chain.WithEvents(b.seen.add))
	b.Chain, err = chain.Open(t.Context(), config, options...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		require.NoError(t, b.Close(ctx))
	})
	return b
}

// openN opens a chain over n new stores.
func openN(t *testing.T, n int) *bench {
	t.Helper()
	stores := make([]*faulty, n)
	for i := range stores {
		stores[i] = newFaulty(nil)
	}
	return open(t, configOf(stores...))
}

func (b *bench) start(t *testing.T, id string) driver.Record {
	t.Helper()
	r, err := b.Start(t.Context(), chain.Workflow{ID: id, Kind: "call", Input: []byte("input of " + id)})
	require.NoError(t, err)
	return r
}

// startAsync is start without waiting for its end.
func (b *bench) startAsync(t *testing.T, id string, done chan<- driver.Record) {
	t.Helper()
	go func() {
		r, err := b.Start(t.Context(), chain.Workflow{ID: id, Kind: "call", Input: []byte("input of " + id)})
		if err != nil {
			t.Errorf("start %s: %v", id, err)
		}
		done <- r
	}()
}

// held returns the record as the store itself holds it; nil if it does not.
func (f *faulty) held(t *testing.T, id string) *driver.Record {
	t.Helper()
	resp, err := f.Store.Get(t.Context(), driver.GetRequest{IDs: []string{id}})
	require.NoError(t, err)
	if len(resp.Records) == 0 {
		return nil
	}
	return &resp.Records[0]
}

func (f *faulty) epoch(t *testing.T) driver.Epoch {
	t.Helper()
	resp, err := f.Store.Epoch(t.Context(), driver.EpochRequest{})
	require.NoError(t, err)
	return resp.Epoch
}

// eventually waits for a condition, on the clock of a bubble or the real one.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			require.FailNow(t, "never came: "+what)
		}
	}
}

// dump logs what the chain has logged, if the test has failed.
func (b *bench) dump(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for _, l := range b.logs.All() {
		t.Log(l.Time.Format("05.000000"), l.Message, l.ContextMap())
	}
}

var errTest = errors.New("test")
