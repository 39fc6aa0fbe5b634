// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func mergeCases() []Case {
	const area = "Merge"
	return []Case{
		{Area: area, Name: "StoresWhatIsNew", run: mergeNew,
			Sentence: "Merge stores each record that is newer, by Compare, than what the store holds of its id. It does not look at bases."},
		{Area: area, Name: "StoresWhatIsNewer", run: mergeNewer,
			Sentence: "Compare orders two records with one id by age: by epoch, then creation, then revision, then token."},
		{Area: area, Name: "LeavesWhatIsOlder", run: mergeOlder,
			Sentence: "Merge stores each record that is newer and leaves the others alone. Older records and repeats are successes."},
		{Area: area, Name: "MayBeRepeated", run: mergeRepeat,
			Sentence: "Older records and repeats are successes, so that the number of merges does not matter."},
		{Area: area, Name: "IsFreeOfOrder", run: mergeOrder,
			Sentence: "The order of merges does not matter."},
		{Area: area, Name: "IsFreeOfOrderInABatch", run: mergeOrderInBatch,
			Sentence: "The order of merges does not matter: also not within one batch."},
		{Area: area, Name: "IsFreeOfOrderAtOnce", run: mergeAtOnce,
			Sentence: "The order and number of merges do not matter: also of those that run at once."},
		{Area: area, Name: "HasAVerdictForEach", run: mergeVerdicts,
			Sentence: "Verdicts: nil; Invalid or TooLarge for a record that fails Validate or is of an epoch above the request's."},
		{Area: area, Name: "TakesOlderEpochs", run: mergeEpochs,
			Sentence: "Merge takes records of any epoch up to the request's."},
		{Area: area, Name: "MakesWork", run: mergeWork,
			Sentence: "Due is the only index of claimable work: also of merged records."},
		{Area: area, Name: "ReplacesTheWork", run: mergeReplaces,
			Sentence: "Due is the only index of claimable work: what a merge has replaced is no more."},
		{Area: area, Name: "IsWhatCommitsFollow", run: mergeThenCommit,
			Sentence: "A store applies a transition if it holds the record's id at exactly one revision less, made by the transition that Base names: also if a merge brought it."},
	}
}

// ages returns records of one workflow, from old to new.
func ages(c *conn, id string) []driver.Record {
	c.e.Helper()
	r := c.complete(id)
	low, high := driver.Token{1, 0xff}, driver.Token{2}
	created := r.Created
	var out []driver.Record
	for i, v := range []struct {
		epoch, revision uint64
		token           driver.Token
		created         time.Duration // after the first
	}{{1, 300, high, 0}, {2, 1, low, 0}, {2, 9, low, 0}, {2, 9, high, 0}, {2, 10, low, 0}, {2, 100, high, 0},
		{2, 1, low, time.Second}, {3, 2, low, 0}, {256, 1, low, 0}} {
		r.Epoch, r.Revision, r.Token, r.Created = v.epoch, v.revision, v.token, created.Add(v.created)
		r.State = fmt.Append(nil, "state ", i)
		out = append(out, r.Clone())
	}
	return out
}

const agesEpoch = 256 // the epoch of the last of ages

// merging opens a store in the epoch of the last of ages.
func (e *env) merging() *conn {
	e.Helper()
	c := e.open()
	c.advance(agesEpoch, driver.Serving)
	return c
}

func mergeNew(e *env) {
	c := e.merging()
	for i, r := range ages(c, "") {
		r.ID = fmt.Sprint("r", i)
		require.True(e, c.merge(r)[0].Applied, "it changed the store")
		c.everywhere(r)
		e.share(c).holds(r)
	}
}

func mergeNewer(e *env) {
	c := e.merging()
	for _, r := range ages(c, "a") {
		require.True(e, c.merge(r)[0].Applied, "epoch %d, revision %d changed the store", r.Epoch, r.Revision)
		c.holds(r)
	}
}

func mergeOlder(e *env) {
	c := e.merging()
	all := ages(c, "a")
	for newest := len(all) - 1; newest > 0; newest-- {
		id := fmt.Sprint("r", newest)
		stored := all[newest].Clone()
		stored.ID = id
		c.merge(stored)
		for _, r := range all[:newest] {
			r.ID = id
			require.False(e, c.merge(r)[0].Applied, "epoch %d, revision %d, token %s changes nothing", r.Epoch, r.Revision, r.Token)
			c.holds(stored)
		}
	}
}

func mergeRepeat(e *env) {
	c := e.merging()
	r := c.complete("a")
	require.True(e, c.merge(r)[0].Applied)
	for range 3 {
		require.False(e, c.merge(r)[0].Applied, "a repeat changes nothing and says so")
		c.holds(r)
	}
	require.False(e, e.share(c).merge(r)[0].Applied)

	committed := c.start("b")
	require.False(e, c.merge(committed)[0].Applied, "a record the store has from a commit")
}

func mergeOrder(e *env) {
	c := e.merging()
	all := ages(c, "a")
	for i := range all {
		for j := range all {
			if i == j {
				continue
			}
			for _, k := range []int{0, len(all) / 2} {
				id := fmt.Sprintf("r-%d-%d-%d", i, j, k)
				for _, n := range []int{i, j, k} {
					r := all[n].Clone()
					r.ID = id
					c.merge(r)
				}
				want := all[max(i, j, k)].Clone()
				want.ID = id
				c.holds(want)
			}
		}
	}
}

func mergeOrderInBatch(e *env) {
	c := e.merging()
	all := ages(c, "a")
	shuffled := []driver.Record{all[4], all[0], all[6], all[6], all[2], all[8], all[7], all[1], all[5], all[3]}
	applied := []bool{true, false, true, false, false, true, false, false, false, false}
	for i, v := range c.merge(shuffled...) {
		require.Equal(e, applied[i], v.Applied, "record %d of the batch", i)
	}
	c.holds(all[len(all)-1])
}

func mergeAtOnce(e *env) {
	conns := e.several(3)
	for _, c := range conns {
		c.epoch = agesEpoch
	}
	all := ages(conns[0], "a")
	for round := range 8 {
		id := fmt.Sprint("round-", round)
		e.all(2*len(all), func(i int) error {
			r := all[(i*5)%len(all)].Clone()
			r.ID = id
			c := conns[i%len(conns)]
			resp, err := c.Merge(e.Context(), driver.MergeRequest{Guard: c.guard(), Records: []driver.Record{r}})
			if err != nil {
				return err
			}
			return resp.Verdicts[0].Err
		})
		want := all[len(all)-1].Clone()
		want.ID = id
		for _, c := range conns {
			c.holds(want)
		}
	}
}

func mergeVerdicts(e *env) {
	c := e.open()
	c.advance(3, driver.Serving)
	old := c.complete("old")
	c.merge(old)
	batch := []struct {
		id     string
		spoil  func(r *driver.Record)
		want   driver.Class
		stored bool
	}{
		{"first", func(*driver.Record) {}, 0, true},
		{"above", func(r *driver.Record) { r.Epoch = 4 }, driver.Invalid, false},
		{"no-token", func(r *driver.Record) { r.Token = driver.Token{} }, driver.Invalid, false},
		{"large", func(r *driver.Record) { r.Input = make([]byte, driver.MaxRecordBytes) }, driver.TooLarge, false},
		{"no-due", func(r *driver.Record) { r.Due = time.Time{} }, driver.Invalid, false},
		{"last", func(*driver.Record) {}, 0, true},
	}
	records := make([]driver.Record, len(batch))
	for i, b := range batch {
		records[i] = c.complete(b.id)
		b.spoil(&records[i])
	}
	resp, err := c.Merge(e.Context(), driver.MergeRequest{Guard: c.guard(), Records: records})
	require.NoError(e, err)
	require.Len(e, resp.Verdicts, len(batch))
	for i, b := range batch {
		v := resp.Verdicts[i]
		require.Equal(e, b.want, driver.ClassOf(v.Err), "verdict of %q: %v", b.id, v.Err)
		require.Equal(e, b.stored, v.Applied, "%q is applied", b.id)
		if b.stored {
			c.holds(records[i])
		} else {
			c.lacks(b.id)
		}
	}
	c.holds(old)
}

func mergeEpochs(e *env) {
	c := e.open()
	c.advance(5, driver.Serving)
	for epoch := range uint64(6) {
		r := c.complete(fmt.Sprint("r", epoch))
		r.Epoch = epoch
		require.True(e, c.merge(r)[0].Applied)
		c.holds(r)
	}
	c.epoch = 9 // replication may run ahead of the store
	ahead := c.complete("ahead")
	require.True(e, c.merge(ahead)[0].Applied)
	c.holds(ahead)
}

func mergeWork(e *env) {
	c := e.open()
	r := c.newStart("a").Record
	ended := c.complete("lease-over")
	ended.Due = ended.Updated.Add(-time.Minute)
	later := c.complete("leased")
	c.merge(r, ended, later)
	got := c.claim(c.claimRequest(10, time.Hour)).Records
	require.ElementsMatch(e, []string{"a", "lease-over"}, ids(got))
	for _, r := range got {
		c.holds(r)
	}
}

func mergeReplaces(e *env) {
	c := e.open()
	r := c.start("a")
	done := r.Clone()
	done.Revision, done.Token, done.Status, done.Due = 5, driver.NewToken(), driver.Succeeded, time.Time{}
	c.merge(done)
	require.Empty(e, c.claim(c.claimRequest(10, time.Hour)).Records, "the record has ended")
	require.Empty(e, c.list(driver.ListRequest{Statuses: []driver.Status{driver.Ready}, Limit: 10}))
	require.Equal(e, []string{"a"}, ids(c.list(driver.ListRequest{Statuses: []driver.Status{driver.Succeeded}, Limit: 10})))

	held := c.leased("b")
	later := held.Clone()
	later.Revision, later.Token, later.Lease.Token, later.Due = 9, driver.NewToken(), driver.NewToken(), held.Due.Add(-2*time.Hour)
	c.merge(later)
	got := c.claim(c.claimRequest(10, time.Hour)).Records
	require.Equal(e, []string{"b"}, ids(got), "the merged lease is over")
	require.Equal(e, uint64(10), got[0].Revision)
}

func mergeThenCommit(e *env) {
	c := e.open()
	r := c.complete("a")
	c.merge(r)
	saved := c.apply(c.must(driver.Save(c.stamp(r), r, "next", []byte("next"), r.Due)))
	c.holds(saved)

	old := c.start("b")
	lost := c.must(driver.Cancel(c.stamp(), old, "no", time.Time{}))
	merged := old.Clone()
	merged.Token = driver.NewToken()
	for slices.Compare(merged.Token[:], old.Token[:]) < 0 {
		merged.Token = driver.NewToken()
	}
	c.merge(merged)
	c.conflict(lost, merged)
}
