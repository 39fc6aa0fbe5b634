// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

// The links of the chain.
const (
	chainName = "faults"
	first     = "redis"
	second    = "eventstore"
)

// patience is how long a test waits for something that must come.
const patience = 2 * time.Minute

// The hold-down of all tests, and the most that it grows to, unless they say
// otherwise: so short that each test sees the failback.
const (
	holdDown    = 2 * time.Second
	maxHoldDown = 10 * time.Second
)

// room is how many of these tests run at once.
var room = make(chan struct{}, 3)

// options are what is special about a test. The zero value is valid.
type options struct {
	policy  chain.Policy
	redis   []string // lines of redis.conf
	proxied bool     // each host has a network of its own
	lease   time.Duration
	rate    int // workflows that each host starts in a second
}

// world is the servers and the hosts of one test.
type world struct {
	options options
	seed    uint64
	random  *rand.Rand
	began   time.Time
	dir     string
	plugins string

	redis      *redistest.Server
	stores     map[string]driver.Store // the links, past the networks of the hosts
	password   string                  // of the hosts' user
	eventstore *eventStore
	hosts      []*hostProcess // those that were killed as well
}

const stepsOfAll = 3

// start starts the servers and three hosts, and waits until they work and the
// second link is in step.
func start(t *testing.T, o options) *world {
	t.Helper()
	room <- struct{}{}
	t.Cleanup(func() { <-room })
	o.lease, o.rate = cmp.Or(o.lease, 4*time.Second), cmp.Or(o.rate, 10)
	o.policy.HoldDown, o.policy.MaxHoldDown = cmp.Or(o.policy.HoldDown, holdDown), cmp.Or(o.policy.MaxHoldDown, maxHoldDown)
	w := &world{options: o, dir: t.TempDir(), password: redistest.UserPassword, began: time.Now(), seed: uint64(time.Now().UnixNano())}
	if given := os.Getenv("FAULTS_SEED"); given != "" {
		var err error
		w.seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, "FAULTS_SEED")
	}
	w.random = rand.New(rand.NewPCG(w.seed, 0))
	var err error
	w.plugins, err = pluginFolder()
	require.NoError(t, err)
	w.redis = redistest.Start(t, redistest.Options{PlainText: true, Config: o.redis})
	w.eventstore = startEventStore(t, w.dir)
	w.stores = map[string]driver.Store{first: w.open(t, first), second: w.open(t, second)}
	t.Cleanup(func() {
		hangUp(t, w.stores[first])
		hangUp(t, w.stores[second])
		w.explain(t)
	})
	for range 3 {
		w.addHost(t)
	}
	w.home(t)
	w.whole(t) // still
	w.began = time.Now()
	return w
}

// addHost starts one more host.
func (w *world) addHost(t *testing.T) *hostProcess {
	t.Helper()
	name := "host-" + string(rune('a'+len(w.hosts)))
	h := &hostProcess{name: name, journal: filepath.Join(w.dir, name+".journal"), log: filepath.Join(w.dir, name+".log")}
	redisAddr, eventsAddr := w.redis.Addr, w.eventstore.addr
	if w.options.proxied {
		h.redis, h.events = startProxy(t, redisAddr), startProxy(t, eventsAddr)
		redisAddr, eventsAddr = h.redis.addr, h.events.addr
	}
	config := chain.Config{Name: chainName, Host: name, Policy: w.options.policy, Links: []chain.Link{
		{Name: first, Plugin: filepath.Join(w.plugins, "understudy-redis"), Config: w.redisConfig(t, redisAddr)},
		{Name: second, Plugin: filepath.Join(w.plugins, "understudy-eventstore"), Config: w.eventsConfig(t, eventsAddr)},
	}}
	h.start(t, &hostConfig{Chain: config, Journal: h.journal, Log: h.log, Rate: w.options.rate, Steps: stepsOfAll,
		Pace: 30 * time.Millisecond, Workers: 16, Lease: w.options.lease, Seed: w.random.Uint64()})
	w.hosts = append(w.hosts, h)
	return h
}

func (w *world) redisConfig(t testing.TB, addr string) json.RawMessage {
	t.Helper()
	return w.redis.Config(t, map[string]any{"addresses": []string{addr}, "password": w.password})
}

func (w *world) eventsConfig(t testing.TB, addr string) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(map[string]any{"hosts": []string{addr}})
	require.NoError(t, err)
	return text
}

// open opens a link for the test itself, past the networks of the hosts.
func (w *world) open(t testing.TB, link string) driver.Store {
	t.Helper()
	d, section := redis.Driver(), w.redisConfig(t, w.redis.Addr)
	if link == second {
		d, section = eventstore.Driver(), w.eventsConfig(t, w.eventstore.addr)
	}
	store, err := d.Open(t.Context(), driver.OpenRequest{Chain: chainName, Link: link, Config: section,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	return store
}

func hangUp(t testing.TB, store driver.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
	defer cancel()
	_ = store.Close(ctx) // the server may be gone
}

// killHost kills a host and starts another in its place.
func (w *world) killHost(t *testing.T, n int) {
	t.Helper()
	if h := w.hosts[n]; h.lives() {
		h.die(t)
	}
	w.addHost(t)
}

// die kills a host, and sees its plugins end with it.
func (h *hostProcess) die(t *testing.T) {
	t.Helper()
	plugins := h.plugins(t)
	h.kill()
	for pid, name := range plugins {
		await(t, name+" ends with its host", func() error { return gone(pid) })
	}
}

// signalPlugin sends a signal to the plugins that all hosts have for a link.
func (w *world) signalPlugin(t testing.TB, link string, s syscall.Signal) {
	t.Helper()
	for _, h := range w.hosts {
		require.NoError(t, syscall.Kill(h.plugin(t, link), s))
	}
}

func gone(pid int) error {
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !bytes.Contains(text, []byte(") Z ")) {
		return fmt.Errorf("process %d lives", pid)
	}
	return nil
}
