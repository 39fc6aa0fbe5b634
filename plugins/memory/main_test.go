// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// build builds the plugin as users do.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "understudy-memory")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func TestBuiltPlugin(t *testing.T) {
	t.Parallel()
	path := build(t)
	spec := plugins.Spec{Path: path, Driver: "memory", Chain: "calls", Link: "first", Config: json.RawMessage(`{"max_records":10}`),
		PingTimeout: 10 * time.Second}
	store, err := plugins.Launch(t.Context(), spec)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close(context.WithoutCancel(t.Context()))) }()

	is, err := store.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	require.Equal(t, "memory", is.Driver)
	next := driver.Epoch{Number: 1, Token: driver.NewToken(), Active: "first"}
	_, err = store.Advance(t.Context(), driver.AdvanceRequest{Next: next})
	require.NoError(t, err)

	guard := driver.Guard{Epoch: 1}
	start, err := driver.Start(driver.Stamp{Epoch: 1, Token: driver.NewToken(), Now: time.Now()}, driver.Workflow{ID: "call-1", Kind: "call", Input: []byte("in")})
	require.NoError(t, err)
	committed, err := store.Commit(t.Context(), driver.CommitRequest{Guard: guard, Transitions: []driver.Transition{start}})
	require.NoError(t, err)
	require.NoError(t, committed.Verdicts[0].Err)
	claimed, err := store.Claim(t.Context(), driver.ClaimRequest{
		Guard: guard, Owner: "host", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: 1, Lease: time.Minute,
	})
	require.NoError(t, err)
	require.Len(t, claimed.Records, 1)
	require.Equal(t, "in", string(claimed.Records[0].Input))

	// What is only in memory goes with the process, and whoever knew it is told.
	require.NoError(t, syscall.Kill(store.Status().PID, syscall.SIGKILL))
	guard.Seen = claimed.Marks
	require.Eventually(t, func() bool {
		_, err = store.Commit(t.Context(), driver.CommitRequest{Guard: guard, Transitions: []driver.Transition{start}})
		return store.Status().Restarts == 1 && driver.ClassOf(err) != driver.Unknown
	}, time.Minute, 10*time.Millisecond)
	require.ErrorIs(t, err, driver.Lost)

	spec.Config = json.RawMessage(`{"max_recrods":10}`)
	_, err = plugins.Launch(t.Context(), spec)
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "max_recrods")

	out, err := exec.CommandContext(t.Context(), path).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "the memory driver as a plugin")
}
