// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func concurrentCases() []Case {
	const area = "Concurrent"
	const sentence = "Every method may be called from any number of goroutines at once."
	return []Case{
		{Area: area, Name: "ThousandsOfCalls", Sentence: sentence, run: concurrentCalls},
		{Area: area, Name: "WorkersLoseNothing", run: concurrentWorkers,
			Sentence: "One winner per revision and one holder per lease: however many workers there are, each workflow is worked through once."},
	}
}

func concurrentCalls(e *env) {
	conns := e.several(3)
	hot := conns[0].start("hot")
	const calls = 3000
	want := make([]driver.Record, calls)
	now := conns[0].now()
	e.all(calls, func(i int) error {
		c := conns[i%len(conns)]
		id := fmt.Sprint("r", i)
		t, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: now}, driver.Workflow{ID: id, Kind: "bulk", Input: []byte(id)})
		if err != nil {
			return err
		}
		want[i] = t.Record
		switch i % 5 {
		case 0:
			resp, err := c.Merge(e.Context(), driver.MergeRequest{Records: []driver.Record{t.Record}})
			return firstError(resp.Verdicts, err)
		case 1:
			if _, err := c.List(e.Context(), driver.ListRequest{Limit: 3}); err != nil {
				return err
			}
		case 2:
			if resp, err := c.Get(e.Context(), driver.GetRequest{IDs: []string{"hot"}}); err != nil || len(resp.Records) != 1 {
				return fmt.Errorf("get gave %d records: %w", len(resp.Records), err)
			}
		case 3:
			req := c.claimRequest(1, time.Hour, "nothing of this kind")
			if _, err := c.Claim(e.Context(), req); err != nil {
				return err
			}
		}
		resp, err := c.Commit(e.Context(), driver.CommitRequest{Transitions: []driver.Transition{t}})
		return firstError(resp.Verdicts, err)
	})
	conns[0].holds(hot)
	got := make(map[string]driver.Record, calls)
	for _, r := range conns[len(conns)-1].list(driver.ListRequest{Kinds: []string{"bulk"}, Limit: driver.MaxBatch}) {
		got[r.ID] = r
	}
	require.Len(e, got, calls)
	for _, r := range want {
		stored := got[r.ID]
		e.same(&r, &stored)
	}
}

// concurrentWorkers lets workers take workflows through two save points each.
func concurrentWorkers(e *env) {
	conns := e.several(3)
	const workflows = 90
	var starts []driver.Transition
	for _, id := range numbered("r", workflows) {
		starts = append(starts, conns[0].newStart(id))
	}
	conns[0].apply(starts...)
	var mu sync.Mutex
	worked := map[string]int{}
	e.all(8, func(i int) error {
		c := conns[i%len(conns)]
		for {
			got, err := c.Claim(e.Context(), c.claimRequest(4, time.Hour))
			if err != nil || len(got.Records) == 0 {
				return err
			}
			for _, r := range got.Records {
				mu.Lock()
				worked[fmt.Sprint(r.ID, " ", r.Step)]++
				mu.Unlock()
				if err := c.work(r, got.Time); err != nil {
					return err
				}
			}
		}
	})
	require.Len(e, worked, 2*workflows, "each step of each workflow was worked at")
	for step, n := range worked {
		require.Equal(e, 1, n, "how often step %q was worked at", step)
	}
	done := conns[0].list(driver.ListRequest{Statuses: []driver.Status{driver.Succeeded}, Limit: 50})
	require.Len(e, done, workflows)
	for _, r := range done {
		require.Equal(e, uint64(7), r.Revision, "start, claim, save, yield, claim, save and end of %q", r.ID)
	}
}

// work takes a claimed workflow one step on.
func (c *conn) work(r driver.Record, now time.Time) error {
	s := driver.Stamp{Epoch: c.epoch, Token: driver.NewToken(), Now: now, Lease: r.Lease.Token}
	saved, err := driver.Save(s, r, r.Step, []byte("state"), r.Due)
	if err != nil {
		return err
	}
	s.Token = driver.NewToken()
	var next driver.Transition
	if r.Step == "" {
		next, err = driver.Yield(s, saved.Record, "half", []byte("state"), now)
	} else {
		next, err = driver.Succeed(s, saved.Record, []byte("output"), time.Time{})
	}
	if err != nil {
		return err
	}
	resp, err := c.Commit(c.e.Context(), driver.CommitRequest{Guard: c.guard(), Transitions: []driver.Transition{saved, next}})
	if err != nil {
		return err
	}
	if err := resp.Verdicts[0].Err; err != nil {
		return err
	}
	return resp.Verdicts[1].Err
}
