// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

func TestExpiredRecordsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	records := 100_000
	if testing.Short() {
		records = 5_000
	}
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, map[string]any{"stream_age": "1s", "shards": 2}))
	_, err := s.Advance(t.Context(), driver.AdvanceRequest{Next: driver.Epoch{Number: 1, Token: driver.NewToken(), Active: "a"}})
	require.NoError(t, err)
	guard := driver.Guard{Epoch: 1}
	for ids := range slices.Chunk(numbered("r", records), driver.MaxBatch) {
		req := driver.CommitRequest{Guard: guard}
		for _, id := range ids {
			start := workflow(t, id)
			start.Record.Epoch = 1
			ended, err := driver.Cancel(driver.Stamp{Epoch: 1, Token: driver.NewToken(), Now: time.Now()}, start.Record, "", time.Now().Add(time.Second))
			require.NoError(t, err)
			req.Transitions = append(req.Transitions, start)
			if len(req.Transitions) == driver.MaxBatch {
				finish(t, s, req)
				req.Transitions = nil
			}
			req.Transitions = append(req.Transitions, ended)
			if len(req.Transitions) == driver.MaxBatch {
				finish(t, s, req)
				req.Transitions = nil
			}
		}
		if len(req.Transitions) > 0 {
			finish(t, s, req)
		}
	}
	claim, err := s.Claim(t.Context(), driver.ClaimRequest{Guard: guard, Owner: "o", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: 1, Lease: time.Second})
	require.NoError(t, err)
	require.Empty(t, claim.Records)
	redistest.Eventually(t, "only the state of the shards is left", func() error {
		if n := server.Do(t, "DBSIZE"); n != "2" {
			return fmt.Errorf("there are still %s keys", n)
		}
		keys := strings.Fields(strings.Trim(server.Do(t, "KEYS", "*"), "[]"))
		slices.Sort(keys)
		if !slices.Equal(keys, []string{"{us:chain:0}:m", "{us:chain:1}:m"}) {
			return fmt.Errorf("there are still %d keys, such as %s", len(keys), keys[0])
		}
		return nil
	})
	e, err := s.Epoch(t.Context(), driver.EpochRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 1, e.Epoch.Number)
}

func finish(t *testing.T, s driver.Store, req driver.CommitRequest) {
	t.Helper()
	resp, err := s.Commit(t.Context(), req)
	require.NoError(t, err)
	for i, v := range resp.Verdicts {
		require.NoError(t, v.Err, "transition %d", i)
	}
}
