// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// work runs Work until the returned function is called, which waits for its end.
func (b *bench) work(t *testing.T, options chain.WorkOptions, handler chain.Handler) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Work(ctx, "call", handler, options) }()
	return func() error {
		cancel()
		return <-done
	}
}

// until waits until the workflow has a status.
func (b *bench) until(t *testing.T, id string, status driver.Status) driver.Record {
	t.Helper()
	var r driver.Record
	eventually(t, fmt.Sprintf("%s is %s", id, status), func() bool {
		var err error
		r, err = b.Get(t.Context(), id)
		require.NoError(t, err)
		return r.Status == status
	})
	return r
}

func TestWorkGoesOnFromTheSavePoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		keys := map[string]bool{}
		stop := b.work(t, chain.WorkOptions{}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			require.Equal(t, "w", h.ID())
			require.Equal(t, "input of w", string(h.Input()))
			keys[h.IdempotencyKey("charge")] = true
			switch h.Step() {
			case "":
				require.Equal(t, 1, h.Attempt())
				require.NoError(t, h.Save(ctx, "first", []byte("1")))
				return nil, errTest
			case "first":
				require.Equal(t, "1", string(h.State()))
				if h.Attempt() == 1 {
					require.FailNow(t, "the save point began attempt 1, this is a later one")
				}
				return nil, h.Yield(ctx, "second", []byte("2"))
			}
			require.Equal(t, "second", h.Step())
			require.Equal(t, 1, h.Attempt())
			return []byte("out"), nil
		})
		b.start(t, "w")
		r := b.until(t, "w", driver.Succeeded)
		require.Equal(t, "out", string(r.Output))
		require.NoError(t, stop())
		require.Len(t, keys, 1, "one key per step, in all attempts")
	})
}

func TestRetriesUntilExhausted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		var attempts []time.Time
		stop := b.work(t, chain.WorkOptions{Retry: chain.RetryPolicy{MaxAttempts: 4, Backoff: 10 * time.Second, MaxBackoff: 20 * time.Second}},
			func(context.Context, *chain.Handle) ([]byte, error) {
				attempts = append(attempts, time.Now())
				return nil, fmt.Errorf("attempt %d: %w", len(attempts), errTest)
			})
		b.start(t, "w")
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the clock of the bubble
		r := b.until(t, "w", driver.Failed)
		synctest.Wait()
		require.Equal(t, "attempt 4: test", r.Failure)
		require.Len(t, attempts, 4)
		require.InDelta(t, 10, attempts[1].Sub(attempts[0]).Seconds(), 2.6)
		require.InDelta(t, 20, attempts[3].Sub(attempts[2]).Seconds(), 5.1)

		attempts = nil
		_, err := b.Requeue(t.Context(), "w")
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, attempts, 1, "requeued work starts at once")
		require.NoError(t, stop())
	})
}

func TestPermanentErrorsAndPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		stop := b.work(t, chain.WorkOptions{Retry: chain.RetryPolicy{MaxAttempts: 1}}, func(_ context.Context, h *chain.Handle) ([]byte, error) {
			switch h.ID() {
			case "permanent":
				return nil, fmt.Errorf("wrapped: %w", chain.Permanent(errTest))
			case "panics":
				panic("on purpose")
			}
			return make([]byte, driver.MaxRecordBytes), nil
		})
		for _, id := range []string{"permanent", "panics", "too large"} {
			b.start(t, id)
		}
		require.Equal(t, "wrapped: test", b.until(t, "permanent", driver.Failed).Failure)
		failure := b.until(t, "panics", driver.Failed).Failure
		require.Contains(t, failure, "panic: on purpose")
		require.Contains(t, failure, "work_test.go", "the stack")
		require.Contains(t, b.until(t, "too large", driver.Failed).Failure, "cannot be stored")
		require.NoError(t, stop())
		require.NoError(t, chain.Permanent(nil))
		require.ErrorIs(t, chain.Permanent(errTest), errTest)
	})
}

// A panic stands in the log also where it ends no attempt as failed.
func TestEveryPanicIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		stop := b.work(t, chain.WorkOptions{Drain: time.Second}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			switch {
			case h.ID() == "given back" && h.Step() == "":
				require.NoError(t, h.Yield(ctx, "next", nil))
			case h.ID() == "given back":
				return nil, nil
			default:
				<-ctx.Done()
			}
			panic("on purpose: " + h.ID())
		})
		for _, id := range []string{"given back", "cancelled", "drained"} {
			b.start(t, id)
		}
		b.until(t, "given back", driver.Succeeded)
		_, err := b.Cancel(t.Context(), "cancelled", "")
		require.NoError(t, err)
		sleep(time.Minute)
		require.NoError(t, stop())
		require.Equal(t, driver.Ready, b.stores[0].held(t, "drained").Status, "it was given back all the same")
		var told []string
		for _, line := range b.logs.FilterMessage("handler panicked").All() {
			require.Equal(t, zap.ErrorLevel, line.Level)
			require.Contains(t, line.ContextMap()["error"], fmt.Sprintf("panic: on purpose: %s\n", line.ContextMap()["id"]))
			require.Contains(t, line.ContextMap()["error"], "work_test.go", "the stack")
			told = append(told, fmt.Sprint(line.ContextMap()["id"]))
		}
		require.ElementsMatch(t, []string{"given back", "cancelled", "drained"}, told)
	})
}

func TestNewWorkStartsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		other := open(t, configOf(b.stores[0].another(), b.stores[1].another()))
		var at atomic.Int64
		stop := b.work(t, chain.WorkOptions{}, func(context.Context, *chain.Handle) ([]byte, error) {
			at.Store(time.Now().UnixNano())
			return nil, nil
		})
		synctest.Wait()
		for i, host := range []*bench{b, other} {
			time.Sleep(time.Hour) //nolint:forbidigo // the clock of the bubble
			began := time.Now()
			host.start(t, fmt.Sprint(i))
			b.until(t, fmt.Sprint(i), driver.Succeeded)
			require.Less(t, time.Unix(0, at.Load()).Sub(began), 50*time.Millisecond)
		}
		require.Less(t, b.stores[0].count("claim"), 1200, "an idle worker looks about four times a minute")
		require.NoError(t, stop())
	})
}

func TestPollingWithoutAChangeFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plain := newFaulty(nil)
		plain.about = func(d *driver.DescribeResponse) { d.Capabilities = nil }
		b := open(t, configOf(plain))
		other := open(t, configOf(plain.another()))
		var handled atomic.Int64
		stop := b.work(t, chain.WorkOptions{}, func(context.Context, *chain.Handle) ([]byte, error) {
			handled.Store(time.Now().UnixNano())
			return nil, nil
		})
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
		began := time.Now()
		other.start(t, "w")
		b.until(t, "w", driver.Succeeded)
		require.Less(t, time.Unix(0, handled.Load()).Sub(began), 1500*time.Millisecond)
		require.Zero(t, plain.count("changes"))
		require.NoError(t, stop())
	})
}

func TestLeaseSurvivesFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		var attempts atomic.Int64
		proceed := make(chan struct{})
		stop := b.work(t, chain.WorkOptions{Lease: 15 * time.Second}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			attempts.Add(1)
			<-proceed
			require.NoError(t, h.Save(ctx, "one", nil))
			time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
			return nil, ctx.Err()
		})
		b.start(t, "w")
		synctest.Wait()
		b.stores[0].freeze()
		close(proceed)
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the clock of the bubble
		r := b.until(t, "w", driver.Succeeded)
		require.Equal(t, movedEpoch, r.Epoch)
		require.Equal(t, int64(1), attempts.Load(), "the worker did not notice")
		require.NoError(t, stop())
	})
}

func TestHandlerStopsBeforeItsLeaseEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		other := open(t, configOf(b.stores[0].another()))
		var stopped, taken time.Time
		var late error
		stop := b.work(t, chain.WorkOptions{Lease: 8 * time.Second}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			<-ctx.Done()
			stopped = time.Now()
			require.ErrorIs(t, context.Cause(ctx), driver.LeaseLost)
			time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
			late = h.Save(context.WithoutCancel(ctx), "late", nil)
			return nil, nil
		})
		b.start(t, "w")
		synctest.Wait()
		b.stores[0].fail(driver.Unavailable) // for the first host only
		stopOther := other.work(t, chain.WorkOptions{}, func(context.Context, *chain.Handle) ([]byte, error) {
			taken = time.Now()
			return []byte("other"), nil
		})
		time.Sleep(30 * time.Second) //nolint:forbidigo // the clock of the bubble
		synctest.Wait()
		require.True(t, stopped.Before(taken), "stopped at %s, taken over at %s", stopped, taken)
		b.stores[0].fail(nil)
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
		synctest.Wait()
		require.ErrorIs(t, late, driver.LeaseLost, "one holder per lease")
		require.Equal(t, "other", string(b.until(t, "w", driver.Succeeded).Output))
		require.NoError(t, stop())
		require.NoError(t, stopOther())
	})
}

func TestCancelEndsTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		ended := make(chan error, 1)
		stop := b.work(t, chain.WorkOptions{}, func(ctx context.Context, _ *chain.Handle) ([]byte, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, nil
		})
		b.start(t, "w")
		synctest.Wait()
		r, err := b.Cancel(t.Context(), "w", "no longer wanted")
		require.NoError(t, err)
		require.Equal(t, driver.Cancelled, r.Status)
		require.ErrorIs(t, <-ended, driver.LeaseLost, "at the next heartbeat")
		require.NoError(t, stop())
		require.Equal(t, "no longer wanted", b.until(t, "w", driver.Cancelled).Failure)

		again, err := b.Cancel(t.Context(), "w", "again")
		require.NoError(t, err)
		require.Equal(t, r.Revision, again.Revision, "cancelling twice changes nothing")
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		stop := b.work(t, chain.WorkOptions{Drain: 5 * time.Second}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			if h.ID() == "quick" {
				time.Sleep(3 * time.Second) //nolint:forbidigo // the clock of the bubble
				return nil, ctx.Err()
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		b.start(t, "quick")
		b.start(t, "slow")
		synctest.Wait()
		began := time.Now()
		require.NoError(t, stop())
		require.Equal(t, 5*time.Second, time.Since(began))
		require.Equal(t, driver.Succeeded, b.stores[1].held(t, "quick").Status, "it was let end")
		slow := b.stores[1].held(t, "slow")
		require.Equal(t, driver.Ready, slow.Status, "it was given back")
		require.Zero(t, slow.Attempt, "and does not count as an attempt")
	})
}

func TestDrainDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		release := make(chan struct{})
		stop := b.work(t, chain.WorkOptions{Drain: time.Second}, func(context.Context, *chain.Handle) ([]byte, error) {
			<-release
			return nil, nil
		})
		b.start(t, "w")
		synctest.Wait()
		began := time.Now()
		require.ErrorContains(t, stop(), "1 handlers")
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Equal(t, driver.Leased, b.stores[0].held(t, "w").Status, "nobody may begin while it may still run")
		close(release)
	})
}

func TestCloseDropsHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		host, err := chain.Open(t.Context(), configOf(b.stores[0].another()))
		require.NoError(t, err)
		ended := make(chan error, 1)
		done := make(chan error, 1)
		go func() {
			done <- host.Work(t.Context(), "call", func(ctx context.Context, _ *chain.Handle) ([]byte, error) {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return nil, nil
			}, chain.WorkOptions{Lease: 3 * time.Second})
		}()
		b.start(t, "w")
		synctest.Wait()
		require.NoError(t, host.Close(t.Context()))
		require.ErrorIs(t, <-ended, chain.ErrClosed)
		require.ErrorIs(t, <-done, chain.ErrClosed)
		require.Equal(t, driver.Leased, b.stores[0].held(t, "w").Status, "the lease runs out")
		_, err = host.Get(t.Context(), "w")
		require.ErrorIs(t, err, chain.ErrClosed)
		_, err = host.Start(t.Context(), chain.Workflow{ID: "x", Kind: "call"})
		require.ErrorIs(t, err, chain.ErrClosed)

		stop := b.work(t, chain.WorkOptions{}, func(context.Context, *chain.Handle) ([]byte, error) { return nil, nil })
		b.until(t, "w", driver.Succeeded)
		require.NoError(t, stop())
	})
}

func TestWorkOptionsAreChecked(t *testing.T) {
	t.Parallel()
	b := openN(t, 1)
	nothing := func(context.Context, *chain.Handle) ([]byte, error) { return nil, nil }
	for name, options := range map[string]chain.WorkOptions{
		"Concurrency": {Concurrency: -1},
		"Lease":       {Lease: time.Microsecond},
		"Heartbeat":   {Lease: 30 * time.Second, Heartbeat: 11 * time.Second},
		"Drain":       {Drain: -1},
		"Backoff":     {Retry: chain.RetryPolicy{Backoff: -1}},
	} {
		err := b.Work(t.Context(), "call", nothing, options)
		require.ErrorIs(t, err, driver.Invalid)
		require.ErrorContains(t, err, name)
	}
	require.ErrorIs(t, b.Work(t.Context(), "", nothing, chain.WorkOptions{}), driver.Invalid)
}
