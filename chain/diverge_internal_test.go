// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// Each row of "What the returning link holds" in docs/epochs.md.
func TestClassify(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one, two := driver.Token{1}, driver.Token{2}
	rec := func(epoch, revision uint64, token driver.Token) *driver.Record {
		return &driver.Record{ID: "w", Epoch: epoch, Revision: revision, Token: token, Status: driver.Ready, Updated: at.Add(-time.Minute)}
	}
	aged := func(r *driver.Record, status driver.Status, age time.Duration) *driver.Record {
		r.Status, r.Updated = status, at.Add(-age)
		return r
	}
	expired := func(r *driver.Record) *driver.Record {
		r.Status, r.Expires = driver.Succeeded, at
		return r
	}
	created := func(r *driver.Record) *driver.Record {
		r.Created = at
		return r
	}
	for _, tc := range []struct {
		name         string
		theirs, ours *driver.Record
		retention    time.Duration
		want         Divergence
	}{
		{"same", rec(1, 2, one), rec(1, 2, one), time.Hour, DivergenceNone},
		{"it has none", nil, rec(1, 1, one), time.Hour, DivergenceOlder},
		{"an earlier revision", rec(1, 1, one), rec(1, 2, two), time.Hour, DivergenceOlder},
		{"an earlier revision of an older epoch", rec(1, 1, one), rec(3, 2, two), time.Hour, DivergenceOlder},
		{"the same revision of an older epoch", rec(1, 2, two), rec(3, 2, one), time.Hour, DivergenceBehind},
		{"a later revision of an older epoch", rec(1, 5, two), rec(3, 2, one), time.Hour, DivergenceBehind},
		{"the same revision of the same epoch, lower token", rec(1, 2, one), rec(1, 2, two), time.Hour, DivergenceBehind},
		{"the same revision of the same epoch, higher token", rec(1, 2, two), rec(1, 2, one), time.Hour, DivergenceAhead},
		{"a later revision of the same epoch", rec(1, 3, two), rec(1, 2, one), time.Hour, DivergenceAhead},
		{"an earlier revision of a newer epoch", rec(3, 1, two), rec(1, 2, one), time.Hour, DivergenceAhead},
		{"another workflow, which had expired", expired(rec(1, 5, two)), created(rec(1, 2, one)), time.Hour, DivergenceOlder},
		{"another workflow, which had not", rec(1, 5, two), created(rec(1, 2, one)), time.Hour, DivergenceBehind},
		{"unknown, changed within the retention", aged(rec(1, 1, one), driver.Ready, 59*time.Minute), nil, time.Hour, DivergenceUnknown},
		{"unknown and ended within the retention", aged(rec(1, 1, one), driver.Succeeded, 59*time.Minute), nil, time.Hour, DivergenceUnknown},
		{"unknown, where nothing is forgotten", aged(rec(1, 1, one), driver.Ready, 1000*time.Hour), nil, -1, DivergenceUnknown},
		{"forgotten", aged(rec(1, 1, one), driver.Leased, time.Hour), nil, time.Hour, DivergenceForgotten},
		{"forgotten and ended", aged(rec(1, 1, one), driver.Failed, time.Hour), nil, time.Hour, DivergenceNone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, classify(tc.theirs, tc.ours, at, tc.retention))
		})
	}
}

func TestHoldDownDoubles(t *testing.T) {
	t.Parallel()
	p := Policy{}.WithDefaults()
	require.Equal(t, time.Minute, holdDown(&p, 0))
	require.Equal(t, 4*time.Minute, holdDown(&p, 2))
	require.Equal(t, 30*time.Minute, holdDown(&p, 5))
	require.Equal(t, 30*time.Minute, holdDown(&p, 5000))
}

// A link that leaves the set soon after it has joined waits longer each time.
func TestAbsence(t *testing.T) {
	t.Parallel()
	p := Policy{}.WithDefaults()
	a := &absence{}
	require.False(t, a.over(&p, false))
	require.Equal(t, 3*time.Second, a.wait)
	for _, want := range []string{"6s", "12s", "24s", "48s", "1m0s", "1m0s"} {
		require.False(t, a.over(&p, true))
		require.False(t, a.over(&p, false))
		require.Equal(t, want, a.wait.String())
	}
	a.since = a.since.Add(-time.Minute)
	require.True(t, a.over(&p, false))
	require.False(t, a.over(&p, true))
	a.since = a.since.Add(-time.Hour)
	require.False(t, a.over(&p, false))
	require.Equal(t, 3*time.Second, a.wait, "it had stayed long enough")
}

func TestSampleIsOfAllRecords(t *testing.T) {
	t.Parallel()
	var s sample
	for range 3 * sampleSize {
		s.add("early")
	}
	for range 3 * sampleSize {
		s.add("late")
	}
	late := 0
	for _, id := range s.ids {
		if id == "late" {
			late++
		}
	}
	require.Len(t, s.ids, sampleSize)
	require.InDelta(t, sampleSize/2, late, 6*8, "six standard deviations")
}

// A record that is committed anew stays with the holder of its lease.
func TestRestampedKeepsTheLease(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	stamp := func(epoch uint64) driver.Stamp { return driver.Stamp{Epoch: epoch, Token: driver.NewToken(), Now: at} }
	tr, err := driver.Start(stamp(2), driver.Workflow{ID: "w", Kind: "call"})
	require.NoError(t, err)
	claim := stamp(2)
	lease := claim.Token
	tr, err = driver.Claim(claim, tr.Record, "holder", at.Add(time.Minute))
	require.NoError(t, err)
	anew := restamped(stamp(4), tr.Record)
	require.NoError(t, anew.Validate())
	require.Equal(t, tr.Record.Token, anew.Base)
	require.Positive(t, driver.Compare(&anew.Record, &tr.Record))
	require.Equal(t, lease, anew.Record.Lease.Token)
	save := stamp(4)
	save.Lease = lease
	_, err = driver.Save(save, anew.Record, "goes on", nil, at.Add(time.Hour))
	require.NoError(t, err)
}
