// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// What a caller and the stores see of each action.
type seen int

const (
	toCaller   seen = iota // the error, after one attempt
	afterRetry             // success on the next link, after one attempt and three retries
	atOnce                 // success on the next link, after one attempt
	pausing                // one attempt at a time until the caller gives up: no epoch to follow
)

// TestDecisions goes through the whole table: every class that the active link
// may answer, for every kind of call.
func TestDecisions(t *testing.T) {
	t.Parallel()
	type row struct{ read, commit, verdict, claim seen }
	same := func(s seen) row { return row{s, s, s, s} }
	want := map[driver.Class]row{
		driver.NotFound:    same(toCaller),
		driver.Exists:      same(toCaller),
		driver.Conflict:    same(toCaller),
		driver.LeaseLost:   same(toCaller),
		driver.Invalid:     same(toCaller),
		driver.TooLarge:    same(toCaller),
		driver.Unsupported: same(toCaller),
		driver.Denied:      {atOnce, atOnce, toCaller, atOnce},
		driver.Fenced:      same(pausing),
		driver.Lost:        same(atOnce),
		driver.CursorLost:  same(toCaller),
		driver.Full:        {afterRetry, atOnce, atOnce, atOnce},
		driver.ReadOnly:    same(afterRetry),
		driver.Unavailable: same(afterRetry),
		driver.Unknown:     same(afterRetry),
		driver.Internal:    same(toCaller),
		driver.Class(200):  same(afterRetry), // of a later version: nothing is known of the outcome
	}
	require.Len(t, want, len(driver.Classes())+1, "a class without a decision")
	for class, row := range want {
		for _, cell := range []struct {
			op    string
			want  seen
			fault string
		}{{"read", row.read, "get"}, {"commit", row.commit, "commit"}, {"verdict", row.verdict, "verdict"}, {"claim", row.claim, "claim"}} {
			t.Run(class.String()+"/"+cell.op, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { checkDecision(t, class, cell.fault, cell.want) })
			})
		}
	}
}

func checkDecision(t *testing.T, class driver.Class, fault string, want seen) {
	t.Helper()
	b := openN(t, 2)
	b.start(t, "w")
	before := map[string]int{"get": b.stores[0].count("get"), "commit": b.stores[0].count("commit")}
	op := fault
	if fault == "verdict" {
		op = "commit"
		b.stores[0].verdicts(class)
	} else {
		b.stores[0].fail(class, fault)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var err error
	switch op {
	case "get":
		_, err = b.Get(ctx, "w")
	case "commit":
		_, err = b.Start(ctx, chain.Workflow{ID: "x", Kind: "call"})
	case "claim":
		checkClaim(t, b, want)
		return
	}
	attempts := b.stores[0].count(op) - before[op]
	if op == "commit" { // what is refused is not executed, and what moves on is executed once
		require.Nil(t, b.stores[0].held(t, "x"))
		if x := b.stores[1].held(t, "x"); err == nil {
			require.Equal(t, uint64(1), x.Revision)
		} else {
			require.Nil(t, x)
		}
	}
	switch want {
	case toCaller:
		require.ErrorIs(t, err, class)
		require.Equal(t, 1, attempts)
		require.Equal(t, firstEpoch, b.stores[1].epoch(t).Number, "poison must not fail over")
	case afterRetry:
		require.NoError(t, err)
		require.Equal(t, 4, attempts)
		require.Equal(t, movedEpoch, b.stores[1].epoch(t).Number)
	case atOnce:
		require.NoError(t, err)
		require.Equal(t, 1, attempts)
		require.Equal(t, movedEpoch, b.stores[1].epoch(t).Number)
	case pausing:
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.InDelta(t, 400, attempts, 150, "about one each 50 ms")
		require.Equal(t, firstEpoch, b.stores[1].epoch(t).Number)
	}
}

// checkClaim looks at what becomes of a worker.
func checkClaim(t *testing.T, b *bench, want seen) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began, handled := time.Now(), time.Duration(-1)
	err := b.Work(ctx, "call", func(context.Context, *chain.Handle) ([]byte, error) {
		handled = time.Since(began)
		cancel()
		return nil, nil
	}, chain.WorkOptions{Drain: time.Second})
	require.NoError(t, err)
	epoch := b.stores[1].epoch(t).Number
	switch want {
	case toCaller, pausing:
		require.Negative(t, handled)
		require.Equal(t, firstEpoch, epoch)
	case afterRetry:
		require.InDelta(t, 350, handled.Milliseconds(), 150)
		require.Equal(t, 4, b.stores[0].count("claim"))
	case atOnce:
		require.Zero(t, handled)
		require.Equal(t, 1, b.stores[0].count("claim"))
	}
	if want == afterRetry || want == atOnce {
		require.Equal(t, movedEpoch, epoch)
	}
}

// TestMirrorDecisions: what a standby that answers each class has to expect.
func TestMirrorDecisions(t *testing.T) {
	t.Parallel()
	retried := map[driver.Class]bool{driver.ReadOnly: true, driver.Unavailable: true, driver.Unknown: true}
	for _, class := range driver.Classes() {
		if class == driver.Fenced {
			continue // see TestSecondHostFollows
		}
		t.Run(class.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				b.stores[1].fail(class, "merge")
				before := b.stores[1].count("merge")
				began := time.Now()
				b.start(t, "w")
				attempts := b.stores[1].count("merge") - before
				require.Nil(t, b.stores[1].held(t, "w"))
				require.Equal(t, uint64(1), b.stores[0].held(t, "w").Revision)
				if retried[class] {
					require.InDelta(t, 6, attempts, 1, "pauses from 50 ms doubled up to 1 s within 2.5 s")
					require.Greater(t, time.Since(began), time.Second)
					require.LessOrEqual(t, time.Since(began), 2500*time.Millisecond)
				} else {
					require.Zero(t, time.Since(began))
					require.Equal(t, 1, attempts)
				}
				require.Empty(t, b.stores[0].epoch(t).InSync)
				require.Equal(t, firstEpoch, b.stores[0].epoch(t).Number, "a sick standby is no reason to move")
			})
		})
	}
}

// TestPoisonInABatch: one request that every store refuses as a whole does not
// take its neighbours with it.
func TestPoisonInABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		gate := make(chan struct{})
		b.stores[0].commits(func(req driver.CommitRequest) error {
			<-gate
			for _, tr := range req.Transitions {
				if tr.Record.ID == "poison" {
					return driver.Internal
				}
			}
			return nil
		})
		errs := make(chan error, 40)
		for i := range 40 {
			id := string(rune('a'+i%26)) + string(rune('0'+i/26))
			if i == 20 {
				id = "poison"
			}
			go func() {
				_, err := b.Start(t.Context(), chain.Workflow{ID: id, Kind: "call"})
				if id == "poison" && errors.Is(err, driver.Internal) {
					err = nil
				}
				errs <- err
			}()
		}
		synctest.Wait()
		close(gate)
		for range 40 {
			require.NoError(t, <-errs)
		}
		require.Equal(t, firstEpoch, b.stores[1].epoch(t).Number)
	})
}
