// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// history is what the callers on several hosts have asked of a few workflows, and
// what came back.
type history struct {
	t       *testing.T
	began   time.Time
	timeout time.Duration // of a part of the calls; 0: of none

	mu    sync.Mutex
	calls map[string][]porcupine.Operation // by workflow
}

const linearWorkflows = 3

// caller is one of those who call at once.
type caller struct {
	h      *history
	number int
	host   *chain.Chain
	r      *rand.Rand
	held   map[string]grip
}

// grip is a workflow in the hands of a caller.
type grip struct {
	handle *chain.Handle
	lease  driver.Token
}

func (h *history) run(seed uint64, hosts []*chain.Chain, callsEach int) {
	var all sync.WaitGroup
	for i := range 2 * len(hosts) {
		c := &caller{h: h, number: i, host: hosts[i%len(hosts)], r: rand.New(rand.NewPCG(seed, uint64(i))), held: map[string]grip{}}
		all.Go(func() {
			for range callsEach {
				c.call(fmt.Sprint("w", c.r.IntN(linearWorkflows)))
				time.Sleep(time.Duration(c.r.Int64N(int64(2 * time.Millisecond)))) //nolint:forbidigo // the clock of the bubble
			}
		})
	}
	all.Wait()
}

// call makes a call that makes sense, mostly, and notes it.
func (c *caller) call(id string) {
	ctx, cancel := context.WithCancel(c.h.t.Context())
	if c.h.timeout > 0 && c.r.IntN(20) == 0 {
		ctx, cancel = context.WithTimeout(c.h.t.Context(), time.Duration(c.r.Int64N(int64(c.h.timeout))))
	}
	defer cancel()
	in := asked{op: "get"}
	held, holds := c.held[id]
	switch n := c.r.IntN(10); {
	case holds && n < 5:
		in = asked{"save", fmt.Sprint("step-", c.r.IntN(1000)), held.lease}
	case holds && n < 6:
		in = asked{op: "succeed", lease: held.lease}
	case holds && n < 7:
		in = asked{op: "fail", lease: held.lease}
	case n < 3:
		in.op = "take"
	case n < 5:
		in.op = "start"
	case n < 6:
		in.op = "cancel"
	case n < 7:
		in.op = "requeue"
	}
	called := time.Since(c.h.began)
	out := c.do(ctx, id, held.handle, in)
	c.h.note(id, porcupine.Operation{ClientId: c.number, Input: in, Call: int64(called), Output: out, Return: int64(time.Since(c.h.began))})
}

func (c *caller) do(ctx context.Context, id string, handle *chain.Handle, in asked) answered {
	var r driver.Record
	var err error
	switch in.op {
	case "get":
		r, err = c.host.Get(ctx, id)
	case "start":
		r, err = c.host.Start(ctx, chain.Workflow{ID: id, Kind: id, Due: c.h.began.Add(-time.Hour)})
	case "cancel":
		r, err = c.host.Cancel(ctx, id, "test")
	case "requeue":
		r, err = c.host.Requeue(ctx, id)
	case "take":
		var taken *chain.Handle
		if taken, err = c.host.Take(ctx, id, time.Hour); taken != nil {
			r = taken.Record()
			c.held[id] = grip{taken, r.Lease.Token}
		}
	case "save":
		err = handle.Save(ctx, in.step, nil)
		r = handle.Record()
	case "succeed":
		err = handle.Succeed(ctx, nil)
		r = handle.Record()
	case "fail":
		err = handle.Fail(ctx)
		r = handle.Record()
	}
	out := answered{class: driver.ClassOf(err)}
	if err == nil {
		out.seen = stateOf(&r)
	}
	if out.class == driver.LeaseLost {
		delete(c.held, id)
	}
	return out
}

func (h *history) note(id string, op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls[id] = append(h.calls[id], op)
}

// disturb says what the death of the active link may do to the calls of a
// workflow that were under way. Each mutation may have taken effect once more: its
// first attempt may have been done, and overtaken by the time of the second, whose
// answer is the one that came. And until then others may have seen what the first
// attempt did, which nobody acknowledged and the link has taken with it.
func (h *history) disturb(killed []time.Time) {
	for id, calls := range h.calls {
		for _, at := range killed {
			at, begun := int64(at.Sub(h.began)), int64(math.MaxInt64)
			for _, c := range calls {
				if in, ok := c.Input.(asked); ok && in.op != "get" && c.Call <= at && at <= c.Return {
					begun = min(begun, c.Call)
					c.ClientId += 100
					c.Output = answered{class: driver.Unknown, first: true}
					h.calls[id] = append(h.calls[id], c)
				}
			}
			h.calls[id] = slices.DeleteFunc(h.calls[id], func(c porcupine.Operation) bool {
				return c.Return >= begun && c.Call <= at && onlySees(c)
			})
		}
	}
}

// onlySees reports whether the call has changed nothing and tells what it saw.
func onlySees(c porcupine.Operation) bool {
	in, isAsked := c.Input.(asked)
	out, isAnswered := c.Output.(answered)
	return isAsked && isAnswered && out.class != driver.Unknown && (in.op == "get" || out.seen == life{})
}

// end ends the history: what is unknown by now may take effect at any later time.
func (h *history) end() {
	end := int64(time.Since(h.began))
	for _, calls := range h.calls {
		for i := range calls {
			if out, ok := calls[i].Output.(answered); ok && out.class == driver.Unknown && !out.first {
				calls[i].Return = end + 1
			}
		}
	}
}

// patience is how long the check looks for an order of the calls of one workflow.
// With many unknown outcomes that can take as good as for ever, and all memory.
const patience = 20 * time.Second

var errUndecided = errors.New("no order was found in time, nor that there is none")

// check looks for an order of the calls of each workflow that explains all answers.
// It takes the time of the machine, and so is not made in a bubble.
func (h *history) check() error {
	var undecided error
	for id, calls := range h.calls {
		switch result, info := porcupine.CheckOperationsVerbose(lifeModel(), calls, patience); result {
		case porcupine.Ok:
		case porcupine.Unknown:
			undecided = errUndecided
		default:
			return fmt.Errorf("no order of the calls explains the answers of %q:\n%s", id, unexplained(calls, info))
		}
	}
	return undecided
}

// unexplained lists the calls, with a mark before those that the longest order
// explains which could be found.
func unexplained(calls []porcupine.Operation, info porcupine.LinearizationInfo) string {
	explained := map[string]bool{}
	model := lifeModel()
	describe := func(c porcupine.Operation) string {
		return fmt.Sprintf("%12s to %12s, caller %d: %s", time.Duration(c.Call), time.Duration(c.Return), c.ClientId, model.DescribeOperation(c.Input, c.Output))
	}
	var longest []porcupine.Operation
	for _, part := range info.PartialLinearizationsOperations() {
		for _, order := range part {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	for _, c := range longest {
		explained[describe(c)] = true
	}
	slices.SortFunc(calls, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	for _, c := range calls {
		mark := "?"
		if explained[describe(c)] {
			mark = " "
		}
		fmt.Fprintln(&text, mark, describe(c))
	}
	return text.String()
}

// linear lets callers on three hosts call while the active link of two dies again
// and again, and returns their history.
func linear(t *testing.T, seed uint64, s *suited) *history {
	t.Helper()
	s.chains = map[string]*suitedChain{}
	data := s.of(t, fmt.Sprint("linear-", seed))
	var hosts []*chain.Chain
	for range 3 {
		host, err := data.open(t)
		require.NoError(t, err)
		hosts = append(hosts, host)
	}
	h := &history{t: t, began: time.Now(), calls: map[string][]porcupine.Operation{}}
	if s.erases { // else the link may bring back what nobody acknowledged, and the chain decides about that anew
		h.timeout = 8 * time.Millisecond
	}
	h.run(seed, hosts, 60)
	for _, host := range hosts {
		require.NoError(t, host.Close(t.Context()))
	}
	h.disturb(data.deaths())
	h.end()
	return h
}

// The calls on a workflow take effect one after the other, each between its begin
// and its end, over failovers and failbacks, and with outcomes that nobody knows.
func TestLinear(t *testing.T) {
	t.Parallel()
	const seeds = 20
	var undecided atomic.Int64
	t.Cleanup(func() { require.Less(t, undecided.Load(), int64(seeds/4), "histories that could not be decided") })
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("Seed", seed), func(t *testing.T) {
			t.Parallel()
			s := &suited{links: 2, killing: true, erases: seed%2 == 0, latest: time.Millisecond}
			var h *history
			synctest.Test(t, func(t *testing.T) { h = linear(t, seed, s) })
			t.Logf("%d kills, %d of them with the data", s.kills.Load(), s.erased.Load())
			require.Positive(t, s.kills.Load())
			err := h.check()
			if errors.Is(err, errUndecided) {
				t.Log(err)
				undecided.Add(1)
				return
			}
			require.NoError(t, err)
		})
	}
}

// TestLinearFinds: the check of the histories finds stores that break what it is
// for.
func TestLinearFinds(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func() func(driver.Store) driver.Store{
		"StaleReads": staleReads,
		"LostWrites": lostWrites,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Now and then nobody looks where a store has lied.
			var err error
			for seed := uint64(1); err == nil && seed <= 5; seed++ {
				var h *history
				synctest.Test(t, func(t *testing.T) { h = linear(t, seed, &suited{links: 2, latest: time.Millisecond, wrap: wrap()}) })
				err = h.check()
			}
			require.ErrorContains(t, err, "no order of the calls explains the answers")
		})
	}
}

// staleReads returns what makes some reads give a record as it was before the one
// that was last read.
func staleReads() func(driver.Store) driver.Store {
	d := &deceit{records: map[string]driver.Record{}}
	return func(s driver.Store) driver.Store { return &staleReader{s, d} }
}

// deceit is shared by the connections to all links.
type deceit struct {
	mu      sync.Mutex
	calls   int
	records map[string]driver.Record
	tokens  map[driver.Token]bool
}

// turn reports whether it is time to deceive.
func (d *deceit) turn() bool {
	d.calls++
	return d.calls%3 == 0
}

type staleReader struct {
	driver.Store
	deceit *deceit
}

func (s *staleReader) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	resp, err := s.Store.Get(ctx, req)
	s.deceit.mu.Lock()
	defer s.deceit.mu.Unlock()
	for i, r := range resp.Records {
		if old, ok := s.deceit.records[r.ID]; ok && old.Revision < r.Revision && s.deceit.turn() {
			resp.Records[i] = old
		}
		s.deceit.records[r.ID] = r
	}
	return resp, err
}

// lostWrites returns what makes some save points be acknowledged by all links and
// done by none.
func lostWrites() func(driver.Store) driver.Store {
	d := &deceit{tokens: map[driver.Token]bool{}}
	return func(s driver.Store) driver.Store { return &writeLoser{s, d} }
}

type writeLoser struct {
	driver.Store
	deceit *deceit
}

func (s *writeLoser) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	s.deceit.mu.Lock()
	lost := len(req.Transitions) == 1 && req.Transitions[0].Record.Status == driver.Leased && s.deceit.turn()
	if lost {
		s.deceit.tokens[req.Transitions[0].Record.Token] = true
	}
	s.deceit.mu.Unlock()
	if lost {
		return driver.CommitResponse{Verdicts: []driver.Verdict{{Applied: true}}}, nil
	}
	return s.Store.Commit(ctx, req)
}

func (s *writeLoser) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	s.deceit.mu.Lock()
	lost := slices.ContainsFunc(req.Records, func(r driver.Record) bool { return s.deceit.tokens[r.Token] })
	s.deceit.mu.Unlock()
	if lost {
		verdicts := make([]driver.Verdict, len(req.Records))
		for i := range verdicts {
			verdicts[i].Applied = true
		}
		return driver.MergeResponse{Verdicts: verdicts}, nil
	}
	return s.Store.Merge(ctx, req)
}
