// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// branching is a store that begins a new incarnation when it restarts, as Redis
// does, and finds in a call what was seen of a former one.
type branching struct {
	driver.Store
	restarts atomic.Uint64
	former   sync.Map // by incarnation: that of the model below
}

// seen translates what a call says into what the model knows.
func (b *branching) seen(marks driver.Marks) driver.Marks {
	out := make(driver.Marks, len(marks))
	for i, m := range marks {
		if of, ok := b.former.Load(m.Incarnation); ok {
			m.Incarnation = of.(uint64) //nolint:errcheck // it holds nothing else
		}
		out[i] = m
	}
	return out
}

// told translates an answer.
func (b *branching) told(r *driver.Receipt) {
	marks := slices.Clone(r.Marks)
	for i, m := range marks {
		marks[i].Incarnation += b.restarts.Load()
		b.former.Store(marks[i].Incarnation, m.Incarnation)
	}
	r.Marks = marks
}

func (b *branching) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	req.Seen = b.seen(req.Seen)
	resp, err := b.Store.Commit(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

func (b *branching) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	req.Seen = b.seen(req.Seen)
	resp, err := b.Store.Merge(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

func (b *branching) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	req.Seen = b.seen(req.Seen)
	resp, err := b.Store.Claim(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

func (b *branching) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	req.Seen = b.seen(req.Seen)
	resp, err := b.Store.Get(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

func (b *branching) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	req.Seen = b.seen(req.Seen)
	resp, err := b.Store.List(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

func (b *branching) Epoch(ctx context.Context, req driver.EpochRequest) (driver.EpochResponse, error) {
	resp, err := b.Store.Epoch(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

func (b *branching) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	req.Seen = b.seen(req.Seen)
	resp, err := b.Store.Advance(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

func (b *branching) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	req.Seen = b.seen(req.Seen)
	resp, err := b.Store.Probe(ctx, req)
	b.told(&resp.Receipt)
	return resp, err
}

// TestRestartWithAllData: a store that restarts begins a new incarnation. Where it
// misses nothing, no link is lost and nobody fails over.
func TestRestartWithAllData(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]int{"Active": 0, "Standby": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, links := openBranching(t)
				b.start(t, "before")
				sleep(5 * time.Second)
				for n := range 3 {
					links[link].restarts.Add(1)
					sleep(time.Duration(n) * 3 * time.Second) // a status check comes first, or a call
					b.start(t, string(rune('a'+n)))
				}
				sleep(10 * time.Second)
				for _, l := range b.Status().Links {
					require.Nil(t, l.Lost, l.Name)
				}
				require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync)
				require.Equal(t, uint64(2), b.stores[0].epoch(t).Number)
			})
		})
	}
}

// TestLossAfterARestart: what was seen of the last incarnation still counts.
func TestLossAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, links := openBranching(t)
		b.start(t, "before")
		links[0].restarts.Add(1)
		b.start(t, "after")
		b.stores[0].model.Erase()
		links[0].restarts.Add(1)
		_, err := b.Get(t.Context(), "after")
		require.NoError(t, err)
		require.Equal(t, "b", b.stores[1].epoch(t).Active)
	})
}

func openBranching(t *testing.T) (*bench, []*branching) {
	t.Helper()
	stores, branches := make([]*faulty, 2), make([]*branching, 2)
	for i := range stores {
		m := contracttest.NewModel(nil)
		branches[i] = &branching{Store: m.Connect()}
		stores[i] = &faulty{Store: branches[i], model: m, calls: map[string]int{}}
	}
	config := configOf(stores...)
	config.Policy.Failback = chain.FailbackManual
	b := open(t, config)
	b.inStep(t, 0, "b")
	return b, branches
}
