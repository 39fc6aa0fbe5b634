// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
	"github.com/understudy-dev/understudy/plugins"
	"github.com/understudy-dev/understudy/plugins/wire/wiretest"
)

func TestContractStandalone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	through := &proxies{to: server.Addr, of: map[string]*proxy{}}
	on := installation{
		config: func(chain string) json.RawMessage {
			return server.Config(t, unhurried(map[string]any{"addresses": []string{through.get(t, chain).addr}}))
		},
		shards: 1,
		owner:  func(contracttest.T, string) *redistest.Server { return server },
		freeze: func(_ contracttest.T, chain string) func() { return through.get(t, chain).freeze() },
	}
	on.run(t, direct, wire, process)
}

func TestContractSentinel(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	downAfter(t, watched, time.Minute)
	config := watched.Config(t, unhurried(nil))
	on := installation{
		config: func(string) json.RawMessage { return config },
		shards: 1,
		owner:  func(contracttest.T, string) *redistest.Server { return watched.Servers[0] },
	}
	on.run(t, process)
}

func TestContractCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, patient)
	config := cluster.Config(t, unhurried(map[string]any{"shards": 4}))
	on := installation{
		config: func(string) json.RawMessage { return config },
		shards: 4,
		owner:  func(t contracttest.T, key string) *redistest.Server { return cluster.Owner(t, key) },
	}
	on.run(t, direct, process)
}

// unhurried adds time limits for a machine that does much else.
func unhurried(changes map[string]any) map[string]any {
	c := map[string]any{"dial_timeout": "10s", "response_timeout": "10s"}
	maps.Copy(c, changes)
	return c
}

// installation is what the suite runs on.
type installation struct {
	config func(chain string) json.RawMessage
	shards int
	owner  func(t contracttest.T, key string) *redistest.Server
	// freeze is nil where the servers name their own addresses, so that no proxy can
	// stand before those of one chain; TestFrozenSentinelMaster and
	// TestFrozenClusterNode freeze them for all.
	freeze func(t contracttest.T, chain string) (thaw func())
}

// proxies has a proxy to one server for each chain.
type proxies struct {
	to string
	mu sync.Mutex
	of map[string]*proxy
}

func (p *proxies) get(t *testing.T, chain string) *proxy {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[chain] == nil {
		p.of[chain] = startProxy(t, p.to)
	}
	return p.of[chain]
}

// The ways to the driver: in this process, through the wire, and as a plugin.
const (
	direct  = "Direct"
	wire    = "Wire"
	process = "Process"
)

// run runs the suite in some ways; in all if REDIS_CONTRACT=all is set, as make
// contract does, which takes half as long again. A plugin includes the wire, and
// what differs between the installations lies behind it.
func (on installation) run(t *testing.T, ways ...string) {
	t.Helper()
	if os.Getenv("REDIS_CONTRACT") == "all" {
		ways = []string{direct, wire, process}
	}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			h := contracttest.Harness{Open: on.link, Capabilities: driver.Capabilities(), Kill: killLinked,
				DropChanges: on.dropChanges, Freeze: on.freeze, Timeout: 2 * time.Minute}
			switch way {
			case wire:
				h.Open = func(ct contracttest.T, chain string) (driver.Store, error) {
					store, err := on.link(ct, chain)
					if err != nil {
						return nil, err
					}
					return wired{wiretest.InMemory(ct, store), store}, nil
				}
			case process:
				h.Open, h.Kill = on.launch, killPlugin
			}
			contracttest.Run(t, h)
		})
	}
}

// link opens a store in this process.
func (on installation) link(t contracttest.T, chain string) (driver.Store, error) {
	return contracttest.Linked(redis.Driver(), on.config)(t, chain)
}

// wired is a store behind the wire.
type wired struct {
	driver.Store
	behind driver.Store
}

func killLinked(t contracttest.T, s driver.Store) {
	if w, ok := s.(wired); ok {
		s = w.behind
	}
	store, ok := s.(*redis.Store)
	require.True(t, ok)
	redis.Kill(store)
}

// launch opens a store in a plugin.
func (on installation) launch(t contracttest.T, chain string) (driver.Store, error) {
	path, err := pluginBinary()
	require.NoError(t, err, "build the plugin")
	return plugins.Launch(t.Context(), plugins.Spec{Path: path, Driver: redis.Name, Chain: chain, Link: "redis", Config: on.config(chain),
		PingTimeout: 10 * time.Second}) // thousands of calls at once on a busy machine are no reason to take it for frozen
}

func killPlugin(t contracttest.T, s driver.Store) {
	store, ok := s.(*plugins.Store)
	require.True(t, ok)
	pid := store.Status().PID
	require.Positive(t, pid, "the plugin runs")
	if err := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		require.NoError(t, err)
	}
}

// dropChanges makes the feed of a chain forget, as its length and age would.
func (on installation) dropChanges(t contracttest.T, chain string) {
	for shard := range on.shards {
		tag := "{us:" + chain + ":" + strconv.Itoa(shard) + "}"
		server := on.owner(t, tag)
		if sequence, err := server.TryDo(t, "HGET", tag+":m", "q"); err == nil && sequence != "<nil>" {
			server.Do(t, "DEL", tag+":f")
			server.Do(t, "HSET", tag+":m", "f", sequence)
		}
	}
}

var buildDir string

// pluginBinary builds the plugin once and returns its path.
var pluginBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "redis-test-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "understudy-redis")
	cmd := exec.Command("go", "build", "-o", path, "../../plugins/redis")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})
