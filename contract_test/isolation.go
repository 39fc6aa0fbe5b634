// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func isolationCases() []Case {
	const chain, durable = "Chain", "Durable"
	needs := []driver.Capability{driver.CapDurable}
	return []Case{
		{Area: chain, Name: "SharesNoRecords", run: chainRecords,
			Sentence: "Stores of different chains share nothing."},
		{Area: chain, Name: "SharesNoEpoch", run: chainEpoch,
			Sentence: "Each store keeps one epoch record for the chain; stores of different chains share nothing."},
		{Area: durable, Name: "SurvivesAClose", run: durableClose, Needs: needs,
			Sentence: "Close lets go of everything the store holds. Records stay."},
		{Area: durable, Name: "SurvivesAKill", run: durableKill, Needs: needs,
			Sentence: "CapDurable: what was acknowledged is still there after the driver's process has been killed and opened again."},
		{Area: durable, Name: "SurvivesAKillAmidWrites", run: durableAmid, Needs: needs,
			Sentence: "CapDurable: what was acknowledged is still there, each transition as a whole."},
	}
}

func chainRecords(e *env) {
	one, two := e.open(), e.openChain(newChain())
	first := one.startOf(driver.Workflow{ID: "a", Kind: kind, Input: []byte("one")})
	two.lacks("a")
	require.Empty(e, two.list(driver.ListRequest{Limit: 10}))
	require.Empty(e, two.claim(two.claimRequest(10, time.Hour)).Records)

	two.startOf(driver.Workflow{ID: "a", Kind: kind, Input: []byte("two")})
	second := two.claimOne(time.Hour)
	require.Equal(e, []byte("two"), second.Input)
	one.holds(first)
	require.Equal(e, []byte("one"), one.claimOne(time.Hour).Input)
	two.holds(second)
}

func chainEpoch(e *env) {
	one, two := e.open(), e.openChain(newChain())
	held := one.advance(7, driver.Handover)
	two.stands(driver.Epoch{})
	two.start("a")
	other := two.advance(1, driver.Serving)
	one.stands(held)
	two.stands(other)
	two.start("b")
	if e.h.Has(driver.CapChanges) {
		f := one.follow(driver.ChangesRequest{})
		two.start("c")
		marker := one.complete("marker")
		one.merge(marker)
		f.awaitAll([]driver.Record{marker})
		require.Len(e, f.changes(), 1, "changes of the other chain do not come")
	}
}

// past is what a store has acknowledged before it went away.
type past struct {
	records []driver.Record
	epoch   driver.Epoch
	seen    driver.Marks
	cursor  string
	last    driver.Record
	claim   driver.ClaimRequest
	repeat  driver.Transition
}

func (c *conn) livePast() past {
	c.e.Helper()
	var p past
	p.epoch = c.advance(4, driver.Serving)
	c.start("claimed")
	p.claim = c.claimRequest(1, time.Hour)
	require.Len(c.e, c.claim(p.claim).Records, 1)
	for _, r := range []driver.Record{c.complete("open"), c.finished("ended")} {
		c.merge(r)
		p.records = append(p.records, r)
	}
	for _, t := range c.life("done") {
		p.repeat = t
		c.apply(t)
	}
	p.records = append(p.records, p.repeat.Record, *c.get("claimed"))
	if c.e.h.Has(driver.CapChanges) {
		p.cursor = c.present()
	}
	p.last = c.start("last")
	p.records = append(p.records, p.last)
	p.seen = c.allMarks()
	return p
}

// remembers checks that c, a new connection, knows all of p.
func (c *conn) remembers(p past) {
	c.e.Helper()
	c.epoch = p.epoch.Number
	c.stands(p.epoch)
	for _, r := range p.records {
		c.everywhere(r)
	}
	require.Len(c.e, c.list(driver.ListRequest{Limit: 100}), len(p.records))
	_, err := c.Get(c.e.Context(), driver.GetRequest{Seen: p.seen, IDs: []string{"last"}})
	require.NoError(c.e, err, "get with what was seen before")
	c.repeated(p.repeat, p.repeat.Record)
	require.Equal(c.e, []string{"claimed"}, ids(c.claim(p.claim).Records), "a repeat of the claim")
	_, err = c.Commit(c.e.Context(), driver.CommitRequest{Guard: driver.Guard{Epoch: 3}})
	c.e.refused(err, driver.Fenced)
	if c.e.h.Has(driver.CapChanges) {
		f := c.follow(driver.ChangesRequest{Cursor: p.cursor})
		f.awaitAll([]driver.Record{p.last})
		require.Len(c.e, f.changes(), 1, "what follows the cursor from before")
	}
	require.Equal(c.e, []string{"last"}, ids(c.claim(c.claimRequest(5, time.Hour)).Records), "work goes on")
}

func durableClose(e *env) {
	c := e.open()
	p := c.livePast()
	c.close()
	e.open().remembers(p)
}

func durableKill(e *env) {
	c := e.open()
	p := c.livePast()
	e.kill(c)
	e.open().remembers(p)
}

// durableAmid kills the store while several write.
func durableAmid(e *env) {
	c := e.open()
	now := c.now()
	acknowledged := make([][]driver.Record, 4)
	sent := make(chan struct{}, 1000)
	e.all(len(acknowledged)+1, func(i int) error {
		if i == len(acknowledged) {
			for range 50 {
				select {
				case <-sent:
				case <-e.Context().Done():
					return e.Context().Err()
				}
			}
			e.kill(c)
			return nil
		}
		for n := range cap(sent) {
			id := fmt.Sprintf("w%d-%d", i, n)
			t, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: now}, driver.Workflow{ID: id, Kind: kind, Input: make([]byte, 4000)})
			if err != nil {
				return err
			}
			ctx, cancel := e.brief(e.h.timeout() / 8)
			resp, err := c.Commit(ctx, driver.CommitRequest{Transitions: []driver.Transition{t}})
			cancel()
			if firstError(resp.Verdicts, err) != nil {
				return nil // the store is gone
			}
			acknowledged[i] = append(acknowledged[i], t.Record)
			select {
			case sent <- struct{}{}:
			default:
			}
		}
		return nil
	})
	again := e.open()
	for _, records := range acknowledged {
		for _, r := range records {
			again.holds(r)
		}
	}
}
