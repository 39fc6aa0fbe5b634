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

func TestStartIsIdempotent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		w := chain.Workflow{ID: "w", Kind: "call", Input: []byte("in"), Labels: map[string]string{"site": "one"}}
		first, err := b.Start(t.Context(), w)
		require.NoError(t, err)
		require.Equal(t, driver.Ready, first.Status)
		again, err := b.Start(t.Context(), w)
		require.NoError(t, err)
		require.Equal(t, first.Token, again.Token)
		require.Equal(t, uint64(1), again.Revision)

		for says, other := range map[string]chain.Workflow{
			`start "w": exists: there is a workflow with this id and another input, created at `: {ID: "w", Kind: "call", Input: []byte("other")},
			`start "w": exists: there is a workflow with this id and kind "call", created at `:   {ID: "w", Kind: "other", Input: []byte("in")},
		} {
			_, err := b.Start(t.Context(), other)
			require.ErrorIs(t, err, driver.Exists)
			require.ErrorContains(t, err, says)
		}
		_, err = b.Start(t.Context(), chain.Workflow{Kind: "call"})
		require.ErrorIs(t, err, driver.Invalid)
		_, err = b.Start(t.Context(), chain.Workflow{ID: "x", Kind: "call", Input: make([]byte, driver.MaxRecordBytes)})
		require.ErrorIs(t, err, driver.TooLarge)
	})
}

// The host that started it died before the standby had it; whoever is told that
// it is started must be able to rely on it.
func TestStartOfWhatIsStoredReachesTheStandby(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		tr, err := driver.Start(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()}, chain.Workflow{ID: "w", Kind: "call"})
		require.NoError(t, err)
		_, err = b.stores[0].Store.Commit(t.Context(), driver.CommitRequest{Guard: driver.Guard{Epoch: firstEpoch}, Transitions: []driver.Transition{tr}})
		require.NoError(t, err)
		require.Nil(t, b.stores[1].held(t, "w"))
		_, err = b.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call"})
		require.NoError(t, err)
		require.NotNil(t, b.stores[1].held(t, "w"))
	})
}

// The link that has it fails while the standby is still to be given it: then it is
// started there.
func TestStartOfWhatIsStoredGoesOnOverAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		tr, err := driver.Start(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()}, chain.Workflow{ID: "w", Kind: "call"})
		require.NoError(t, err)
		_, err = b.stores[0].Store.Commit(t.Context(), driver.CommitRequest{Guard: driver.Guard{Epoch: firstEpoch}, Transitions: []driver.Transition{tr}})
		require.NoError(t, err)
		b.stores[1].hook(func(_ context.Context, op string) error {
			if op == "merge" {
				b.stores[0].fail(driver.Unavailable)
				return driver.Unavailable
			}
			return nil
		})
		merges := b.stores[1].count("merge")
		r, err := b.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call"})
		require.NoError(t, err)
		require.Greater(t, b.stores[1].count("merge"), merges, "it was found in the link that then failed")
		require.Equal(t, "b", b.Status().Epoch.Active)
		require.Equal(t, r.Token, b.stores[1].held(t, "w").Token)
		require.NotEqual(t, tr.Record.Token, r.Token)
	})
}

func TestNothingIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		input := []byte("in")
		r, err := b.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call", Input: input})
		require.NoError(t, err)
		input[0], r.Input[1] = 'X', 'Y'
		got, err := b.Get(t.Context(), "w")
		require.NoError(t, err)
		require.Equal(t, "in", string(got.Input))
		require.Equal(t, "in", string(b.stores[1].held(t, "w").Input))
	})
}

func TestGetAndErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		_, err := b.Get(t.Context(), "nosuch")
		require.ErrorIs(t, err, driver.NotFound)
		require.ErrorContains(t, err, `test: get "nosuch"`)
		_, err = b.Get(t.Context(), "")
		require.ErrorIs(t, err, driver.Invalid)
		_, err = b.Cancel(t.Context(), "nosuch", "")
		require.ErrorIs(t, err, driver.NotFound)
		b.start(t, "w")
		r, err := b.Requeue(t.Context(), "w")
		require.NoError(t, err, "it is ready already")
		require.Equal(t, uint64(1), r.Revision)
		_, err = b.Cancel(t.Context(), "w", "why")
		require.NoError(t, err)
		r, err = b.Requeue(t.Context(), "w")
		require.NoError(t, err)
		require.Equal(t, driver.Ready, r.Status)
		require.Equal(t, uint64(3), r.Revision)
	})
}

func TestCancelAndRequeueInEachStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[driver.Status]struct{ cancel, requeue driver.Status }{ // Absent: refused
		driver.Ready:     {driver.Cancelled, driver.Ready},
		driver.Leased:    {driver.Cancelled, driver.Absent},
		driver.Waiting:   {driver.Cancelled, driver.Ready},
		driver.Succeeded: {driver.Absent, driver.Absent},
		driver.Failed:    {driver.Absent, driver.Ready},
		driver.Cancelled: {driver.Cancelled, driver.Ready},
	} {
		t.Run(status.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				for _, id := range []string{"cancel", "requeue"} {
					due := time.Time{}
					if status == driver.Ready || status == driver.Cancelled {
						due = time.Now().Add(time.Hour)
					}
					_, err := b.Start(t.Context(), chain.Workflow{ID: id, Kind: "call", Due: due})
					require.NoError(t, err)
				}
				stop := b.work(t, chain.WorkOptions{}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
					switch status {
					case driver.Leased:
						<-ctx.Done()
					case driver.Waiting:
						_, err := h.Once(ctx, "feed", func(context.Context, string) ([]byte, error) { return nil, errTest }, nil)
						return nil, err
					case driver.Failed:
						return nil, chain.Permanent(errTest)
					}
					return nil, nil
				})
				for _, id := range []string{"cancel", "requeue"} {
					if status == driver.Cancelled {
						_, err := b.Cancel(t.Context(), id, "first")
						require.NoError(t, err)
					}
					b.until(t, id, status)
				}
				for id, to := range map[string]driver.Status{"cancel": want.cancel, "requeue": want.requeue} {
					change := b.Requeue
					if id == "cancel" {
						change = func(ctx context.Context, id string) (chain.Record, error) { return b.Cancel(ctx, id, "why") }
					}
					r, err := change(t.Context(), id)
					if to == driver.Absent {
						require.ErrorIs(t, err, driver.Conflict, id)
						require.ErrorContains(t, err, "it is "+status.String(), id)
						continue
					}
					require.NoError(t, err, id)
					require.Equal(t, to, r.Status, id)
				}
				require.NoError(t, stop())
			})
		})
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		for i := range 25 {
			b.start(t, fmt.Sprint(i))
		}
		f := chain.Filter{Kinds: []string{"call"}, Limit: 10}
		found, pages := map[string]bool{}, 0
		for {
			page, err := b.List(t.Context(), f)
			require.NoError(t, err)
			pages++
			for _, r := range page.Records {
				require.False(t, found[r.ID])
				found[r.ID] = true
			}
			if f.Cursor = page.Next; f.Cursor == "" {
				break
			}
		}
		require.Len(t, found, 25)
		require.GreaterOrEqual(t, pages, 3)

		page, err := b.List(t.Context(), chain.Filter{Limit: 10})
		require.NoError(t, err)
		require.NotEmpty(t, page.Next)
		b.stores[0].fail(driver.Unavailable)
		_, err = b.List(t.Context(), chain.Filter{Limit: 10, Cursor: page.Next})
		require.ErrorIs(t, err, driver.CursorLost, "the chain has moved")
		_, err = b.List(t.Context(), chain.Filter{Cursor: "nonsense"})
		require.ErrorIs(t, err, driver.Invalid)
	})
}

// What is stored already is acknowledged by no fewer links than what is new.
func TestStartOfWhatIsStoredWaitsForStandbys(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(context.Context, *bench) (driver.Record, error){
		"Start": func(ctx context.Context, b *bench) (driver.Record, error) {
			return b.Start(ctx, chain.Workflow{ID: "w", Kind: "call"})
		},
		"Requeue": func(ctx context.Context, b *bench) (driver.Record, error) { return b.Requeue(ctx, "w") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := configOf(newStores(2)...)
				config.Policy.MinInSync = 1
				b := open(t, config)
				tr, err := driver.Start(driver.Stamp{Epoch: firstEpoch, Token: driver.NewToken(), Now: time.Now()}, chain.Workflow{ID: "w", Kind: "call"})
				b.stores[0].alone(t, tr, err)
				b.stores[1].fail(driver.Unavailable)
				done := make(chan error, 1)
				go func() {
					_, err := call(t.Context(), b)
					done <- err
				}()
				sleep(time.Minute)
				require.Empty(t, b.stores[0].epoch(t).InSync, "the standby was dropped")
				require.Empty(t, done)
				b.stores[1].fail(nil)
				require.NoError(t, <-done)
				require.NotNil(t, b.stores[1].held(t, "w"))
			})
		})
	}
}

// It ends with its context, too.
func TestStartOfWhatIsStoredEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(2)...)
		config.Policy.MinInSync = 1
		b := open(t, config)
		b.start(t, "w")
		b.stores[1].fail(driver.Unavailable)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		_, err := b.Start(ctx, chain.Workflow{ID: "w", Kind: "call", Input: []byte("input of w")})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(began))
	})
}
