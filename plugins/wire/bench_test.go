// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire/wiretest"
)

// acknowledging is a store that takes everything.
type acknowledging struct{ driver.Store }

func (acknowledging) Commit(_ context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	return driver.CommitResponse{Verdicts: make([]driver.Verdict, len(req.Transitions))}, nil
}

func (acknowledging) Close(context.Context) error { return nil }

// BenchmarkCommit measures the wire alone, in one process and without a socket.
func BenchmarkCommit(b *testing.B) {
	for _, batch := range []int{1, 64, 256} {
		for _, callers := range []int{1, 4} {
			b.Run(fmt.Sprintf("callers=%d/batch=%d", callers, batch), func(b *testing.B) {
				store := wiretest.Connect(b, driver.Driver{
					Name:     "acknowledging",
					Open:     func(context.Context, driver.OpenRequest) (driver.Store, error) { return acknowledging{}, nil },
					Validate: func(json.RawMessage) error { return nil },
				})
				require.NoError(b, store.Open(b.Context(), driver.OpenRequest{}))
				transitions := make([]driver.Transition, batch)
				for i := range transitions {
					now := driver.Millis(time.Now())
					transitions[i].Record = driver.Record{
						ID: fmt.Sprintf("call-%08d", i), Kind: "call", Revision: 1, Token: driver.NewToken(), Status: driver.Ready,
						Due: now, Created: now, Updated: now, Input: make([]byte, 512),
					}
				}
				var calls atomic.Int64
				var failures atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for calls.Add(1) <= int64(b.N) {
							if _, err := store.Commit(b.Context(), driver.CommitRequest{Transitions: transitions}); err != nil {
								failures.Add(1)
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				require.Zero(b, failures.Load())
				b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
