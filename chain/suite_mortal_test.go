// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// mortal is a product that can be killed, with or without its data, and comes
// back. Its calls take time, of which the random numbers are.
type mortal struct {
	model *contracttest.Model

	mu     sync.Mutex
	random *rand.Rand
	latest time.Duration   // a call takes up to twice this
	life   context.Context // done when it is killed
	kill   context.CancelFunc
}

func newMortal(seed uint64, latest time.Duration) *mortal {
	m := &mortal{model: contracttest.NewModel(nil), random: rand.New(rand.NewPCG(seed, 0)), latest: latest}
	m.revive()
	return m
}

func (m *mortal) revive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life, m.kill = context.WithCancel(context.Background())
}

func (m *mortal) die(erase bool) {
	m.mu.Lock()
	m.kill()
	m.mu.Unlock()
	if erase {
		m.model.Erase()
	}
}

func (m *mortal) expendable() bool { return true }

// epoch tells also that of the dead.
func (m *mortal) epoch(ctx context.Context) driver.Epoch {
	resp, _ := m.model.Connect().Epoch(ctx, driver.EpochRequest{}) // of memory: it fails only if ctx is done
	return resp.Epoch
}

func (m *mortal) alive() context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// wait lets a part of the time of a call pass, and returns false if ctx or the
// life ends meanwhile.
func (m *mortal) wait(ctx, life context.Context) bool {
	m.mu.Lock()
	d := time.Duration(m.random.Int64N(int64(m.latest)))
	m.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil && life.Err() == nil
	case <-ctx.Done():
	case <-life.Done():
	}
	return false
}

func (m *mortal) connect() driver.Store { return &mortalConn{m.model.Connect(), m} }

type mortalConn struct {
	driver.Store
	product *mortal
}

// lively makes a call take its time on the way there and back.
func lively[Q, R any](ctx context.Context, m *mortal, mutation bool, call func(context.Context, Q) (R, error), req Q) (R, error) {
	var none R
	life := m.alive()
	if !m.wait(ctx, life) {
		return none, ended(ctx, false)
	}
	resp, err := call(ctx, req)
	if !m.wait(ctx, life) {
		return none, ended(ctx, mutation && err == nil)
	}
	return resp, err
}

func ended(ctx context.Context, mayHaveEffect bool) error {
	switch {
	case ctx.Err() != nil:
		return driver.ContextError(ctx, mayHaveEffect)
	case mayHaveEffect:
		return &driver.Error{Class: driver.Unknown, Detail: "the store has died"}
	}
	return &driver.Error{Class: driver.Unavailable, Detail: "the store is dead"}
}

func (c *mortalConn) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return lively(ctx, c.product, true, c.Store.Commit, req)
}

func (c *mortalConn) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	return lively(ctx, c.product, true, c.Store.Claim, req)
}

func (c *mortalConn) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	return lively(ctx, c.product, true, c.Store.Merge, req)
}

func (c *mortalConn) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return lively(ctx, c.product, false, c.Store.Get, req)
}

func (c *mortalConn) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	return lively(ctx, c.product, false, c.Store.List, req)
}

func (c *mortalConn) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	return lively(ctx, c.product, false, c.Store.Epoch, req)
}

func (c *mortalConn) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	return lively(ctx, c.product, true, c.Store.Advance, req)
}

func (c *mortalConn) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	return lively(ctx, c.product, false, c.Store.Probe, req)
}

func (c *mortalConn) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	life := c.product.alive()
	if !c.product.wait(ctx, life) {
		return ended(ctx, false)
	}
	under, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	err := c.Store.Changes(under, req, emit)
	if err != nil && ctx.Err() == nil && life.Err() != nil {
		return ended(ctx, false)
	}
	return err
}
