// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// moves returns groups of one record each, of as many workflows in turn.
func moves(n, workflows int) []*mergeGroup {
	var groups []*mergeGroup
	for i := range n {
		groups = append(groups, &mergeGroup{records: []driver.Record{
			{ID: fmt.Sprint("w", i%workflows), Revision: uint64(1 + i/workflows), Epoch: 1, Input: make([]byte, 100)},
		}})
	}
	return groups
}

// TestMergesTakeTheLatest: what waits for a standby goes in as few records as there
// are workflows, the latest of each, however often they have moved.
func TestMergesTakeTheLatest(t *testing.T) {
	t.Parallel()
	groups := moves(2000, 200)
	c := combiner[*mergeGroup]{queue: groups, due: len(groups)}
	batch := c.take()
	require.Len(t, batch, 2000)
	records := latest(batch)
	require.Len(t, records, 200)
	for i := range records {
		require.Equal(t, fmt.Sprint("w", i), records[i].ID)
		require.Equal(t, uint64(10), records[i].Revision)
	}

	require.Equal(t, records, latest(append(moves(2000, 200)[1000:], moves(1000, 200)...)), "in any order")
}

func TestMergesKeepToTheLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		groups []*mergeGroup
		want   int
	}{
		"AllDifferent":    {moves(2000, 2000), driver.MaxBatch},
		"OneMoreThanFits": {moves(2000, driver.MaxBatch+1), driver.MaxBatch},
		"Endless":         {moves(2*maxLooked, 1), maxLooked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := combiner[*mergeGroup]{queue: tt.groups, due: len(tt.groups)}
			batch := c.take()
			require.Len(t, batch, tt.want)
			require.LessOrEqual(t, len(latest(batch)), driver.MaxBatch)
		})
	}

	// The sizes of the largest versions count.
	groups := moves(6, 3)
	for i, g := range groups {
		g.records[0].Input = make([]byte, driver.MaxBatchBytes/8*(1+i%2*2))
	}
	c := combiner[*mergeGroup]{queue: groups, due: len(groups)}
	taken := 0
	for len(c.queue) > 0 {
		batch := c.take()
		taken += len(batch)
		bytes := 0
		for _, r := range latest(batch) {
			bytes += driver.EncodedSize(&r)
		}
		require.LessOrEqual(t, bytes, driver.MaxBatchBytes)
	}
	require.Equal(t, 6, taken)
}
