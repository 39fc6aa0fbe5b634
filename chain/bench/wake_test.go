// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// BenchmarkWake measures the time from the call that starts a workflow to its
// handler, on a chain of two that is otherwise idle: on the same host, and on
// another one.
func BenchmarkWake(b *testing.B) {
	for _, way := range []string{"SameHost", "OtherHost"} {
		b.Run(way, func(b *testing.B) {
			redis, _ := redisLink(b)
			config := configOf(chain.Policy{}, redis, eventStoreLink(b))
			worker := openConfig(b, config)
			starter := worker
			if way == "OtherHost" {
				starter = openConfig(b, config)
			}
			ctx, stop := context.WithCancel(b.Context())
			handled, ended := make(chan time.Time), make(chan error, 1)
			go func() {
				ended <- worker.Work(ctx, "call", func(context.Context, *chain.Handle) ([]byte, error) {
					handled <- time.Now()
					return nil, nil
				}, chain.WorkOptions{})
			}()
			var waits []float64
			for b.Loop() {
				began := time.Now()
				_, err := starter.Start(b.Context(), chain.Workflow{ID: driver.NewToken().String(), Kind: "call", Input: input})
				require.NoError(b, err)
				waits = append(waits, float64((<-handled).Sub(began).Microseconds())/1000)
				time.Sleep(20 * time.Millisecond) //nolint:forbidigo // until the worker is idle again
			}
			stop()
			require.NoError(b, <-ended)
			b.ReportMetric(median(waits), "ms-median")
			b.ReportMetric(waits[len(waits)-1], "ms-most") // median has sorted them
		})
	}
}
