// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// A standby that is told the present record at the very moment of the failover is
// still fit to take over.
func TestTakeOverWhileTheStandbyIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 3)
		var gone atomic.Bool
		var once sync.Once
		b.stores[1].hook(func(ctx context.Context, op string) error {
			switch {
			case op != "advance":
			case !gone.Load():
				return driver.Unavailable
			default:
				once.Do(func() {
					told, next := b.stores[1].epoch(t), b.stores[0].epoch(t)
					_, err := b.stores[1].Store.Advance(ctx, driver.AdvanceRequest{Expect: told.At(), Next: next})
					require.NoError(t, err)
				})
			}
			return nil
		})
		b.stores[2].fail(driver.Invalid, "merge") // c is dropped, which b cannot be told
		done := make(chan driver.Record, 1)
		b.startAsync(t, "w", done)
		synctest.Wait()
		require.Equal(t, []string{"b"}, b.stores[0].epoch(t).InSync)
		gone.Store(true)
		b.stores[0].fail(driver.Lost)
		require.Equal(t, movedEpoch, b.start(t, "x").Epoch)
		<-done
		synctest.Wait()
		require.Empty(t, eventsOf[chain.AllDown](b))
	})
}

// A status check that reads the new epoch before the answer to the change of it has
// come does not make the failover of this host one of another.
func TestFailoverIsToldByWhoeverMadeIt(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"LateAnswer": false, "LostAnswer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := openN(t, 2)
				b.start(t, "w")
				var first sync.Once
				b.stores[1].answers(func(op string) (err error) {
					if op == "advance" {
						first.Do(func() {
							sleep(2 * time.Second)
							if lost {
								err = driver.Unknown
							}
						})
					}
					return err
				})
				b.stores[0].fail(driver.Unavailable)
				require.Equal(t, movedEpoch, b.start(t, "x").Epoch)
				sleep(5 * time.Second)
				require.Len(t, eventsOf[chain.FailedOver](b), 1)
				require.Empty(t, eventsOf[chain.Followed](b))
				require.Equal(t, "b", b.Status().Epoch.Active)
			})
		})
	}
}
