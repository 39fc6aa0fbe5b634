// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func TestWhatAFeedOfAHistoryMayTell(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	change := func(id string, revision uint64, due time.Duration) driver.Change {
		return driver.Change{ID: id, Kind: "x", Revision: revision, Status: driver.Leased, Due: at.Add(due)}
	}
	a1, a2, a3, b1 := change("a", 1, 0), change("a", 2, 0), change("a", 3, 0), change("b", 1, 0)
	overtaken2, overtaken3, overtaken4 := change("a", 2, time.Second), change("a", 3, time.Second), change("a", 4, time.Second)
	const (
		fine  = "" // the other outcomes are in what the error says
		wrong = "is no change that was still to come"
		lacks = "the feed has not told these changes"
	)
	for name, tc := range map[string]struct {
		told                  []driver.Change
		strict, withFailovers string
	}{
		"all in order":                    {[]driver.Change{a1, b1, a2, a3}, fine, fine},
		"only the last":                   {[]driver.Change{a3, b1}, fine, fine},
		"nothing":                         {nil, lacks, lacks},
		"not the last":                    {[]driver.Change{a1, a2, b1}, lacks, lacks},
		"not the other record":            {[]driver.Change{a1, a2, a3}, lacks, lacks},
		"twice":                           {[]driver.Change{a1, a2, a3, a3, b1}, wrong, wrong},
		"backwards":                       {[]driver.Change{a1, a3, a2, b1}, wrong, wrong},
		"overtaken by the next":           {[]driver.Change{a1, overtaken2, a2, a3, b1}, wrong, fine},
		"overtaken by one after the next": {[]driver.Change{a1, overtaken2, a3, b1}, wrong, fine},
		"two overtaken":                   {[]driver.Change{a1, overtaken2, overtaken3, a3, b1}, wrong, fine},
		"overtaken, the other is to come": {[]driver.Change{a1, a2, overtaken3, b1}, wrong, lacks},
		"overtaken by another record":     {[]driver.Change{a1, a2, a3, overtaken3, b1}, wrong, wrong},
		"unknown and not overtaken":       {[]driver.Change{a1, overtaken4, a2, a3, b1}, wrong, wrong},
		"unknown of a record without any": {[]driver.Change{a3, b1, change("c", 1, 0)}, wrong, wrong},
		"unknown of what came to its end": {[]driver.Change{a3, overtaken2, b1}, wrong, wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newState()
			s.changes = []driver.Change{a1, b1, a2, a3}
			for failovers, want := range map[bool]string{false: tc.strict, true: tc.withFailovers} {
				err := s.explains(tc.told, failovers)
				if want == fine {
					require.NoError(t, err, "failovers: %t", failovers)
					continue
				}
				require.ErrorContains(t, err, want, "failovers: %t", failovers)
				require.Equal(t, want == lacks, errors.Is(err, errFeedLacks), "whether more is waited for")
			}
		})
	}
}
