// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// TestLargestRecordsAreWorkedOn: what is accepted can be claimed by whoever comes,
// however long his name and the reason for which an attempt has failed.
func TestLargestRecordsAreWorkedOn(t *testing.T) {
	t.Parallel()
	largest := func(try func(size int) error) (int, error) {
		var wrong error
		n := sort.Search(driver.MaxRecordBytes, func(size int) bool {
			err := try(size)
			if err != nil && !errors.Is(err, driver.TooLarge) {
				wrong = err
			}
			return err != nil
		})
		return n - 1, wrong
	}
	for name, handler := range map[string]chain.Handler{
		"Start": func(_ context.Context, h *chain.Handle) ([]byte, error) {
			if h.Attempt() < 3 {
				return nil, errors.New(strings.Repeat("ä reason ", driver.MaxFailureBytes))
			}
			return nil, nil
		},
		"Save": func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			if h.Step() == "" {
				_, err := largest(func(size int) error { return h.Save(ctx, "full", make([]byte, size)) })
				return nil, errors.Join(err, errors.New(strings.Repeat("reason ", driver.MaxFailureBytes)))
			}
			return nil, h.Save(ctx, "full", h.State()) // the reason makes room
		},
		"Yield": func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			for size := driver.MaxRecordBytes; h.Step() == ""; size-- {
				if err := h.Yield(ctx, "full", make([]byte, size)); !errors.Is(err, driver.TooLarge) {
					return nil, err
				}
			}
			return nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				config := configOf(newStores(2)...)
				config.Host = strings.Repeat("h", driver.MaxOwnerBytes)
				b := open(t, config)
				size := 10
				if name == "Start" {
					n := 0
					var err error
					size, err = largest(func(size int) error {
						n++
						_, err := b.Start(t.Context(), chain.Workflow{ID: fmt.Sprintf("%04d", n), Kind: "other", Input: make([]byte, size)})
						return err
					})
					require.NoError(t, err)
				}
				_, err := b.Start(t.Context(), chain.Workflow{ID: "full", Kind: "call", Input: make([]byte, size)})
				require.NoError(t, err)
				stop := b.work(t, quick, handler)
				within(t, time.Hour, "the end", func() bool { return b.stores[0].held(t, "full").Status == driver.Succeeded })
				require.NoError(t, stop())
				require.Zero(t, b.logs.FilterMessageSnippet("cannot").Len())
				require.True(t, driver.Equal(b.stores[0].held(t, "full"), b.stores[1].held(t, "full")))
			})
		})
	}
}

// A reason is cut to the room that there is.
func TestReasonOfALargestRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		w := chain.Workflow{ID: "w", Kind: "call"}
		for size := driver.MaxRecordBytes; ; size-- {
			w.Input = make([]byte, size)
			_, err := b.Start(t.Context(), w)
			if err == nil {
				break
			}
			require.ErrorIs(t, err, driver.TooLarge)
		}
		_, err := b.Cancel(t.Context(), "w", strings.Repeat("ä reason ", driver.MaxFailureBytes))
		require.NoError(t, err)
		_, err = b.Requeue(t.Context(), "w")
		require.NoError(t, err)
		stop := b.work(t, quick, func(context.Context, *chain.Handle) ([]byte, error) { return nil, nil })
		within(t, time.Hour, "the end", func() bool { return b.stores[0].held(t, "w").Status == driver.Succeeded })
		require.NoError(t, stop())
	})
}

// A reason that is no text grows when it is made one: it is cut all the same.
func TestReasonThatIsNoText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		const room = 600
		_, err := b.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call", Input: make([]byte, driver.MaxRecordBytes-room-driver.MaxOwnerBytes-200)})
		require.NoError(t, err)
		stop := b.work(t, quick, func(context.Context, *chain.Handle) ([]byte, error) {
			return nil, chain.Permanent(errors.New(strings.Repeat("a\xff", room/2)))
		})
		within(t, time.Hour, "the end", func() bool { return b.stores[0].held(t, "w").Status == driver.Failed })
		require.NoError(t, stop())
		require.Regexp(t, "^(a\uFFFD){50,}a?$", b.stores[0].held(t, "w").Failure)
		require.Zero(t, b.logs.FilterMessageSnippet("cannot").Len())
	})
}

// A save point finds the room that the failure of an earlier attempt has taken.
func TestSavePointInThePlaceOfAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			if h.Attempt() == 1 && h.Step() == "" {
				return nil, errors.New(strings.Repeat("reason ", driver.MaxFailureBytes))
			}
			return nil, h.Save(ctx, "full", make([]byte, driver.MaxRecordBytes-driver.MaxFailureBytes))
		})
		b.start(t, "w")
		r := b.until(t, "w", driver.Succeeded)
		require.NoError(t, stop())
		require.Len(t, r.State, driver.MaxRecordBytes-driver.MaxFailureBytes)
		require.Len(t, b.logs.FilterMessage("attempt failed").All(), 1)
	})
}
