// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/drivers/memory"
)

// benchChain opens a chain over memory stores, linked or as plugins.
func benchChain(b *testing.B, links int, plugin bool) *chain.Chain {
	b.Helper()
	config := chain.Config{Name: "bench"}
	for _, name := range linkNames[:links] {
		link := chain.Link{Name: name}
		if plugin {
			path, err := memoryPlugin()
			require.NoError(b, err)
			link.Plugin = path
		} else {
			store, err := memory.Open(b.Context(), memory.Options{Chain: "bench"})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, store.Close(context.WithoutCancel(b.Context()))) })
			link.Store = store
		}
		config.Links = append(config.Links, link)
	}
	c, err := chain.Open(b.Context(), config)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Close(context.WithoutCancel(b.Context()))) })
	return c
}

// BenchmarkStart starts workflows of 512 bytes with a number of callers at once.
func BenchmarkStart(b *testing.B) {
	for _, plugin := range []bool{false, true} {
		for _, links := range []int{1, 2} {
			for _, callers := range []int{1, 64, 256} {
				run := map[bool]string{false: "Linked", true: "Plugin"}[plugin]
				b.Run(fmt.Sprintf("%s/Links%d/Callers%d", run, links, callers), func(b *testing.B) {
					c := benchChain(b, links, plugin)
					input := make([]byte, 512)
					var next atomic.Int64
					b.ReportAllocs()
					b.ResetTimer()
					var wg sync.WaitGroup
					for range callers {
						wg.Go(func() {
							for {
								n := next.Add(1)
								if n > int64(b.N) {
									return
								}
								if _, err := c.Start(b.Context(), chain.Workflow{ID: fmt.Sprint(n), Kind: "call", Input: input}); err != nil {
									b.Error(err)
									return
								}
							}
						})
					}
					wg.Wait()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "starts/s")
				})
			}
		}
	}
}

// BenchmarkWork takes workflows through three save points each, from start to end.
func BenchmarkWork(b *testing.B) {
	for _, links := range []int{1, 2} {
		b.Run(fmt.Sprintf("Plugin/Links%d", links), func(b *testing.B) {
			c := benchChain(b, links, true)
			var left atomic.Int64
			left.Store(int64(b.N))
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			b.ResetTimer()
			go func() {
				done <- c.Work(ctx, "call", func(ctx context.Context, h *chain.Handle) ([]byte, error) {
					for _, step := range []string{"one", "two", "three"} {
						if err := h.Save(ctx, step, nil); err != nil {
							return nil, err
						}
					}
					if left.Add(-1) == 0 {
						cancel()
					}
					return nil, nil
				}, chain.WorkOptions{Concurrency: 256})
			}()
			var wg sync.WaitGroup
			for caller := range 64 {
				wg.Go(func() {
					for n := caller; n < b.N; n += 64 {
						if _, err := c.Start(b.Context(), chain.Workflow{ID: fmt.Sprint(n), Kind: "call"}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			require.NoError(b, <-done)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "workflows/s")
		})
	}
}
