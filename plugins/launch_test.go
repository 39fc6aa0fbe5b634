// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

// launch launches a helper, and closes it with the test. Its log is observed.
func launch(t *testing.T, s plugins.Spec) (*plugins.Store, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	s.Logger = zap.New(core)
	store, err := plugins.Launch(t.Context(), s)
	require.NoError(t, err)
	closeWithTest(t, store)
	return store, logs
}

func closeWithTest(t *testing.T, store *plugins.Store) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		require.NoError(t, store.Close(ctx))
	})
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition, generously: the machine may be busy.
func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, time.Minute, 5*time.Millisecond, what)
}

func record(id string) driver.Record {
	now := driver.Millis(time.Now())
	return driver.Record{
		ID: id, Kind: "call", Revision: 1, Epoch: 1, Token: driver.NewToken(), Status: driver.Ready,
		Due: now, Created: now, Updated: now, Input: []byte("input of " + id),
	}
}

func commit(ctx context.Context, store driver.Store, id string) error {
	_, err := store.Commit(ctx, driver.CommitRequest{
		Guard: driver.Guard{Epoch: 1}, Transitions: []driver.Transition{{Record: record(id)}},
	})
	return err
}

func get(ctx context.Context, store driver.Store, ids ...string) ([]driver.Record, error) {
	resp, err := store.Get(ctx, driver.GetRequest{IDs: ids})
	return resp.Records, err
}

func TestLaunchServesAStore(t *testing.T) {
	t.Parallel()
	store, _ := launch(t, spec("serve"))
	require.NoError(t, commit(t.Context(), store, "a"))
	records, err := get(t.Context(), store, "a")
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.Equal(t, "input of a", string(records[0].Input))

	is, err := store.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	require.Equal(t, "calls", is.Details["chain"])
	require.Equal(t, "first", is.Details["link"])

	status := store.Status()
	require.Equal(t, plugins.Running, status.State)
	require.NotZero(t, status.PID)
	require.Zero(t, status.Restarts)
	require.NoError(t, status.Err)
}
