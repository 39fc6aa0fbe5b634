// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// A function that was forgotten is told to the caller; it does not end every
// workflow as failed, one panic after the other.
func TestMissingFunctionsAreRefused(t *testing.T) {
	t.Parallel()
	b := openN(t, 1)
	b.start(t, "w")
	err := b.Work(t.Context(), "call", nil, chain.WorkOptions{})
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "handler is nil")
	err = b.Watch(t.Context(), chain.WatchFilter{}, nil)
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "emit is nil")

	stop := b.work(t, chain.WorkOptions{}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
		_, err := h.Once(ctx, "feed", nil, nil)
		return nil, chain.Permanent(err)
	})
	r := b.until(t, "w", driver.Failed)
	require.NoError(t, stop())
	require.Contains(t, r.Failure, "fn is nil")
	effects, err := b.Effects(t.Context(), "w")
	require.NoError(t, err)
	require.Empty(t, effects, "nothing was begun")
}

func TestOptionsWithoutAValueAreTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := chain.Open(t.Context(), configOf(newFaulty(nil)),
		chain.WithLogger(nil), chain.WithEvents(nil), chain.WithMetrics(nil), chain.WithTracer(nil))
	require.NoError(t, err)
	_, err = c.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call"})
	require.NoError(t, err)
	require.NoError(t, c.Close(t.Context()))
}
