// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func claimCases() []Case {
	const area = "Claim"
	return []Case{
		{Area: area, Name: "LeasesAsByTheTransition", run: claimLeases,
			Sentence: "Claim leases each as by the transition Claim with the store's own time as now, req.Token as its token and as that of the lease, and now + req.Lease as its end."},
		{Area: area, Name: "NeverSharesARecord", run: claimNeverShares,
			Sentence: "No record is given to two claims that overlap."},
		{Area: area, Name: "TakesItsKindsOnly", run: claimKinds,
			Sentence: "Claim leases up to req.Limit claimable records of req.Kinds."},
		{Area: area, Name: "KeepsToItsLimit", run: claimLimit,
			Sentence: "Claim leases up to req.Limit claimable records."},
		{Area: area, Name: "LeavesWhatIsNotClaimable", run: claimNotClaimable,
			Sentence: "Claim leases claimable records: Ready, Leased and Waiting ones from Due on; zero Due: never claimable."},
		{Area: area, Name: "WaitsForTheDueTime", run: claimWhenDue,
			Sentence: "Due: Ready: claimable from then on, by the store's own time."},
		{Area: area, Name: "IsEmptyAtOnce", run: claimEmpty,
			Sentence: "It returns an empty response, at once, when nothing is claimable."},
		{Area: area, Name: "PassesOverNewerEpochs", run: claimNewerEpoch,
			Sentence: "Records of an epoch above the request's, which a merge may have brought, are passed over."},
		{Area: area, Name: "StaysUnderTheBatchSize", run: claimSize,
			Sentence: "It returns fewer records than there are rather than more than MaxBatchBytes."},
		{Area: area, Name: "RepeatClaimsNothingMore", run: claimRepeat,
			Sentence: "A repeat with the same token before the lease ends claims nothing more: it returns the records that the first call leased and that have not been changed since."},
		{Area: area, Name: "RepeatAtOnceClaimsNothingMore", run: claimRepeatAtOnce,
			Sentence: "A repeat with the same token before the lease ends claims nothing more: also while the first call is on its way."},
		{Area: area, Name: "RepeatGivesNoneOfOthers", run: claimRepeatOfOthers,
			Sentence: "A repeat returns the records that the first call leased and that have not been changed since: others get none of them."},
	}
}

func claimLeases(e *env) {
	c := e.open()
	r := c.startOf(driver.Workflow{ID: "a", Kind: kind, Input: []byte("input"), Labels: map[string]string{"k": "v"}})
	req := c.claimRequest(10, 90*time.Second)
	req.Owner = "host-1/worker 7"
	resp := c.claim(req)
	require.Len(e, resp.Records, 1)
	got := resp.Records[0]
	now := got.Updated
	require.Equal(e, driver.Millis(now), now, "updated is the store's time in milliseconds")
	require.False(e, now.Before(r.Due), "updated, the time of the claim, is %s and due was %s", now, r.Due)
	require.False(e, now.After(resp.Time), "updated, the time of the claim, is %s and the answer is of %s", now, resp.Time)
	want := c.must(driver.Claim(driver.Stamp{Epoch: c.epoch, Token: req.Token, Now: now}, r, req.Owner, now.Add(req.Lease)))
	e.same(&want.Record, &got)
	c.holds(got)
	e.share(c).holds(got)
}

func claimNeverShares(e *env) {
	conns := e.several(3)
	c := conns[0]
	const records = 120
	var starts []driver.Transition
	for _, id := range numbered("r", records) {
		starts = append(starts, c.newStart(id))
	}
	c.apply(starts...)

	var mu sync.Mutex
	holders := make(map[string]driver.Token)
	e.all(contenders, func(i int) error {
		mine := conns[i%len(conns)]
		for {
			req := mine.claimRequest(3, time.Hour)
			req.Owner = fmt.Sprint("worker-", i)
			resp, err := mine.Claim(e.Context(), req)
			if err != nil || len(resp.Records) == 0 {
				return err
			}
			mu.Lock()
			for _, r := range resp.Records {
				if first, taken := holders[r.ID]; taken {
					mu.Unlock()
					return fmt.Errorf("%q was given to the claims %s and %s", r.ID, first, req.Token)
				}
				holders[r.ID] = req.Token
			}
			mu.Unlock()
		}
	})
	require.Len(e, holders, records, "all records are given to somebody")
	for _, r := range c.list(driver.ListRequest{Limit: driver.MaxBatch}) {
		require.Equal(e, holders[r.ID], r.Lease.Token, "the holder of %q as stored", r.ID)
	}
}

func claimKinds(e *env) {
	c := e.open()
	for _, k := range []string{"red", "green", "blue"} {
		for i := range 3 {
			c.startOf(driver.Workflow{ID: fmt.Sprint(k, i), Kind: k})
		}
	}
	require.Empty(e, c.claim(c.claimRequest(100, time.Hour, "yellow", "re", "redd", "Red")).Records)
	got := c.claim(c.claimRequest(100, time.Hour, "green")).Records
	require.ElementsMatch(e, []string{"green0", "green1", "green2"}, ids(got))
	got = c.claim(c.claimRequest(100, time.Hour, "blue", "yellow", "red", "green", "red")).Records
	require.ElementsMatch(e, []string{"red0", "red1", "red2", "blue0", "blue1", "blue2"}, ids(got))
}

func claimLimit(e *env) {
	c := e.open()
	var starts []driver.Transition
	for _, id := range numbered("r", 40) {
		starts = append(starts, c.newStart(id))
	}
	c.apply(starts...)
	left := len(starts)
	for _, limit := range []int{1, 7, 20} {
		require.Len(e, c.claim(c.claimRequest(limit, time.Hour)).Records, limit)
		left -= limit
	}
	require.Len(e, c.claim(c.claimRequest(driver.MaxBatch, time.Hour)).Records, left, "the others are still claimable")
	require.Empty(e, c.claim(c.claimRequest(driver.MaxBatch, time.Hour)).Records)
}

func claimNotClaimable(e *env) {
	c := e.open()
	now := c.now()
	later := c.startOf(driver.Workflow{ID: "later", Kind: kind, Due: now.Add(time.Hour)})
	waiting, held, failed := c.leased("waiting"), c.start("held"), c.start("failed")
	waiting = c.apply(c.must(driver.Wait(c.stamp(waiting), waiting, "callback", nil, time.Time{})))
	failed = c.apply(c.must(driver.Cancel(c.stamp(), failed, "no", time.Time{})))
	held.Revision, held.Token, held.Status, held.Due = 2, driver.NewToken(), driver.Held, time.Time{}
	c.merge(held)
	require.Empty(e, c.claim(c.claimRequest(100, time.Hour)).Records)
	for _, r := range []driver.Record{later, waiting, held, failed} {
		c.holds(r)
	}
}

func claimWhenDue(e *env) {
	c := e.open()
	due := driver.Millis(c.now().Add(e.span))
	c.startOf(driver.Workflow{ID: "a", Kind: kind, Due: due})
	c.nobodyGets(due)
	e.passes(c, due)
	got := c.claimOne(time.Hour)
	require.False(e, got.Updated.Before(due), "due at %s, claimed at %s", due, got.Updated)
}

func claimEmpty(e *env) {
	c := e.open()
	ctx, cancel := e.brief(e.h.timeout() / 4)
	defer cancel()
	resp, err := c.Claim(ctx, c.claimRequest(10, time.Hour))
	require.NoError(e, ctx.Err(), "a claim does not wait for work")
	require.NoError(e, err)
	require.Empty(e, resp.Records)
	require.True(e, resp.Next.IsZero(), "next is zero: there are no other records")
}

func claimNewerEpoch(e *env) {
	c := e.open()
	c.advance(3, driver.Serving)
	newer := c.newStart("newer").Record
	newer.Epoch = 4
	resp, err := c.Merge(e.Context(), driver.MergeRequest{Guard: driver.Guard{Epoch: 4}, Records: []driver.Record{newer}})
	require.NoError(e, err)
	require.NoError(e, resp.Verdicts[0].Err)
	c.start("present")
	require.Equal(e, []string{"present"}, ids(c.claim(c.claimRequest(10, time.Hour)).Records))
	c.holds(newer)

	c.advance(4, driver.Serving)
	require.Equal(e, []string{"newer"}, ids(c.claim(c.claimRequest(10, time.Hour)).Records))
}

func claimSize(e *env) {
	c := e.open()
	heavy := c.heaviest()
	for i := range heavy {
		// Room for the lease, which a claim adds to the record.
		fill(&heavy[i].Record, driver.MaxRecordBytes-1024)
	}
	c.apply(heavy...)
	more := c.newStart("more")
	fill(&more.Record, driver.MaxRecordBytes-1024)
	c.apply(more)

	got := make(map[string]bool)
	for range len(heavy) + 1 {
		resp := c.claim(c.claimRequest(driver.MaxBatch, time.Hour))
		size := 0
		for i := range resp.Records {
			size += driver.EncodedSize(&resp.Records[i])
			require.False(e, got[resp.Records[i].ID], "%q is given once", resp.Records[i].ID)
			got[resp.Records[i].ID] = true
		}
		require.LessOrEqual(e, size, driver.MaxBatchBytes, "the records of one answer together")
		if len(resp.Records) == 0 {
			break
		}
	}
	require.Len(e, got, len(heavy)+1, "all are given in the end")
}

func claimRepeat(e *env) {
	c := e.open()
	var starts []driver.Transition
	for _, id := range numbered("r", 10) {
		starts = append(starts, c.newStart(id))
	}
	c.apply(starts...)
	req := c.claimRequest(4, time.Hour)
	first := c.claim(req).Records
	require.Len(e, first, 4)
	again := func(want []driver.Record) {
		e.Helper()
		for _, on := range []*conn{c, e.share(c)} {
			got := on.claim(req).Records
			require.ElementsMatch(e, ids(want), ids(got), "the repeat gives what the first call leased")
			for _, r := range got {
				on.holds(r)
			}
		}
	}
	again(first)

	saved := c.apply(c.must(driver.Save(c.stamp(first[0]), first[0], "step", nil, first[0].Due)))
	c.apply(c.must(driver.Succeed(c.stamp(first[1]), first[1], nil, time.Time{})))
	again(first[2:])
	c.holds(saved)
	require.Len(e, c.claim(c.claimRequest(100, time.Hour)).Records, 6, "the repeats have claimed nothing more")
}

func claimRepeatOfOthers(e *env) {
	c := e.open()
	c.start("a")
	req := c.claimRequest(1, time.Hour)
	require.Len(e, c.claim(req).Records, 1)
	other := c.claimRequest(1, time.Hour)
	require.Empty(e, c.claim(other).Records)
	require.Empty(e, c.claim(other).Records)
	require.Len(e, c.claim(req).Records, 1, "a repeat of the claim that got the record")
}

func claimRepeatAtOnce(e *env) {
	conns := e.several(3)
	var starts []driver.Transition
	for _, id := range numbered("r", 40) {
		starts = append(starts, conns[0].newStart(id))
	}
	conns[0].apply(starts...)
	req := conns[0].claimRequest(3, time.Hour)
	given := make([]driver.ClaimResponse, contenders)
	e.all(contenders, func(i int) (err error) {
		given[i], err = conns[i%len(conns)].Claim(e.Context(), req)
		return err
	})
	want := ids(conns[0].claim(req).Records)
	require.Len(e, want, 3)
	for _, resp := range given {
		require.ElementsMatch(e, want, ids(resp.Records), "each of the equal claims gives the same")
	}
	leased := driver.ListRequest{Statuses: []driver.Status{driver.Leased}, Limit: 100}
	require.ElementsMatch(e, want, ids(conns[0].list(leased)), "nothing more is leased")
}
