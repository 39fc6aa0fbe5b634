// SPDX-License-Identifier: Apache-2.0

package crew_test

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/internal/crew"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// working counts the goroutines of all crews.
func working() int {
	stacks := make([]byte, 1<<20)
	return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte(".(*Crew).work("))
}

// TestCrew: all run at once, however many there are, a few goroutines stay and are
// used again, and none after the end.
func TestCrew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		c := crew.New(ended)
		run := func(n int) {
			var running sync.WaitGroup
			running.Add(n)
			for range n {
				c.Go(func() {
					running.Done()
					running.Wait()
				})
			}
			running.Wait()
			synctest.Wait()
		}
		run(100)
		require.Equal(t, 8, working(), "eight of a hundred stay")
		run(8)
		require.Equal(t, 8, working(), "and are used again")
		close(ended)
		synctest.Wait()
		require.Zero(t, working())
		run(3)
		require.Zero(t, working())
	})
}
