// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

const kind = "call"

// conn is one connection as a case uses it. Its methods make a request that is
// expected to succeed, in the epoch the conn stands in; for others the case calls
// the Store itself.
type conn struct {
	driver.Store
	e     *env
	chain string
	epoch uint64
}

func (c *conn) guard() driver.Guard { return driver.Guard{Epoch: c.epoch} }

// now returns the time of the store.
func (c *conn) now() time.Time {
	c.e.Helper()
	resp, err := c.Epoch(c.e.Context(), driver.EpochRequest{})
	require.NoError(c.e, err, "epoch")
	require.False(c.e, resp.Time.IsZero(), "the receipt has the store's time")
	return resp.Time
}

// stamp returns a stamp of a new transition, made under the lease of holder if
// there is one.
func (c *conn) stamp(holder ...driver.Record) driver.Stamp {
	c.e.Helper()
	s := driver.Stamp{Epoch: c.epoch, Token: driver.NewToken(), Now: c.now()}
	if len(holder) > 0 {
		s.Lease = holder[0].Lease.Token
	}
	return s
}

// must returns t; a transition that cannot be made is a fault of the case.
func (c *conn) must(t driver.Transition, err error) driver.Transition {
	c.e.Helper()
	require.NoError(c.e, err, "make a transition")
	return t
}

// newStart returns the transition that starts a workflow, due at once.
func (c *conn) newStart(id string) driver.Transition {
	c.e.Helper()
	return c.newStartOf(driver.Workflow{ID: id, Kind: kind, Input: []byte("input of " + id)})
}

func (c *conn) newStartOf(w driver.Workflow) driver.Transition {
	c.e.Helper()
	return c.must(driver.Start(c.stamp(), w))
}

// send commits and returns the answer, which has a verdict for each transition.
func (c *conn) send(ts ...driver.Transition) driver.CommitResponse {
	c.e.Helper()
	resp, err := c.Commit(c.e.Context(), driver.CommitRequest{Guard: c.guard(), Transitions: ts})
	require.NoError(c.e, err, "commit")
	require.Len(c.e, resp.Verdicts, len(ts), "one verdict for each transition")
	return resp
}

// verdict commits one transition and returns its verdict.
func (c *conn) verdict(t driver.Transition) driver.Verdict {
	c.e.Helper()
	return c.send(t).Verdicts[0]
}

// apply commits transitions that the store applies, and returns the record of the
// last.
func (c *conn) apply(ts ...driver.Transition) driver.Record {
	c.e.Helper()
	for i, v := range c.send(ts...).Verdicts {
		require.NoError(c.e, v.Err, "verdict of transition %d, %q", i, ts[i].Record.ID)
		require.True(c.e, v.Applied, "transition %d, %q, is reported as applied", i, ts[i].Record.ID)
	}
	return ts[len(ts)-1].Record
}

// start stores a new workflow that is due at once.
func (c *conn) start(id string) driver.Record {
	c.e.Helper()
	return c.apply(c.newStart(id))
}

func (c *conn) startOf(w driver.Workflow) driver.Record {
	c.e.Helper()
	return c.apply(c.newStartOf(w))
}

// get returns what the store holds of id, or nil.
func (c *conn) get(id string) *driver.Record {
	c.e.Helper()
	resp, err := c.Get(c.e.Context(), driver.GetRequest{IDs: []string{id}})
	require.NoError(c.e, err, "get %q", id)
	if len(resp.Records) == 0 {
		return nil
	}
	require.Len(c.e, resp.Records, 1, "get %q", id)
	return &resp.Records[0]
}

// holds checks that the store holds exactly r.
func (c *conn) holds(r driver.Record) {
	c.e.Helper()
	c.e.same(&r, c.get(r.ID))
}

// lacks checks that the store holds nothing of id.
func (c *conn) lacks(id string) {
	c.e.Helper()
	require.Nil(c.e, c.get(id), "the store holds nothing of %q", id)
}

func (c *conn) claimRequest(limit int, lease time.Duration, kinds ...string) driver.ClaimRequest {
	if len(kinds) == 0 {
		kinds = []string{kind}
	}
	return driver.ClaimRequest{Guard: c.guard(), Owner: "worker", Token: driver.NewToken(), Kinds: kinds, Limit: limit, Lease: lease}
}

func (c *conn) claim(req driver.ClaimRequest) driver.ClaimResponse {
	c.e.Helper()
	resp, err := c.Claim(c.e.Context(), req)
	require.NoError(c.e, err, "claim")
	require.LessOrEqual(c.e, len(resp.Records), req.Limit, "a claim gives at most its limit")
	return resp
}

// claimOne waits until one record is claimable and leases it.
func (c *conn) claimOne(lease time.Duration) driver.Record {
	c.e.Helper()
	var got []driver.Record
	c.e.eventually("a record is claimable", func() error {
		if got = c.claim(c.claimRequest(1, lease)).Records; len(got) == 0 {
			return errors.New("nothing is claimable")
		}
		return nil
	})
	return got[0]
}

// leased starts a workflow and claims it.
func (c *conn) leased(id string) driver.Record {
	c.e.Helper()
	c.start(id)
	r := c.claimOne(time.Hour)
	require.Equal(c.e, id, r.ID)
	return r
}

// list returns the records of all pages.
func (c *conn) list(req driver.ListRequest) []driver.Record {
	c.e.Helper()
	var all []driver.Record
	for page := 0; ; page++ {
		resp, err := c.List(c.e.Context(), req)
		if c.e.h.Chain && driver.ClassOf(err) == driver.CursorLost {
			all, req.Cursor = nil, "" // it has moved to another link: begin anew
			continue
		}
		require.NoError(c.e, err, "list, page %d", page)
		require.LessOrEqual(c.e, len(resp.Records), req.Limit, "a page has at most its limit")
		all = append(all, resp.Records...)
		if resp.Next == "" {
			return all
		}
		require.NotEqual(c.e, req.Cursor, resp.Next, "the cursor moves on")
		require.Less(c.e, page, 10_000, "the pages come to an end")
		req.Cursor = resp.Next
	}
}

// merge merges records that the store takes, and returns the verdicts.
func (c *conn) merge(records ...driver.Record) []driver.Verdict {
	c.e.Helper()
	resp, err := c.Merge(c.e.Context(), driver.MergeRequest{Guard: c.guard(), Records: records})
	require.NoError(c.e, err, "merge")
	require.Len(c.e, resp.Verdicts, len(records), "one verdict for each record")
	for i, v := range resp.Verdicts {
		require.NoError(c.e, v.Err, "verdict of record %d, %q", i, records[i].ID)
	}
	return resp.Verdicts
}

// epochNow returns the epoch record of the store.
func (c *conn) epochNow() driver.Epoch {
	c.e.Helper()
	resp, err := c.Epoch(c.e.Context(), driver.EpochRequest{})
	require.NoError(c.e, err, "epoch")
	return resp.Epoch
}

// advance brings the store, and the conn, to the epoch number in the state. A
// chain is left to its own epochs.
func (c *conn) advance(number uint64, state driver.EpochState) driver.Epoch {
	c.e.Helper()
	if c.e.h.Chain {
		return driver.Epoch{}
	}
	was := c.epochNow()
	next := driver.Epoch{Number: number, Token: driver.NewToken(), Active: "primary", State: state, InSync: []string{"standby"}}
	if number == was.Number {
		next.Version = was.Version + 1
	}
	resp, err := c.Advance(c.e.Context(), driver.AdvanceRequest{Expect: was.At(), Next: next})
	require.NoError(c.e, err, "advance from %s to %s", was, next)
	require.True(c.e, next.Equal(resp.Epoch), "advance answers with the epoch that now stands: %s, want %s", resp.Epoch, next)
	c.epoch = number
	return next
}

// ids returns the ids of records, in their order.
func ids(records []driver.Record) []string {
	out := make([]string, len(records))
	for i := range records {
		out[i] = records[i].ID
	}
	return out
}

// numbered returns n ids.
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%04d", prefix, i)
	}
	return out
}

func text(n int) string { return strings.Repeat("x", n) }
