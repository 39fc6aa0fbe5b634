// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// outside is what effects act on: it counts them by key.
type outside struct {
	mu    sync.Mutex
	calls map[string]int
}

func (o *outside) feed(_ context.Context, key string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls == nil {
		o.calls = map[string]int{}
	}
	o.calls[key]++
	return []byte("ticket of " + key), nil
}

func (o *outside) happened(_ context.Context, key string) (bool, []byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls[key] > 0, []byte("found " + key), nil
}

func (o *outside) total() (keys, calls int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.calls {
		calls += n
	}
	return len(o.calls), calls
}

var quick = chain.WorkOptions{Retry: chain.RetryPolicy{Backoff: time.Millisecond, MaxBackoff: time.Millisecond}}

func TestOnceIsDoneOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		var o outside
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			if h.Step() == "" {
				require.NoError(t, h.Save(ctx, "begun", []byte("mine")))
			}
			ticket, err := h.Once(ctx, "feed", o.feed, nil)
			require.NoError(t, err)
			require.Equal(t, "ticket of "+h.IdempotencyKey("feed"), string(ticket))
			require.Equal(t, "mine", string(h.State()), "the state is the application's")
			require.Equal(t, "begun", h.Step())
			if h.Attempt() < 4 {
				return nil, errTest
			}
			return ticket, nil
		})
		b.start(t, "w")
		r := b.until(t, "w", driver.Succeeded)
		require.Equal(t, "mine", string(r.State))
		require.Contains(t, string(r.Output), "ticket of ")
		keys, calls := o.total()
		require.Equal(t, [2]int{1, 1}, [2]int{keys, calls})
		effects, err := b.Effects(t.Context(), "w")
		require.NoError(t, err)
		require.Empty(t, effects, "it has succeeded")
		require.NoError(t, stop())
	})
}

// The process dies after the effect and before its result is recorded: in the
// record stands the intent alone.
func TestOnceAfterACrashAsksTheVerifier(t *testing.T) {
	t.Parallel()
	for _, reached := range []bool{true, false} {
		t.Run(fmt.Sprint("reached=", reached), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				one, two := newFaulty(nil), newFaulty(nil)
				first := open(t, configOf(one, two))
				second := open(t, configOf(one.another(), two.another()))
				var o outside
				acting := make(chan struct{})
				stop := first.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
					return h.Once(ctx, "feed", func(ctx context.Context, key string) ([]byte, error) {
						if reached {
							_, _ = o.feed(ctx, key)
						}
						close(acting)
						<-ctx.Done() // and never comes back
						return nil, ctx.Err()
					}, nil)
				})
				first.start(t, "w")
				<-acting
				effects, err := second.Effects(t.Context(), "w")
				require.NoError(t, err)
				require.Len(t, effects, 1)
				require.Equal(t, chain.EffectOpen, effects[0].State)
				require.NoError(t, first.Close(t.Context()))
				require.ErrorIs(t, stop(), chain.ErrClosed)

				stop = second.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
					require.Equal(t, effects[0].Key, h.IdempotencyKey("feed"))
					return h.Once(ctx, "feed", o.feed, o.happened)
				})
				time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble: the lease ends
				r := second.until(t, "w", driver.Succeeded)
				_, calls := o.total()
				require.Equal(t, 1, calls)
				require.Equal(t, reached, strings.HasPrefix(string(r.Output), "found "), "%s", r.Output)
				require.NoError(t, stop())
			})
		})
	}
}

func TestOnceWithoutVerifierWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprint("happened=", happened), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				var o outside
				broken := true
				var after error
				stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
					result, err := h.Once(ctx, "feed", func(ctx context.Context, key string) ([]byte, error) {
						if broken {
							broken = false
							return nil, errTest // a time-out, say
						}
						return o.feed(ctx, key)
					}, nil)
					if errors.Is(err, chain.ErrUnresolved) {
						require.ErrorIs(t, context.Cause(ctx), chain.ErrUnresolved)
						after = h.Save(ctx, "more", nil)
					}
					return result, err
				})
				b.start(t, "w")
				r := b.until(t, "w", driver.Waiting)
				require.Contains(t, r.Failure, `effect "feed" was begun at `)
				require.True(t, r.Due.IsZero())
				require.Empty(t, r.Output)
				synctest.Wait()
				require.Error(t, after, "it is no longer the handler's")
				waits := eventsOf[chain.EffectUnresolved](b)
				require.Len(t, waits, 1)
				require.Contains(t, r.Failure, waits[0].Key)

				_, err := b.Requeue(t.Context(), "w") // decides nothing
				require.NoError(t, err)
				synctest.Wait()
				b.until(t, "w", driver.Waiting)
				_, err = b.Resolve(t.Context(), "w", "nosuch", happened, nil)
				require.ErrorIs(t, err, driver.NotFound)
				_, err = b.Resolve(t.Context(), "w", "feed", true, make([]byte, chain.MaxEffectResult+1))
				require.ErrorIs(t, err, driver.TooLarge)

				r, err = b.Resolve(t.Context(), "w", "feed", happened, []byte("by hand"))
				require.NoError(t, err)
				require.Equal(t, driver.Ready, r.Status)
				require.Empty(t, r.Failure)
				r = b.until(t, "w", driver.Succeeded)
				_, calls := o.total()
				if happened {
					require.Equal(t, "by hand", string(r.Output))
					require.Zero(t, calls)
				} else {
					require.Equal(t, "ticket of "+waits[0].Key, string(r.Output))
					require.Equal(t, 1, calls)
				}
				require.NoError(t, stop())
			})
		})
	}
}

func TestResolveTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			return h.Once(ctx, "feed", func(context.Context, string) ([]byte, error) { return nil, chain.Permanent(errTest) }, nil)
		})
		b.start(t, "w")
		r := b.until(t, "w", driver.Failed)
		require.Contains(t, r.Failure, errTest.Error())
		require.NoError(t, stop())

		r, err := b.Resolve(t.Context(), "w", "feed", true, []byte("x"))
		require.NoError(t, err, "a failed workflow can be resolved too")
		require.Equal(t, driver.Ready, r.Status)
		again, err := b.Resolve(t.Context(), "w", "feed", true, []byte("x"))
		require.NoError(t, err)
		require.Equal(t, r, again)
		_, err = b.Resolve(t.Context(), "w", "feed", false, nil)
		require.ErrorIs(t, err, driver.Conflict)
		require.ErrorContains(t, err, `the effect "feed" is done`)
	})
}

func TestOnceErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		var o outside
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			_, err := h.Once(ctx, "", o.feed, nil)
			require.ErrorIs(t, err, driver.Invalid)
			_, err = h.Once(ctx, strings.Repeat("n", 257), o.feed, nil)
			require.ErrorIs(t, err, driver.Invalid)
			_, err = h.Once(ctx, "nested", func(ctx context.Context, _ string) ([]byte, error) {
				return h.Once(ctx, "nested", o.feed, nil)
			}, nil)
			require.ErrorIs(t, err, driver.Invalid, "under way")

			// Certainly not done: it may be begun again without asking anybody.
			for n := range 3 {
				_, err = h.Once(ctx, "refused", func(ctx context.Context, key string) ([]byte, error) {
					if n < 2 {
						return nil, chain.NotDone(fmt.Errorf("busy: %w", errTest))
					}
					return o.feed(ctx, key)
				}, nil)
				require.Equal(t, n < 2, errors.Is(err, errTest), "%v", err)
			}

			// What cannot be verified stays open.
			fails := func(context.Context, string) ([]byte, error) { return nil, errTest }
			_, err = h.Once(ctx, "unsure", fails, nil)
			require.ErrorIs(t, err, errTest)
			_, err = h.Once(ctx, "unsure", o.feed, func(context.Context, string) (bool, []byte, error) { return false, nil, errTest })
			require.ErrorContains(t, err, `effect "unsure" of "w": verify whether it happened: test`)
			_, err = h.Once(ctx, "unsure", o.feed, o.happened)
			require.NoError(t, err)

			_, err = h.Once(ctx, "long", func(context.Context, string) ([]byte, error) { return make([]byte, chain.MaxEffectResult+1), nil }, nil)
			require.ErrorIs(t, err, driver.TooLarge)
			return nil, nil
		})
		b.start(t, "w")
		b.until(t, "w", driver.Succeeded)
		require.NoError(t, stop())
	})
}

// An effect does not begin when its result could find the record full.
func TestOnceKeepsRoomForTheResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		var o outside
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			full := func(context.Context, string) ([]byte, error) {
				return bytes.Repeat([]byte{0xff}, chain.MaxEffectResult), nil
			}
			if err := h.Save(ctx, "s", make([]byte, driver.MaxRecordBytes-chain.MaxEffectResult-1000)); err != nil {
				return nil, err
			}
			if _, err := h.Once(ctx, "feed", o.feed, nil); !errors.Is(err, driver.TooLarge) {
				return nil, fmt.Errorf("want too large: %w", err)
			}
			if err := h.Save(ctx, "s", make([]byte, driver.MaxRecordBytes-chain.MaxEffectResult*4/3-1000)); err != nil {
				return nil, err
			}
			_, err := h.Once(ctx, "feed", full, nil)
			return nil, err
		})
		b.start(t, "w")
		b.until(t, "w", driver.Succeeded)
		_, calls := o.total()
		require.Zero(t, calls)
		require.NoError(t, stop())
	})
}

// The intent is recorded so slowly that the lease is over by then, as after a pause
// of the whole process: the effect does not begin.
func TestOnceDoesNotBeginAfterItsLease(t *testing.T) {
	t.Parallel()
	for range 10 { // the end of the lease and the answer come at the same time
		synctest.Test(t, func(t *testing.T) {
			config := configOf(newFaulty(nil))
			config.Policy.Timeout, config.Policy.Attempt = time.Minute, time.Minute
			b := open(t, config)
			var o outside
			var errs []error
			options := quick
			options.Lease, options.Heartbeat = 8*time.Second, 2*time.Second
			stop := b.work(t, options, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
				if h.Attempt() == 1 {
					b.stores[0].answers(func(op string) error {
						if op == "commit" {
							time.Sleep(7 * time.Second) //nolint:forbidigo // the clock of the bubble
						}
						return nil
					})
				}
				_, err := h.Once(context.WithoutCancel(ctx), "feed", o.feed, o.happened)
				b.stores[0].answers(nil)
				errs = append(errs, err)
				return nil, err
			})
			b.start(t, "w")
			within(t, time.Hour, "another attempt", func() bool { return b.stores[0].held(t, "w").Status == driver.Succeeded })
			require.NoError(t, stop())
			require.Len(t, errs, 2)
			require.ErrorIs(t, errs[0], driver.LeaseLost)
			keys, calls := o.total()
			require.Equal(t, [2]int{1, 1}, [2]int{keys, calls}, "in the second attempt")
		})
	}
}

func TestOnceOverAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		var o outside
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			return h.Once(ctx, "feed", func(ctx context.Context, key string) ([]byte, error) {
				b.stores[0].fail(driver.Unavailable)
				return o.feed(ctx, key)
			}, nil)
		})
		b.start(t, "w")
		b.until(t, "w", driver.Succeeded)
		_, calls := o.total()
		require.Equal(t, 1, calls)
		synctest.Wait()
		require.Len(t, eventsOf[chain.FailedOver](b), 1)
		require.NoError(t, stop())
	})
}

// What the chain keeps in the record is not shown as the application's output.
func TestEffectsAreNotShownAsOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		var o outside
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			if _, err := h.Once(ctx, "feed", o.feed, nil); err != nil {
				return nil, err
			}
			return nil, chain.Permanent(errTest)
		})
		b.start(t, "w")
		r := b.until(t, "w", driver.Failed)
		require.NoError(t, stop())
		require.Empty(t, r.Output)
		require.NotEmpty(t, b.stores[0].held(t, "w").Output)
		page, err := b.List(t.Context(), chain.Filter{})
		require.NoError(t, err)
		require.Empty(t, page.Records[0].Output)
		again := b.start(t, "w")
		require.Empty(t, again.Output)
		require.Equal(t, b.stores[0].held(t, "w").Output, b.stores[1].held(t, "w").Output)
		effects, err := b.Effects(t.Context(), "w")
		require.NoError(t, err)
		require.Equal(t, chain.EffectDone, effects[0].State)
		require.Equal(t, "ticket of "+effects[0].Key, string(effects[0].Result))
		r, err = b.Requeue(t.Context(), "w")
		require.NoError(t, err)
		require.Empty(t, r.Output)
	})
}
