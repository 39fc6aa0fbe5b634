// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func readCases() []Case {
	const get, list = "Get", "List"
	return []Case{
		{Area: get, Name: "KeepsTheOrderAsked", run: getOrder,
			Sentence: "Get returns the records with the given ids, in the order of the ids. Unknown ids are left out."},
		{Area: get, Name: "SeesWhatWasAcknowledged", run: getLatest,
			Sentence: "Get returns each record as it stands after every mutation that was acknowledged before the call."},
		{Area: get, Name: "TellsSimilarIDsApart", run: getSimilar,
			Sentence: "ID: unique in its chain: 1–256 bytes of printable UTF-8."},
		{Area: get, Name: "GivesManyLargeRecords", run: getLarge,
			Sentence: "Get returns the records with the given ids: 1–256 of them, of any size up to MaxRecordBytes."},
		{Area: list, Name: "GivesEachOnce", run: listOnce,
			Sentence: "Over all pages, from an empty cursor to an empty Next, every record that matched throughout comes exactly once."},
		{Area: list, Name: "Filters", run: listFilters,
			Sentence: "List returns one page of the records of the given kinds and statuses. Empty: all."},
		{Area: list, Name: "FiltersOnEveryPage", run: listFilterPages,
			Sentence: "Cursor: the Next of the page before, with the same filter."},
		{Area: list, Name: "IsExactUnderConcurrentChange", run: listConcurrent,
			Sentence: "Every record that matched throughout comes exactly once; one that changed meanwhile comes once or not at all."},
		{Area: list, Name: "GivesWholeRecords", run: listWhole,
			Sentence: "ListResponse: one page: at most Limit records, and fewer where the store prefers it; only an empty Next means the end."},
		{Area: list, Name: "RefusesAForeignCursor", run: listForeignCursor,
			Sentence: "A cursor that the store did not give is Invalid."},
		{Area: list, Name: "OfAnEmptyStore", run: listEmpty,
			Sentence: "List: only an empty Next means the end; an empty store has no records."},
	}
}

func getOrder(e *env) {
	c := e.open()
	want := numbered("r", 20)
	var ts []driver.Transition
	for _, id := range want {
		ts = append(ts, c.newStart(id))
	}
	c.apply(ts...)
	slices.Reverse(want)
	asked := []string{"unknown"}
	for _, id := range want {
		asked = append(asked, id, id+"-unknown")
	}
	for _, on := range []*conn{c, e.share(c)} {
		resp, err := on.Get(e.Context(), driver.GetRequest{IDs: asked})
		require.NoError(e, err)
		require.Equal(e, want, ids(resp.Records))
	}
	resp, err := c.Get(e.Context(), driver.GetRequest{IDs: []string{"unknown"}})
	require.NoError(e, err)
	require.Empty(e, resp.Records)
}

func getLatest(e *env) {
	conns := e.several(3)
	r := conns[0].leased("a")
	for i := range 60 {
		on := conns[i%len(conns)]
		r = on.apply(on.must(driver.Extend(on.stamp(r), r, r.Due.Add(time.Second))))
		for _, other := range conns {
			other.holds(r)
		}
	}
}

func getSimilar(e *env) {
	c := e.open()
	similar := []string{"a", "A", "aa", "ä", "a ", " a", "a/b", "a:b", "a|b", "{a}", "a*", "%61", "../a", "日本", "0", "00", "a.b", `a"b`, `a\b`, "'a'"}
	stored := map[string]driver.Record{}
	for _, id := range similar {
		stored[id] = c.startOf(driver.Workflow{ID: id, Kind: kind, Input: []byte(id)})
	}
	for _, id := range similar {
		c.holds(stored[id])
	}
	require.ElementsMatch(e, similar, ids(c.list(driver.ListRequest{Limit: 7})))
}

func getLarge(e *env) {
	c := e.open()
	heavy, more := c.heaviest(), c.heaviest()
	for i := range more {
		more[i].Record.ID = "m" + more[i].Record.ID[1:]
	}
	c.apply(heavy...)
	c.apply(more...)
	want := slices.Concat(heavy, more)
	asked := make([]string, len(want))
	for i := range want {
		asked[i] = want[i].Record.ID
	}
	resp, err := c.Get(e.Context(), driver.GetRequest{IDs: asked})
	require.NoError(e, err)
	require.Equal(e, asked, ids(resp.Records))
	for i := range want {
		e.same(&want[i].Record, &resp.Records[i])
	}
}

// mixture starts workflows of three kinds and gives them three statuses; it
// returns the records as stored.
func mixture(c *conn, n int) []driver.Record {
	c.e.Helper()
	kinds := []string{"red", "green", "blue"}
	var starts, moves []driver.Transition
	for i, id := range numbered("r", n) {
		starts = append(starts, c.newStartOf(driver.Workflow{ID: id, Kind: kinds[i%3]}))
	}
	c.apply(starts...)
	out := make([]driver.Record, n)
	for i, t := range starts {
		out[i] = t.Record
		s := c.stamp()
		switch i / 3 % 3 {
		case 1:
			moves = append(moves, c.must(driver.Cancel(s, out[i], "no", time.Time{})))
		case 2:
			moves = append(moves, c.must(driver.Claim(s, out[i], "worker", s.Now.Add(time.Hour))))
		default:
			continue
		}
		out[i] = moves[len(moves)-1].Record
	}
	c.apply(moves...)
	return out
}

func matching(records []driver.Record, req driver.ListRequest) []string {
	var out []string
	for _, r := range records {
		if (len(req.Kinds) == 0 || slices.Contains(req.Kinds, r.Kind)) &&
			(len(req.Statuses) == 0 || slices.Contains(req.Statuses, r.Status)) {
			out = append(out, r.ID)
		}
	}
	return out
}

func listOnce(e *env) {
	c := e.open()
	want := ids(mixture(c, 54))
	for _, limit := range []int{1, 2, 7, 53, 54, 55, driver.MaxBatch} {
		for _, on := range []*conn{c, e.share(c)} {
			require.ElementsMatch(e, want, ids(on.list(driver.ListRequest{Limit: limit})), "pages of %d", limit)
		}
	}
}

var filters = []driver.ListRequest{
	{Kinds: []string{"red"}},
	{Kinds: []string{"blue", "yellow", "green", "blue"}},
	{Kinds: []string{"yellow"}},
	{Statuses: []driver.Status{driver.Cancelled}},
	{Statuses: []driver.Status{driver.Leased, driver.Failed, driver.Ready}},
	{Statuses: []driver.Status{driver.Waiting}},
	{Kinds: []string{"green"}, Statuses: []driver.Status{driver.Leased}},
	{Kinds: []string{"green", "red"}, Statuses: []driver.Status{driver.Ready, driver.Cancelled}},
}

func listFilters(e *env) {
	c := e.open()
	stored := mixture(c, 36)
	for _, req := range filters {
		req.Limit = driver.MaxBatch
		require.ElementsMatch(e, matching(stored, req), ids(c.list(req)), "kinds %q, statuses %v", req.Kinds, req.Statuses)
	}
}

func listFilterPages(e *env) {
	c := e.open()
	stored := mixture(c, 54)
	for _, req := range filters {
		req.Limit = 2
		require.ElementsMatch(e, matching(stored, req), ids(c.list(req)), "kinds %q, statuses %v", req.Kinds, req.Statuses)
	}
}

func listConcurrent(e *env) {
	c := e.open()
	other := e.share(c)
	var ts []driver.Transition
	for _, prefix := range []string{"steady", "moving"} {
		for _, id := range numbered(prefix, 60) {
			ts = append(ts, c.newStart(id))
		}
	}
	c.apply(ts...)
	steady, moving := ts[:60], ts[60:]

	e.all(2, func(i int) error {
		if i == 0 {
			return churn(e, other, moving)
		}
		for range 3 {
			seen := make(map[string]int)
			for _, r := range c.list(driver.ListRequest{Statuses: []driver.Status{driver.Ready}, Limit: 5}) {
				seen[r.ID]++
			}
			for id, n := range seen {
				if n > 1 {
					return fmt.Errorf("%q came %d times", id, n)
				}
			}
			for _, t := range steady {
				if seen[t.Record.ID] == 0 {
					return fmt.Errorf("%q matched throughout and did not come", t.Record.ID)
				}
			}
		}
		return nil
	})
}

// churn cancels and requeues each workflow and starts further ones.
func churn(e *env, c *conn, moving []driver.Transition) error {
	for i, t := range moving {
		s := driver.Stamp{Epoch: c.epoch, Token: driver.NewToken(), Now: t.Record.Updated}
		cancelled, err := driver.Cancel(s, t.Record, "no", time.Time{})
		if err != nil {
			return err
		}
		s.Token = driver.NewToken()
		back, err := driver.Requeue(s, cancelled.Record, t.Record.Due)
		if err != nil {
			return err
		}
		s.Token = driver.NewToken()
		more, err := driver.Start(s, driver.Workflow{ID: fmt.Sprint("more-", i), Kind: kind})
		if err != nil {
			return err
		}
		for _, t := range []driver.Transition{cancelled, back, more} {
			if _, err := c.Commit(e.Context(), driver.CommitRequest{Guard: c.guard(), Transitions: []driver.Transition{t}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func listWhole(e *env) {
	c := e.open()
	heavy := c.heaviest()
	c.apply(heavy...)
	full := c.complete("complete")
	c.merge(full)
	got := map[string]driver.Record{}
	for _, r := range c.list(driver.ListRequest{Limit: driver.MaxBatch}) {
		got[r.ID] = r
	}
	require.Len(e, got, len(heavy)+1)
	for _, r := range append([]driver.Record{full}, heavy[0].Record, heavy[len(heavy)-1].Record) {
		stored := got[r.ID]
		e.same(&r, &stored)
	}
}

func listForeignCursor(e *env) {
	c := e.open()
	mixture(c, 6)
	for _, cursor := range []string{"x", "0", "-1", "\x00", "%", "after", text(300), "9999999999999999999999"} {
		_, err := c.List(e.Context(), driver.ListRequest{Cursor: cursor, Limit: 10})
		e.refused(err, driver.Invalid)
	}
}

func listEmpty(e *env) {
	c := e.open()
	require.Empty(e, c.list(driver.ListRequest{Limit: 1}))
	require.Empty(e, c.list(driver.ListRequest{Limit: 256, Kinds: []string{kind}, Statuses: []driver.Status{driver.Ready}}))
}
