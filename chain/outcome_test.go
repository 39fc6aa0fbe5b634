// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
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
