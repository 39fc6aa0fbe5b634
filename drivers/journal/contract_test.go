// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// TestContract takes the machine through the contract suite over a log that
// answers in the background, in small appends, and leaves out what it may.
func TestContract(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	logs := map[string]*faultyLog{}
	contracttest.Run(t, contracttest.Harness{
		Open: func(_ contracttest.T, chain string) (driver.Store, error) {
			mu.Lock()
			defer mu.Unlock()
			if logs[chain] == nil {
				logs[chain] = newFaultyLog()
			}
			return Open(Options{
				Log:    logs[chain],
				Logger: slog.New(slog.DiscardHandler),
				Tidy:   time.Millisecond,
				// A store that is opened after a compaction does not reach back before it, so
				// none takes place here.
				Slack: 1 << 20,
				Describe: driver.DescribeResponse{
					Driver: "journal", Version: "test", Contract: driver.Contract, Protection: driver.Local,
					Capabilities: driver.Capabilities(),
				},
			}), nil
		},
		Capabilities: driver.Capabilities(),
		Kill:         func(t contracttest.T, s driver.Store) { _ = s.Close(t.Context()) },
	})
}
