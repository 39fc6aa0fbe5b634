// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// partly has no room for one record, and applies the others of its batch.
type partly struct {
	*faulty
	full string
}

func (p *partly) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	all := req.Transitions
	verdicts := make([]driver.Verdict, len(all))
	req.Transitions = nil
	var fit []int
	for i := range all {
		if all[i].Record.ID == p.full {
			verdicts[i].Err = driver.Full
			continue
		}
		fit, req.Transitions = append(fit, i), append(req.Transitions, all[i])
	}
	if len(fit) == 0 {
		return driver.CommitResponse{Verdicts: verdicts}, nil
	}
	resp, err := p.faulty.Commit(ctx, req)
	if err != nil {
		return resp, err
	}
	for n, i := range fit {
		verdicts[i] = resp.Verdicts[n]
	}
	resp.Verdicts = verdicts
	return resp, nil
}

// A record that was applied in a batch which another record made fail is not
// "certainly not done" for its caller.
func TestAppliedInAFailedBatchIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFaulty(nil)
		c, err := chain.Open(t.Context(), chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Store: &partly{f, "full"}}}})
		require.NoError(t, err)
		release := make(chan struct{})
		f.commits(func(driver.CommitRequest) error { <-release; return nil })
		fits := make(chan error, 1)
		start := func(id string, done chan<- error) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := c.Start(ctx, chain.Workflow{ID: id, Kind: "call"})
				done <- err
			}()
		}
		others := make(chan error, 3)
		start("one", others)
		synctest.Wait()
		start("two", others)
		synctest.Wait() // both slots are busy, so that the next two are one batch
		start("fits", fits)
		start("full", others)
		synctest.Wait()
		close(release)
		require.ErrorIs(t, <-fits, driver.Unknown)
		require.NotNil(t, f.held(t, "fits"), "it was applied")
		synctest.Wait()
		require.Len(t, others, 3)
		require.NoError(t, c.Close(t.Context()))
	})
}

// The first attempt was done and its answer lost; that the repeat is refused
// does not undo it.
func TestRefusedRepeatOfAnUnknownOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		b.stores[0].loseAnswers(1, "commit")
		b.stores[0].commits(func(driver.CommitRequest) error {
			if b.stores[0].count("commit") > 1 {
				return driver.Internal
			}
			return nil
		})
		_, err := b.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call"})
		require.ErrorIs(t, err, driver.Unknown)
		require.ErrorIs(t, err, driver.Internal, "the cause")
		require.NotNil(t, b.stores[0].held(t, "w"), "it was applied")
	})
}

// A record that the active link has, though its caller has gone without knowing,
// comes to the standby: others see it in the active link.
func TestUnknownOutcomeIsSettledWithoutItsCaller(t *testing.T) {
	t.Parallel()
	for name, recovers := range map[string]bool{"SameLink": true, "Failover": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				b.stores[0].loseAnswers(1, "commit")
				ctx, cancel := context.WithCancel(t.Context())
				b.stores[0].commits(func(driver.CommitRequest) error {
					n := b.stores[0].count("commit")
					if n == 2 {
						cancel() // before the repeat
					}
					if n == 2 || n > 2 && !recovers {
						return driver.Unavailable
					}
					return nil
				})
				_, err := b.Start(ctx, chain.Workflow{ID: "w", Kind: "call"})
				require.ErrorIs(t, err, driver.Unknown)
				require.NotNil(t, b.stores[0].held(t, "w"), "it was applied")
				within(t, 20*time.Second, "the standby has it", func() bool { return b.stores[1].held(t, "w") != nil })
				if recovers {
					require.Equal(t, b.stores[0].held(t, "w"), b.stores[1].held(t, "w"))
				}
			})
		})
	}
}

// between makes the answer of the next commit lost, after it was done if applied is
// true and before it otherwise, and calls f before the commit is repeated.
func (f *faulty) between(applied bool, then func()) {
	var commits atomic.Int64
	lost := func(when bool) error {
		if when == applied && commits.Load() == 1 {
			return driver.Unknown
		}
		return nil
	}
	f.commits(func(driver.CommitRequest) error {
		if commits.Add(1) == 2 {
			then()
		}
		return lost(false)
	})
	f.answers(func(op string) error {
		if op != "commit" {
			return nil
		}
		return lost(true)
	})
}

// apply makes a transition in the store itself, as another host may.
func (f *faulty) apply(t *testing.T, id string, transition func(driver.Stamp, driver.Record) (driver.Transition, error)) driver.Record {
	t.Helper()
	r := *f.held(t, id)
	next, err := transition(driver.Stamp{Epoch: r.Epoch, Token: driver.NewToken(), Now: time.Now(), Lease: r.Lease.Token}, r)
	require.NoError(t, err)
	resp, err := f.Store.Commit(t.Context(), driver.CommitRequest{Guard: driver.Guard{Epoch: f.epoch(t).Number}, Transitions: []driver.Transition{next}})
	require.NoError(t, err)
	require.NoError(t, resp.Verdicts[0].Err)
	return next.Record
}

func claimBy(owner string) func(driver.Stamp, driver.Record) (driver.Transition, error) {
	return func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		return driver.Claim(s, r, owner, s.Now.Add(time.Hour))
	}
}

func extend(s driver.Stamp, r driver.Record) (driver.Transition, error) {
	return driver.Extend(s, r, s.Now.Add(time.Hour))
}

func requeue(s driver.Stamp, r driver.Record) (driver.Transition, error) {
	return driver.Requeue(s, r, s.Now)
}

// A repeat that meets what others have made of the workflow since does not know
// whether its first attempt was part of that.
func TestOvertakenRepeat(t *testing.T) {
	t.Parallel()
	cancelled := func(t *testing.T, b *bench) {
		_, err := b.Cancel(t.Context(), "w", "test")
		require.NoError(t, err)
	}
	leased := func(t *testing.T, b *bench) { b.stores[0].apply(t, "w", claimBy("other")) }
	cancel := func(ctx context.Context, b *bench) (driver.Record, error) { return b.Cancel(ctx, "w", "test") }
	for name, tc := range map[string]struct {
		before  func(*testing.T, *bench)
		call    func(context.Context, *bench) (driver.Record, error)
		applied bool
		then    func(*testing.T, *faulty)
		class   driver.Class
		status  driver.Status // that is stored then
	}{
		"RequeuedAndClaimed": {cancelled, func(ctx context.Context, b *bench) (driver.Record, error) { return b.Requeue(ctx, "w") }, true,
			func(t *testing.T, f *faulty) { f.apply(t, "w", claimBy("other")) }, driver.Unknown, driver.Leased},
		"CancelledAndRequeued": {leased, cancel, true,
			func(t *testing.T, f *faulty) { f.apply(t, "w", requeue) }, driver.Unknown, driver.Ready},
		"NotCancelledByTheLease": {leased, cancel, false,
			func(t *testing.T, f *faulty) { f.apply(t, "w", extend); f.apply(t, "w", extend) }, 0, driver.Cancelled},
		"NotCancelledByTheRevision": {leased, cancel, false,
			func(t *testing.T, f *faulty) { f.apply(t, "w", extend) }, 0, driver.Cancelled},
		"CancelledTwice": {leased, cancel, true,
			func(t *testing.T, f *faulty) {
				f.apply(t, "w", requeue)
				f.apply(t, "w", func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
					return driver.Cancel(s, r, "other", time.Time{})
				})
			}, 0, driver.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 1)
				b.start(t, "w")
				tc.before(t, b)
				b.stores[0].between(tc.applied, func() { tc.then(t, b.stores[0]) })
				r, err := tc.call(t.Context(), b)
				require.Equal(t, tc.class, driver.ClassOf(err), "%v", err)
				stored := *b.stores[0].held(t, "w")
				require.Equal(t, tc.status, stored.Status)
				if tc.class == 0 {
					require.Equal(t, stored, r)
					return
				}
				require.ErrorIs(t, err, driver.Conflict, "the cause")
				var e *driver.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, stored, *e.Stored)
			})
		})
	}
}

// The log of effects that the chain keeps in the output is not shown in errors.
func TestStoredRecordInErrorsIsAsApplicationsSeeIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		b.start(t, "w")
		b.stores[0].apply(t, "w", claimBy("other"))
		b.stores[0].apply(t, "w", func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
			r.Output = []byte(`{"effects":[]}`)
			return extend(s, r)
		})
		_, requeued := b.Requeue(t.Context(), "w")
		_, started := b.Start(t.Context(), chain.Workflow{ID: "w", Kind: "another"})
		for err, class := range map[error]driver.Class{requeued: driver.Conflict, started: driver.Exists} {
			var e *driver.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, class, e.Class)
			require.Equal(t, driver.Leased, e.Stored.Status)
			require.Empty(t, e.Stored.Output)
		}
	})
}

// A handler that has given the workflow back without knowing, and meets that another
// has it, stops; whether it was given back by it is not known.
func TestOvertakenYield(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 1)
		b.start(t, "w")
		yielded, ended := make(chan error, 1), make(chan error, 1)
		stop := b.work(t, chain.WorkOptions{Concurrency: 1}, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			b.stores[0].between(true, func() { b.stores[0].apply(t, "w", claimBy("other")) })
			yielded <- h.Yield(ctx, "next", nil)
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		})
		err := <-yielded
		require.Equal(t, driver.Unknown, driver.ClassOf(err))
		require.ErrorIs(t, err, driver.LeaseLost)
		require.ErrorIs(t, <-ended, driver.LeaseLost)
		require.Equal(t, "next", b.stores[0].held(t, "w").Step, "it was")
		require.NoError(t, stop())
	})
}

// So it is when the call that failed was another one than that which applied it.
func TestAppliedBeforeAFailureIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config := configOf(newStores(2)...)
		config.Policy.MinInSync = 1
		b := open(t, config)
		b.stores[1].fail(driver.Unavailable)
		ends := map[string]chan error{"applied": make(chan error, 1), "queued": make(chan error, 1)}
		start := func(id string) {
			_, err := b.Start(t.Context(), chain.Workflow{ID: id, Kind: "call"})
			ends[id] <- err
		}
		go start("applied")
		sleep(10 * time.Second)
		require.Empty(t, b.stores[0].epoch(t).InSync)
		go start("queued")
		synctest.Wait() // both wait for the standby, and go on together
		require.Nil(t, b.stores[0].held(t, "queued"))
		b.stores[0].fail(driver.Internal, "merge") // which brings what was applied into the new epoch
		b.stores[1].fail(nil)
		for id, end := range ends {
			require.ErrorIs(t, <-end, driver.Unknown, id)
			require.NotNil(t, b.stores[0].held(t, id), id)
		}
	})
}
