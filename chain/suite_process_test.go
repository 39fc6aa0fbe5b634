// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

// suiteAtOnce cases run at once over plugins: most of their time they wait.
const suiteAtOnce = 12

// inProcess is a memory plugin in a process of its own, which all hosts of a case
// use: its data end with it, and it is started anew at once.
type inProcess struct {
	*plugins.Store
	t contracttest.T

	mu    sync.Mutex
	kills []time.Time
}

// The plugin of a link that ends five times within a minute is started anew after
// half a minute only.
const (
	killsAtMost = 4
	killsWithin = time.Minute
)

func launchPlugin(t contracttest.T, name, link string) product {
	path, err := memoryPlugin()
	require.NoError(t, err)
	s, err := plugins.Launch(t.Context(), plugins.Spec{Path: path, Chain: name, Link: link,
		StartTimeout: 20 * time.Second, PingTimeout: 20 * time.Second}) // a slow machine is no second fault
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, s.Close(ctx))
	})
	return &inProcess{Store: s, t: t}
}

func (p *inProcess) connect() driver.Store { return p.Store }

func (p *inProcess) epoch(ctx context.Context) driver.Epoch {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := p.Epoch(ctx, driver.EpochRequest{})
	if err != nil {
		return driver.Epoch{}
	}
	return resp.Epoch
}

func (p *inProcess) expendable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kills = slices.DeleteFunc(p.kills, func(at time.Time) bool { return time.Since(at) > killsWithin })
	return len(p.kills) < killsAtMost && p.Status().PID > 0
}

func (p *inProcess) die(bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kills = append(p.kills, time.Now())
	if pid := p.Status().PID; pid > 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			p.t.Errorf("kill the plugin, process %d: %v", pid, err)
		}
	}
}

func (p *inProcess) revive() {} // the host of the plugin sees to that

// TestSuiteOverPlugins: the links are plugins in processes, and that of the active
// link is killed again and again, with its data. These are the areas that say most
// of a chain; "make test-faults" goes through all.
func TestSuiteOverPlugins(t *testing.T) {
	t.Parallel()
	runOverPlugins(t, time.Minute, 20, "Claim", "Commit", "Cursor", "Lease", "Save", "Succeed", "History")
}

// runOverPlugins runs the cases of the areas, or all, each of which has the time,
// and expects so many kills at least.
func runOverPlugins(t *testing.T, timeout time.Duration, kills int64, areas ...string) {
	t.Helper()
	s := &suited{links: 2, launch: launchPlugin, killing: true, erases: true, chains: map[string]*suitedChain{}, policy: chain.Policy{
		Backoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		Check:    chain.Check{Interval: 50 * time.Millisecond, Rise: 2},
		HoldDown: 100 * time.Millisecond, MaxHoldDown: 200 * time.Millisecond,
	}}
	h := s.harness()
	h.Timeout, h.Excuse = timeout, maps.Clone(overFailovers)
	for _, name := range []string{"ForgetsWholly", "TakesTheRecordOutOfTheFeed"} {
		h.Excuse["Retention/"+name] = "what expires in the time of a resync may stay in the link that comes back"
	}
	require.NoError(t, h.Validate())
	free := make(chan struct{}, suiteAtOnce)
	var cases sync.WaitGroup
	for _, c := range contracttest.Cases() {
		if len(areas) > 0 && !slices.Contains(areas, c.Area) {
			continue
		}
		cases.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			t.Run(c.FullName(), func(t *testing.T) {
				r := contracttest.Check(t.Context(), h, c)
				require.NotEqual(t, contracttest.Failed, r.Outcome, r.Output)
			})
		})
	}
	cases.Wait()
	t.Logf("%d kills", s.kills.Load())
	require.GreaterOrEqual(t, s.kills.Load(), kills)
}
