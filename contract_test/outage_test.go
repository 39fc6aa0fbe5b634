// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"errors"
	"sync"
	"time"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// gate stands between stores and their product.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // until it is opened; nil: it is open
}

func (g *gate) freeze(contracttest.T, string) (thaw func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	closed := make(chan struct{})
	g.closed = closed
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.closed = nil
		close(closed)
	}
}

func (g *gate) state() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// through returns f as it is with the gate before it: what is on its way when the
// gate closes arrives when it opens.
func through[Q, R any](g *gate, life context.Context, mutation bool, f func(context.Context, Q) (R, error)) func(context.Context, driver.Store, Q) (R, error) { //nolint:revive // life is that of the connection
	return func(ctx context.Context, _ driver.Store, req Q) (R, error) {
		closed := g.state()
		if closed == nil || ctx.Err() != nil {
			return f(ctx, req)
		}
		var none R
		select {
		case <-closed:
			return f(ctx, req)
		case <-life.Done():
			return none, driver.Unavailable
		case <-ctx.Done():
		}
		if mutation {
			go func() {
				<-closed
				_, _ = f(context.WithoutCancel(ctx), req)
			}()
		}
		return none, driver.ContextError(ctx, mutation)
	}
}

// gated returns s behind g.
func gated(s driver.Store, g *gate) driver.Store {
	life, end := context.WithCancel(context.Background())
	epoch := through(g, life, false, s.Epoch)
	return &broken{
		Store:   s,
		commit:  through(g, life, true, s.Commit),
		claim:   through(g, life, true, s.Claim),
		get:     through(g, life, false, s.Get),
		list:    through(g, life, false, s.List),
		merge:   through(g, life, true, s.Merge),
		advance: through(g, life, true, s.Advance),
		probe:   through(g, life, false, s.Probe),
		epoch: func(ctx context.Context, s driver.Store) (driver.EpochResponse, error) {
			return epoch(ctx, s, driver.EpochRequest{})
		},
		close: func(ctx context.Context, s driver.Store) error {
			end()
			return s.Close(ctx)
		},
	}
}

// freezable puts a gate before the stores of h, below what wrap does.
func freezable(h contracttest.Harness, wrap func(driver.Store) driver.Store) contracttest.Harness {
	var gates table[string, *gate]
	open := h.Open
	h.Open = func(t contracttest.T, name string) (driver.Store, error) {
		s, err := open(t, name)
		g, ok := gates.load(name)
		if !ok {
			g = &gate{}
			gates.store(name, g)
		}
		return wrap(gated(s, g)), err
	}
	h.Freeze = func(t contracttest.T, name string) func() {
		g, _ := gates.load(name)
		return g.freeze(t, name)
	}
	return h
}

// frozen makes a mutant of stores that can be frozen.
func frozen(wrap func(driver.Store) driver.Store) func(*contracttest.Harness, *models) {
	return func(h *contracttest.Harness, _ *models) { *h = freezable(*h, wrap) }
}

var outageMutants = []mutant{
	{name: "has a time limit of its own", area: "Outage", spoil: frozen(with(broken{
		list: func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return s.List(own, req)
		}}))},
	{name: "calls a missing answer unavailable", area: "Outage", spoil: frozen(onCommit(
		func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if errors.Is(err, driver.Unknown) {
				err = driver.Unavailable
			}
			return resp, err
		}))},
	{name: "calls an unanswered read unknown", area: "Outage", spoil: frozen(with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			if errors.Is(err, driver.Unavailable) {
				err = driver.Unknown
			}
			return resp, err
		}}))},
	{name: "acknowledges before the product does", area: "Outage", spoil: frozen(onCommit(
		func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
			resp, err := s.Commit(ctx, req)
			if errors.Is(err, driver.Unknown) {
				return driver.CommitResponse{Verdicts: []driver.Verdict{{Applied: true}}}, nil
			}
			return resp, err
		}))},
	{name: "stays down", area: "Outage", spoil: frozen(func(s driver.Store) driver.Store {
		var down table[string, bool]
		return with(broken{get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			if is, _ := down.load(""); is {
				return driver.GetResponse{}, driver.Unavailable
			}
			resp, err := s.Get(ctx, req)
			down.store("", err != nil)
			return resp, err
		}})(s)
	})},
	{name: "asks the product to describe itself", area: "Outage", spoil: frozen(with(broken{
		describe: func(ctx context.Context, s driver.Store) (driver.DescribeResponse, error) {
			if _, err := s.Epoch(ctx, driver.EpochRequest{}); err != nil {
				return driver.DescribeResponse{}, err
			}
			return s.Describe(ctx, driver.DescribeRequest{})
		}}))},
	{name: "waits for the product to close", area: "Outage", spoil: frozen(with(broken{
		close: func(ctx context.Context, s driver.Store) error {
			own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_, _ = s.Epoch(own, driver.EpochRequest{})
			return s.Close(ctx)
		}}))},
	{name: "waits for the product to end a feed", area: "Outage", spoil: frozen(onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			err := s.Changes(ctx, req, emit)
			own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_, _ = s.Epoch(own, driver.EpochRequest{})
			return err
		}))},
}
