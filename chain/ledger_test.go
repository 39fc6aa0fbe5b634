// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// ledger is what callers and handlers were told, to be held against what the
// stores hold in the end.
type ledger struct {
	mu      sync.Mutex
	started map[string]bool    // acknowledged
	steps   map[string]int     // acknowledged save points
	holders map[string]*holder // the last one of each
	faults  []string
}

// holder is a handler that has begun on a workflow.
type holder struct {
	since  time.Time
	record driver.Record // as it was then
	over   <-chan struct{}
	ended  atomic.Bool
}

func (h *holder) holds() bool {
	if h == nil || h.ended.Load() {
		return false
	}
	select {
	case <-h.over:
		return false
	default:
		return true
	}
}

func (h *holder) String() string {
	r := h.record
	return fmt.Sprintf("since %s attempt %d, revision %d.%d, lease %.4s of %s until %s", h.since.Format("04:05.000000"),
		r.Attempt, r.Epoch, r.Revision, r.Lease.Token, r.Lease.Owner, r.Due.Format("04:05.000000"))
}

func newLedger() *ledger {
	return &ledger{started: map[string]bool{}, steps: map[string]int{}, holders: map[string]*holder{}}
}

func (l *ledger) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

const ledgerSteps = 3

// handler goes through the steps of a workflow and keeps the books: it begins at
// a save point that is no older than the last one acknowledged, and no two
// handlers hold a workflow at once.
func (l *ledger) handler(step func(ctx context.Context)) chain.Handler {
	return func(ctx context.Context, h *chain.Handle) ([]byte, error) {
		done, _ := strconv.Atoi(h.Step()) // empty: 0
		l.mu.Lock()
		if !l.started[h.ID()] && h.Step() == "" {
			// Its caller may still wait for the answer.
			l.started[h.ID()] = false
		}
		if done < l.steps[h.ID()] {
			l.fault("%s: begins at save point %d after %d was acknowledged", h.ID(), done, l.steps[h.ID()])
		}
		own := &holder{since: time.Now(), record: h.Record(), over: ctx.Done()}
		if other := l.holders[h.ID()]; other.holds() {
			l.fault("%s: held by two handlers: %s, and %s", h.ID(), other, own)
		}
		defer own.ended.Store(true)
		l.holders[h.ID()] = own
		l.mu.Unlock()
		for n := done + 1; n <= ledgerSteps; n++ {
			step(ctx)
			if err := h.Save(ctx, strconv.Itoa(n), []byte(h.ID())); err != nil {
				return nil, err
			}
			l.mu.Lock()
			l.steps[h.ID()] = max(l.steps[h.ID()], n)
			l.mu.Unlock()
		}
		return []byte("out of " + h.ID()), nil
	}
}

// start starts a workflow until that is acknowledged.
func (l *ledger) start(ctx context.Context, c *chain.Chain, id string) error {
	if _, err := c.Start(ctx, chain.Workflow{ID: id, Kind: "call", Input: []byte(id)}); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started[id] = true
	return nil
}

// finished counts the workflows of a chain that have ended.
func finished(t *testing.T, c *chain.Chain) int {
	t.Helper()
	n := 0
	f := chain.Filter{Statuses: []driver.Status{driver.Succeeded, driver.Failed, driver.Cancelled}}
	for {
		page, err := c.List(t.Context(), f)
		require.NoError(t, err)
		n += len(page.Records)
		if f.Cursor = page.Next; f.Cursor == "" {
			return n
		}
	}
}

// balance checks that every workflow acknowledged has ended well, once, with all
// its steps.
func (l *ledger) balance(t *testing.T, c *chain.Chain, want int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.faults)
	acknowledged := 0
	for id, yes := range l.started {
		if !yes {
			continue
		}
		acknowledged++
		r, err := c.Get(t.Context(), id)
		require.NoError(t, err, "lost: %s", id)
		require.Equal(t, driver.Succeeded, r.Status, "%s", id)
		require.Equal(t, "out of "+id, string(r.Output))
		require.Equal(t, strconv.Itoa(ledgerSteps), r.Step)
	}
	require.Equal(t, want, acknowledged)
}
