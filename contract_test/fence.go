// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func fenceCases() []Case {
	const area = "Fence"
	const lower = "From the moment Advance returns, every mutation that carries a lower number is Fenced, on every connection."
	const handover = "Handover stops all writers: a store in this state refuses Commit and Claim with Fenced, and takes Merge."
	const higher = "Epoch.Admit: a higher number means that the caller knows of a decision the store has missed: Lost."
	return []Case{
		{Area: area, Name: "StopsCommits", Sentence: lower, run: func(e *env) { fenceLower(e, (*conn).tryCommit) }},
		{Area: area, Name: "StopsClaims", Sentence: lower, run: func(e *env) { fenceLower(e, (*conn).tryClaim) }},
		{Area: area, Name: "StopsMerges", Sentence: lower, run: func(e *env) { fenceLower(e, (*conn).tryMerge) }},
		{Area: area, Name: "StopsRepeats", Sentence: lower, run: fenceRepeats},
		{Area: area, Name: "IsExact", run: fenceExact,
			Sentence: "No mutation of a lower number is applied after Advance returns."},
		{Area: area, Name: "HandoverStopsCommits", Sentence: handover, run: func(e *env) { fenceHandover(e, (*conn).tryCommit) }},
		{Area: area, Name: "HandoverStopsClaims", Sentence: handover, run: func(e *env) { fenceHandover(e, (*conn).tryClaim) }},
		{Area: area, Name: "HandoverTakesMerges", Sentence: handover, run: fenceHandoverMerge},
		{Area: area, Name: "HandoverEnds", run: fenceHandoverEnds,
			Sentence: "Serving is the normal state: the active link takes commits and claims."},
		{Area: area, Name: "MissedEpochIsLostToCommits", Sentence: higher, run: func(e *env) { fenceHigher(e, (*conn).tryCommit) }},
		{Area: area, Name: "MissedEpochIsLostToClaims", Sentence: higher, run: func(e *env) { fenceHigher(e, (*conn).tryClaim) }},
		{Area: area, Name: "VersionsFenceNobody", run: fenceVersions,
			Sentence: "Version counts the changes of the record within one number, which fence nobody."},
		{Area: area, Name: "LetsReadersPass", run: fenceReaders,
			Sentence: "Number is the fence: a store refuses mutations that carry a lower one: reads carry none."},
	}
}

// The try methods make one mutation in the given epoch, and say whether it had an
// effect.

func (c *conn) tryCommit(epoch uint64) (effect func() bool, err error) {
	c.e.Helper()
	at := *c
	at.epoch = epoch
	t := at.newStart("new-" + driver.NewToken().String())
	resp, err := c.Commit(c.e.Context(), driver.CommitRequest{Guard: at.guard(), Transitions: []driver.Transition{t}})
	if err == nil {
		err = resp.Verdicts[0].Err
	}
	return func() bool { return c.get(t.Record.ID) != nil }, err
}

func (c *conn) tryMerge(epoch uint64) (effect func() bool, err error) {
	c.e.Helper()
	at := *c
	at.epoch = epoch
	r := at.newStart("new-" + driver.NewToken().String()).Record
	resp, err := c.Merge(c.e.Context(), driver.MergeRequest{Guard: at.guard(), Records: []driver.Record{r}})
	if err == nil {
		err = resp.Verdicts[0].Err
	}
	return func() bool { return c.get(r.ID) != nil }, err
}

// tryClaim expects that a record called due is claimable.
func (c *conn) tryClaim(epoch uint64) (effect func() bool, err error) {
	c.e.Helper()
	req := c.claimRequest(1, time.Hour)
	req.Epoch = epoch
	resp, err := c.Claim(c.e.Context(), req)
	if err == nil && len(resp.Records) == 0 {
		err = fmt.Errorf("the record that is due was not claimed")
	}
	return func() bool { return c.get("due").Lease.Token == req.Token }, err
}

type try func(*conn, uint64) (func() bool, error)

// fenced checks that the mutation is refused with the epoch that stands, and has
// no effect.
func (e *env) fenced(c *conn, mutate try, epoch uint64, held driver.Epoch) {
	e.Helper()
	effect, err := mutate(c, epoch)
	e.refused(err, driver.Fenced)
	carried := e.carried(err).Epoch
	require.NotNil(e, carried, "the error carries the epoch")
	require.True(e, held.Equal(*carried), "the error carries %s, want %s", carried, held)
	require.False(e, effect(), "what was fenced had an effect")
}

func fenceLower(e *env, mutate try) {
	conns := e.several(3)
	c := conns[0]
	c.start("due")
	held := c.advance(1, driver.Serving)
	for _, on := range conns {
		e.fenced(on, mutate, 0, held)
	}
	held = c.advance(5, driver.Serving)
	for _, on := range conns {
		for _, epoch := range []uint64{0, 1, 4} {
			e.fenced(on, mutate, epoch, held)
		}
	}
	effect, err := mutate(conns[len(conns)-1], 5)
	require.NoError(e, err, "the present epoch is not fenced")
	require.True(e, effect())
}

func fenceRepeats(e *env) {
	c := e.open()
	c.advance(1, driver.Serving)
	t := c.newStart("a")
	c.apply(t)
	r := c.get("a")
	c.advance(2, driver.Serving)
	_, err := c.Commit(e.Context(), driver.CommitRequest{Guard: driver.Guard{Epoch: 1}, Transitions: []driver.Transition{t}})
	e.refused(err, driver.Fenced)
	_, err = c.Merge(e.Context(), driver.MergeRequest{Guard: driver.Guard{Epoch: 1}, Records: []driver.Record{*r}})
	e.refused(err, driver.Fenced)
	c.holds(*r)
}

// fenceExact advances while commits of the old epoch are on their way.
func fenceExact(e *env) {
	conns := e.several(3)
	for round := range uint64(6) {
		var writers sync.WaitGroup
		var sent atomic.Int64
		for i, c := range conns {
			writers.Go(func() {
				defer guard(e.T, "a writer")
				for n := range 300 { // more than are on their way when the fence comes
					id := fmt.Sprintf("round-%d-%d-%d", round, i, n)
					if done := writeOld(e.Context(), c, round, id); done {
						return
					}
					sent.Add(1)
				}
			})
		}
		e.eventually("the writers write", func() error {
			if n := sent.Load(); n < 20 {
				return fmt.Errorf("%d commits", n)
			}
			return nil
		})
		next := driver.Epoch{Number: round + 1, Token: driver.NewToken(), Active: "a"}
		was := conns[0].epochNow()
		require.NoError(e, conns[0].tryAdvance(was.At(), next))
		before := len(conns[0].list(driver.ListRequest{Limit: driver.MaxBatch}))
		writers.Wait()
		after := len(conns[0].list(driver.ListRequest{Limit: driver.MaxBatch}))
		require.Equal(e, before, after, "records after all writers were stopped, against those when Advance had returned")
	}
}

// writeOld commits a start in the epoch, and reports whether that was refused.
func writeOld(ctx context.Context, c *conn, epoch uint64, id string) bool {
	now := time.Now()
	t, err := driver.Start(driver.Stamp{Epoch: epoch, Token: driver.NewToken(), Now: now}, driver.Workflow{ID: id, Kind: kind})
	if err != nil {
		return true
	}
	_, err = c.Commit(ctx, driver.CommitRequest{Guard: driver.Guard{Epoch: epoch}, Transitions: []driver.Transition{t}})
	return err != nil
}

func fenceHandover(e *env, mutate try) {
	conns := e.several(2)
	c := conns[0]
	c.start("due")
	c.advance(1, driver.Serving)
	held := c.advance(2, driver.Handover)
	for _, on := range conns {
		e.fenced(on, mutate, 2, held)
		e.fenced(on, mutate, 1, held)
	}
}

func fenceHandoverMerge(e *env) {
	c := e.open()
	held := c.advance(2, driver.Handover)
	effect, err := c.tryMerge(2)
	require.NoError(e, err)
	require.True(e, effect())
	effect, err = c.tryMerge(3)
	require.NoError(e, err, "replication may run ahead of the store's epoch")
	require.True(e, effect())
	e.fenced(c, (*conn).tryMerge, 1, held)
}

func fenceHandoverEnds(e *env) {
	c := e.open()
	c.start("due")
	c.advance(2, driver.Handover)
	c.advance(3, driver.Serving)
	for _, mutate := range []try{(*conn).tryCommit, (*conn).tryClaim, (*conn).tryMerge} {
		effect, err := mutate(e.share(c), 3)
		require.NoError(e, err)
		require.True(e, effect())
	}
}

func fenceHigher(e *env, mutate try) {
	c := e.open()
	c.start("due")
	for _, stands := range []uint64{0, 4} {
		if stands > 0 {
			c.advance(stands, driver.Serving)
		}
		effect, err := mutate(c, stands+1)
		e.refused(err, driver.Lost)
		require.False(e, effect(), "what was refused had an effect")
	}
}

func fenceVersions(e *env) {
	c := e.open()
	c.start("due")
	c.advance(2, driver.Serving)
	for range 3 {
		c.advance(2, driver.Serving)
	}
	for _, mutate := range []try{(*conn).tryCommit, (*conn).tryClaim, (*conn).tryMerge} {
		effect, err := mutate(c, 2)
		require.NoError(e, err)
		require.True(e, effect())
	}
}

func fenceReaders(e *env) {
	c := e.open()
	r := c.start("a")
	for _, state := range []driver.EpochState{driver.Serving, driver.Handover} {
		c.advance(c.epoch+1, state)
		c.everyRead(r)
	}
}

// everyRead checks that r, the one record, is seen by every way of reading.
func (c *conn) everyRead(r driver.Record) {
	c.e.Helper()
	c.holds(r)
	require.Equal(c.e, []string{r.ID}, ids(c.list(driver.ListRequest{Limit: 10})))
	_, err := c.Probe(c.e.Context(), driver.ProbeRequest{})
	require.NoError(c.e, err, "probe")
	if c.e.h.Has(driver.CapChanges) {
		c.present()
	}
}
