// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func contextCases() []Case {
	const area = "Context"
	const onEntry = "A ctx that is done on entry has no effect on the store; the error wraps ctx's and is Unavailable."
	return []Case{
		{Area: area, Name: "CancelledOnEntryHasNoEffect", Sentence: onEntry, run: contextCancelled},
		{Area: area, Name: "ExpiredOnEntryHasNoEffect", Sentence: onEntry, run: contextExpired},
		{Area: area, Name: "EndsEachCall", run: contextEnds,
			Sentence: "Every method returns within 100 ms after its ctx is done."},
		{Area: area, Name: "EndsCallsWithAnHonestOutcome", run: contextHonest,
			Sentence: "Tell the outcome apart: done, certainly not done, or Unknown. Any class but Unknown means that the call had no effect."},
		{Area: area, Name: "LeavesAnUnknownOutcomeRepeatable", run: contextRepeat,
			Sentence: "A token is what makes a repeat of an unknown outcome harmless: a store recognises the token and answers as it did the first time."},
		{Area: area, Name: "MayHaveNoDeadline", run: contextNone,
			Sentence: "No retry, no back-off, no time limit of its own: a call needs no deadline."},
	}
}

// methodCall is a call of one method that would have an effect if it can have one.
type methodCall struct {
	name string
	call func(ctx context.Context) error
}

// everyMethod returns a call of each method but Close and Changes; verdicts count
// as errors. The records that could come to be have the given prefix.
func (c *conn) everyMethod(prefix string) []methodCall {
	c.e.Helper()
	guard := c.guard()
	t := c.newStart(prefix + "-committed")
	r := c.newStart(prefix + "-merged").Record
	held := c.epochNow()
	next := driver.Epoch{Number: held.Number, Version: held.Version + 1, Token: driver.NewToken(), Active: "a"}
	if next.Number == 0 {
		next.Number, next.Version = 1, 0
	}
	claim := c.claimRequest(1, time.Hour)
	methods := []methodCall{
		{"describe", func(ctx context.Context) error { _, err := c.Describe(ctx, driver.DescribeRequest{}); return err }},
		{"commit", func(ctx context.Context) error {
			resp, err := c.Commit(ctx, driver.CommitRequest{Guard: guard, Transitions: []driver.Transition{t}})
			return firstError(resp.Verdicts, err)
		}},
		{"merge", func(ctx context.Context) error {
			resp, err := c.Merge(ctx, driver.MergeRequest{Guard: guard, Records: []driver.Record{r}})
			return firstError(resp.Verdicts, err)
		}},
		{"claim", func(ctx context.Context) error { _, err := c.Claim(ctx, claim); return err }},
		{"get", func(ctx context.Context) error {
			_, err := c.Get(ctx, driver.GetRequest{IDs: []string{"due"}})
			return err
		}},
		{"list", func(ctx context.Context) error { _, err := c.List(ctx, driver.ListRequest{Limit: 1}); return err }},
		{"epoch", func(ctx context.Context) error { _, err := c.Epoch(ctx, driver.EpochRequest{}); return err }},
		{"probe", func(ctx context.Context) error { _, err := c.Probe(ctx, driver.ProbeRequest{}); return err }},
		{"advance", func(ctx context.Context) error {
			_, err := c.Advance(ctx, driver.AdvanceRequest{Expect: held.At(), Next: next})
			return err
		}},
	}
	if c.e.h.Chain {
		methods = slices.DeleteFunc(methods, func(m methodCall) bool { return slices.Contains([]string{"merge", "probe", "advance"}, m.name) })
	}
	return methods
}

func firstError(verdicts []driver.Verdict, err error) error {
	if err != nil {
		return err
	}
	if len(verdicts) == 0 {
		return fmt.Errorf("no verdict")
	}
	return verdicts[0].Err
}

func contextCancelled(e *env) {
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	doneOnEntry(e, ctx)
}

func contextExpired(e *env) {
	ctx, cancel := context.WithDeadline(e.Context(), time.Now().Add(-time.Second))
	defer cancel()
	doneOnEntry(e, ctx)
}

func doneOnEntry(e *env, done context.Context) { //nolint:revive // the context is the subject, not that of the call
	c := e.open()
	due, epoch := c.start("due"), c.epochNow()
	calls := c.everyMethod("new")
	if e.h.Has(driver.CapChanges) {
		calls = append(calls, methodCall{"changes", func(ctx context.Context) error {
			return c.Changes(ctx, driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
		}})
	}
	for _, m := range calls {
		began := time.Now()
		err := m.call(done)
		require.Less(e, time.Since(began), e.promptly(began), "%s with a context that is done", m.name)
		require.Error(e, err, "%s with a context that is done", m.name)
		require.ErrorIs(e, err, done.Err(), m.name)
		require.Equal(e, driver.Unavailable, driver.ClassOf(err), "%s: %v", m.name, err)
	}
	c.holds(due)
	c.lacks("new-committed")
	c.lacks("new-merged")
	c.stands(epoch)
}

func contextEnds(e *env) {
	c := e.open()
	c.start("due")
	unsettled := false
	for i, limit := range []time.Duration{50 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 40 * time.Millisecond} {
		for _, m := range c.everyMethod(fmt.Sprint("r", i)) {
			ctx, cancel := e.brief(limit)
			err := m.call(ctx)
			late, allowed := time.Since(deadlineOf(ctx)), e.promptly(deadlineOf(ctx))
			cancel()
			require.Less(e, late, allowed, "%s returned this long after its context was done", m.name)
			// What ended as Unknown may take effect later, and be in the way of the next.
			overtaken := unsettled && slices.Contains([]driver.Class{driver.Conflict, driver.Fenced}, driver.ClassOf(err))
			if err != nil && !overtaken {
				require.ErrorIs(e, err, context.DeadlineExceeded, m.name)
				require.Contains(e, []driver.Class{driver.Unavailable, driver.Unknown}, driver.ClassOf(err), "%s: %v", m.name, err)
			}
			unsettled = unsettled || driver.ClassOf(err) == driver.Unknown
			c.epoch = c.epochNow().Number
		}
	}
}

func deadlineOf(ctx context.Context) time.Time {
	deadline, _ := ctx.Deadline()
	return deadline
}

// contextHonest lets contexts end at every moment of a call, and looks at the
// effects when all calls are over.
func contextHonest(e *env) {
	c := e.open()
	began := time.Now()
	for i := range 5 {
		c.start(fmt.Sprint("warm-", i))
	}
	typical := time.Since(began) / 10 // of one call: each start makes two
	const rounds = 150
	outcomes := map[string]driver.Class{}
	for i := range rounds {
		t := c.newStart(fmt.Sprint("commit-", i))
		r := c.newStart(fmt.Sprint("merge-", i)).Record
		limit := typical * time.Duration(i) * 3 / rounds
		ctx, cancel := e.brief(limit)
		resp, err := c.Commit(ctx, driver.CommitRequest{Guard: c.guard(), Transitions: []driver.Transition{t}})
		cancel()
		outcomes[t.Record.ID] = driver.ClassOf(firstError(resp.Verdicts, err))
		if e.h.Chain {
			continue // it has no merge
		}
		ctx, cancel = e.brief(limit)
		merged, err := c.Merge(ctx, driver.MergeRequest{Guard: c.guard(), Records: []driver.Record{r}})
		cancel()
		outcomes[r.ID] = driver.ClassOf(firstError(merged.Verdicts, err))
	}
	counts := map[driver.Class]int{}
	for id, class := range outcomes {
		counts[class]++
		switch class {
		case 0:
			require.NotNil(e, c.get(id), "%q was acknowledged", id)
		case driver.Unavailable:
			require.Nil(e, c.get(id), "%q was certainly not done, says its error", id)
		case driver.Unknown:
		default:
			require.Fail(e, "an interrupted call is Unavailable or Unknown", "%q: %s", id, class)
		}
	}
	e.Logf("outcomes: %v", counts)
}

func contextRepeat(e *env) {
	c := e.open()
	for i := range 60 {
		t := c.newStart(fmt.Sprint("r", i))
		limit := time.Duration(i) * 20 * time.Microsecond
		ctx, cancel := e.brief(limit)
		_, _ = c.Commit(ctx, driver.CommitRequest{Guard: c.guard(), Transitions: []driver.Transition{t}})
		cancel()
		require.NoError(e, c.verdict(t).Err, "the repeat after an interrupted call")
		c.holds(t.Record)

		req := c.claimRequest(1, time.Hour)
		ctx, cancel = e.brief(limit)
		_, _ = c.Claim(ctx, req)
		cancel()
		got := c.claim(req).Records
		require.Equal(e, []string{t.Record.ID}, ids(got), "the repeat gives what the interrupted claim may have leased")
		require.Equal(e, uint64(2), got[0].Revision, "it was leased once")
	}
}

func contextNone(e *env) {
	c := e.open()
	ctx := context.WithoutCancel(e.Context())
	for _, m := range c.everyMethod("r") {
		require.NoError(e, m.call(ctx), m.name)
	}
}
