// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
)

// open opens a store, which is closed at the end of the test. Time limits that are
// not configured are those of a machine that does much else.
func open(tb testing.TB, chain string, config json.RawMessage) *redis.Store {
	tb.Helper()
	var c map[string]any
	require.NoError(tb, json.Unmarshal(config, &c))
	config, err := json.Marshal(unhurried(c))
	require.NoError(tb, err)
	s, err := redis.Open(tb.Context(), driver.OpenRequest{Chain: chain, Link: "redis", Config: config, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute)
		defer cancel()
		require.NoError(tb, s.Close(ctx))
	})
	return s
}

// plain returns a configuration for a server without TLS on this machine.
func plain(tb testing.TB, addr string, changes map[string]any) json.RawMessage {
	tb.Helper()
	c := map[string]any{"mode": "standalone", "addresses": []string{addr}}
	maps.Copy(c, changes)
	b, err := json.Marshal(c)
	require.NoError(tb, err)
	return b
}

// workflow returns the transition that starts a workflow with a body of 512 bytes.
func workflow(tb testing.TB, id string) driver.Transition {
	tb.Helper()
	tr, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: time.Now().Add(-time.Minute)},
		driver.Workflow{ID: id, Kind: "call", Input: make([]byte, 512)})
	require.NoError(tb, err)
	return tr
}

// commit stores new workflows and returns the marks of the answer.
func commit(tb testing.TB, s driver.Store, seen driver.Marks, ids ...string) driver.Marks {
	tb.Helper()
	marks, err := tryCommit(tb, s, seen, ids...)
	require.NoError(tb, err)
	return marks
}

func tryCommit(tb testing.TB, s driver.Store, seen driver.Marks, ids ...string) (driver.Marks, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	req := driver.CommitRequest{Guard: driver.Guard{Seen: seen}}
	for _, id := range ids {
		req.Transitions = append(req.Transitions, workflow(tb, id))
	}
	resp, err := s.Commit(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, v := range resp.Verdicts {
		require.NoError(tb, v.Err)
	}
	return resp.Marks, nil
}

func numbered(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%08d", prefix, i)
	}
	return ids
}

// errEnough ends a feed.
var errEnough = errors.New("enough")

func ignore(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
