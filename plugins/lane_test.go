// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

func TestLane(t *testing.T) {
	t.Parallel()
	for mode, laned := range map[string]bool{"serve": true, "serve-plain": false} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			store, err := plugins.Launch(t.Context(), spec(mode))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close(context.WithoutCancel(t.Context()))) })
			if laned {
				require.Eventually(t, func() bool { return plugins.Laned(store) }, time.Minute, time.Millisecond)
			}
			_, err = store.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{{Record: record("a")}}})
			require.NoError(t, err)
			got, err := store.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
			require.NoError(t, err)
			require.Len(t, got.Records, 1)
			require.Equal(t, laned, plugins.Laned(store))
			is, err := store.Describe(t.Context(), driver.DescribeRequest{})
			require.NoError(t, err)
			require.NotContains(t, is.Details["environment"], plugins.LaneKey, "its children have no lane")
		})
	}
}

// BenchmarkLane compares a lone call by the lane with one over gRPC.
func BenchmarkLane(b *testing.B) {
	for _, mode := range []string{"serve", "serve-plain"} {
		b.Run(mode, func(b *testing.B) {
			store, err := plugins.Launch(b.Context(), spec(mode))
			require.NoError(b, err)
			defer func() { require.NoError(b, store.Close(context.WithoutCancel(b.Context()))) }()
			for b.Loop() {
				_, err := store.Get(b.Context(), driver.GetRequest{IDs: []string{"a"}})
				require.NoError(b, err)
			}
		})
	}
}
