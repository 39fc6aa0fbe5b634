// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

func batchOf(n int) []chain.Workflow {
	all := make([]chain.Workflow, n)
	for i := range all {
		all[i] = chain.Workflow{ID: fmt.Sprint("w", i), Kind: "call", Input: []byte(fmt.Sprint(i))}
	}
	return all
}

func TestStartBatchOfAnyNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		all := batchOf(1000)
		for i, s := range b.StartBatch(t.Context(), all) {
			require.NoError(t, s.Err)
			require.Equal(t, all[i].ID, s.Record.ID)
			require.NotNil(t, b.stores[1].held(t, s.Record.ID))
		}
		require.LessOrEqual(t, b.stores[0].count("commit"), 8, "full calls")
		require.Empty(t, b.StartBatch(t.Context(), nil))
	})
}

func TestStartBatchTellsOfEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		first := b.start(t, "there")
		started := b.StartBatch(t.Context(), []chain.Workflow{
			{ID: "new", Kind: "call"},
			{Kind: "call"},
			{ID: "there", Kind: "call", Input: []byte("input of there")},
			{ID: "there", Kind: "call", Input: []byte("another")},
			{ID: "large", Kind: "call", Input: make([]byte, driver.MaxRecordBytes)},
			{ID: "twice", Kind: "call"},
			{ID: "twice", Kind: "call"},
		})
		require.NoError(t, started[0].Err)
		require.ErrorIs(t, started[1].Err, driver.Invalid)
		require.NoError(t, started[2].Err)
		require.Equal(t, first, started[2].Record)
		require.ErrorIs(t, started[3].Err, driver.Exists)
		require.ErrorIs(t, started[4].Err, driver.TooLarge)
		require.NoError(t, started[5].Err)
		require.NoError(t, started[6].Err)
		require.Equal(t, started[5].Record, started[6].Record)
	})
}

func TestStartBatchGoesOnOverAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.stores[0].loseAnswers(1, "commit")
		time.AfterFunc(time.Millisecond, func() { b.stores[0].fail(driver.Unavailable) })
		for _, s := range b.StartBatch(t.Context(), batchOf(600)) {
			require.NoError(t, s.Err)
			require.NotNil(t, b.stores[1].held(t, s.Record.ID))
		}
	})
}

// A batch that ended half-way is started again as a whole.
func TestStartBatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		all := batchOf(700)
		require.NoError(t, b.StartBatch(t.Context(), all[:1])[0].Err)
		b.stores[0].freeze()
		b.stores[1].freeze()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		started := b.StartBatch(ctx, all)
		require.LessOrEqual(t, time.Since(began), 1100*time.Millisecond)
		require.ErrorIs(t, started[1].Err, driver.Unknown, "it was on its way")
		require.ErrorIs(t, started[699].Err, driver.Unavailable, "it was not sent")
		require.ErrorIs(t, started[699].Err, context.DeadlineExceeded)

		b.stores[0].fail(nil)
		b.stores[1].fail(nil)
		for _, s := range b.StartBatch(t.Context(), all) {
			require.NoError(t, s.Err)
		}
	})
}

// A long batch must not keep others waiting.
func TestStartBatchLeavesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		b.stores[0].hook(func(_ context.Context, op string) error {
			if op == "commit" {
				time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
			}
			return nil
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.StartBatch(t.Context(), batchOf(20*driver.MaxBatch))
		}()
		synctest.Wait()
		began := time.Now()
		b.start(t, "lone")
		require.LessOrEqual(t, time.Since(began), 300*time.Millisecond)
		<-done
	})
}
