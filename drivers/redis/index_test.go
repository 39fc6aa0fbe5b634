// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

// Leased records have an index of their own, and one call may move records into
// it, out of it, within it, and in and out again.
func TestEachRecordHasOneIndexEntry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{PlainText: true})
	s := open(t, "chain", server.Config(t, nil))
	commit(t, s, nil, numbered("r", 8)...)
	claim, err := s.Claim(t.Context(), driver.ClaimRequest{Owner: "o", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: 7, Lease: time.Minute})
	require.NoError(t, err)
	require.Len(t, claim.Records, 7)
	want := map[string]driver.Status{}
	for _, r := range claim.Records {
		want[r.ID] = driver.Leased
	}
	for _, id := range numbered("r", 8) {
		if _, leased := want[id]; !leased {
			want[id] = driver.Ready
		}
	}
	require.Equal(t, want, indexed(t, server))

	held, later := claim.Records, claim.Time.Add(time.Hour)
	stamp := func(r driver.Record) driver.Stamp {
		return driver.Stamp{Token: driver.NewToken(), Now: claim.Time, Lease: r.Lease.Token}
	}
	var req driver.CommitRequest
	step := func(tr driver.Transition, err error) driver.Record {
		require.NoError(t, err)
		req.Transitions = append(req.Transitions, tr)
		want[tr.Record.ID] = tr.Record.Status
		return tr.Record
	}
	step(driver.Extend(stamp(held[0]), held[0], later))
	step(driver.Succeed(stamp(held[1]), held[1], nil, later))
	step(driver.Release(stamp(held[2]), held[2], later))
	step(driver.Wait(stamp(held[3]), held[3], "parked", nil, time.Time{}))
	saved := step(driver.Save(stamp(held[4]), held[4], "half", nil, later))
	step(driver.Yield(stamp(saved), saved, "half", nil, later))
	step(workflow(t, "new"), nil)
	finish(t, s, req)
	require.Equal(t, want, indexed(t, server))

	// What was for the index of the leased is replaced before it is stored.
	req = driver.CommitRequest{}
	saved = step(driver.Save(stamp(held[5]), held[5], "half", nil, later))
	step(driver.Fail(stamp(saved), saved, driver.Failure{Reason: "no", Expires: later}))
	finish(t, s, req)
	require.Equal(t, want, indexed(t, server))

	listed := map[string]driver.Status{}
	list := driver.ListRequest{Limit: 2}
	for more := true; more; more = list.Cursor != "" {
		page, err := s.List(t.Context(), list)
		require.NoError(t, err)
		for _, r := range page.Records {
			require.NotContains(t, listed, r.ID)
			listed[r.ID] = r.Status
		}
		list.Cursor = page.Next
	}
	require.Equal(t, want, listed)
}

// indexed returns the status that the one entry of each record states, and fails
// if it is in the wrong index.
func indexed(t *testing.T, server *redistest.Server) map[string]driver.Status {
	t.Helper()
	all := map[string]driver.Status{}
	client := server.Admin(t)
	for _, index := range []string{"x", "l"} {
		entries, err := client.Do(t.Context(), client.B().Zrange().Key("{us:chain:0}:"+index).Min("0").Max("-1").Build()).AsStrSlice()
		require.NoError(t, err)
		for _, e := range entries {
			_, rest, _ := strings.Cut(e, "\x00")
			id := rest[6:] // after the due time
			require.NotContains(t, all, id)
			all[id] = driver.Status(e[0])
			require.Equal(t, index == "l", all[id] == driver.Leased, "%s in %s", id, index)
		}
	}
	return all
}
