// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The client of a Cluster closes connections to nodes that have left it, or were
		// only asked for the others, after 5 s, and looks at the topology at most once a
		// second; closing the client does not end these waits.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
		goleak.Cleanup(func(code int) {
			if buildDir != "" {
				_ = os.RemoveAll(buildDir)
			}
			os.Exit(code)
		}))
}
