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
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// room is how many of these tests run at once.
var room = make(chan struct{}, 2)

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
	password   string // of the hosts' user
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
	t.Cleanup(func() { w.explain(t) })
	for range 3 {
		w.addHost(t)
	}
	w.whole(t)
	w.progress(t, 20)
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

// epoch returns the newest epoch record that any link holds now.
func (w *world) epoch(t testing.TB) driver.Epoch {
	t.Helper()
	var newest driver.Epoch
	for _, link := range []string{first, second} {
		store := w.open(t, link)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		resp, err := store.Epoch(ctx, driver.EpochRequest{})
		cancel()
		hangUp(t, store)
		if e := resp.Epoch; err == nil && cmp.Or(cmp.Compare(e.Number, newest.Number), cmp.Compare(e.Version, newest.Version)) > 0 {
			newest = e
		}
	}
	return newest
}

// await waits until the condition gives nil.
func await(t testing.TB, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		require.True(t, time.Now().Before(deadline), "waited %s: %s: %v", patience, what, err)
		<-tick.C
	}
}

// whole waits until the first link is active and the second in step.
func (w *world) whole(t testing.TB) {
	t.Helper()
	await(t, "redis is active and eventstore in step", func() error {
		if e := w.epoch(t); e.Active != first || !slices.Contains(e.InSync, second) || e.State != driver.Serving {
			return fmt.Errorf("the epoch is %s of %q in sync %v", e, e.Active, e.InSync)
		}
		return nil
	})
}

// active waits until a link is active.
func (w *world) active(t testing.TB, link string) {
	t.Helper()
	await(t, link+" is active", func() error {
		if e := w.epoch(t); e.Active != link {
			return fmt.Errorf("the epoch is %s of %q in sync %v", e, e.Active, e.InSync)
		}
		return nil
	})
}

// entries returns what all hosts have written so far.
func (w *world) entries(t testing.TB) []entry {
	t.Helper()
	var all []entry
	for _, h := range w.hosts {
		all = append(all, h.entries(t)...)
	}
	return all
}

func (w *world) count(t testing.TB, tell string) int {
	t.Helper()
	n := 0
	for _, e := range w.entries(t) {
		if e.Tell == tell {
			n++
		}
	}
	return n
}

// progress waits until n more workflows have ended.
func (w *world) progress(t testing.TB, n int) {
	t.Helper()
	want := w.count(t, ended) + n
	await(t, "work goes on", func() error {
		if have := w.count(t, ended); have < want {
			return fmt.Errorf("%d workflows have ended, want %d", have, want)
		}
		return nil
	})
}

// list returns the workflows of a link, all or those of some statuses, by id.
func (w *world) list(t testing.TB, link string, statuses ...driver.Status) (map[string]driver.Record, error) {
	t.Helper()
	store := w.open(t, link)
	defer hangUp(t, store)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := map[string]driver.Record{}
	req := driver.ListRequest{Kinds: []string{kind}, Statuses: statuses, Limit: driver.MaxBatch}
	for {
		page, err := store.List(ctx, req)
		if err != nil {
			return nil, err
		}
		for i := range page.Records {
			all[page.Records[i].ID] = page.Records[i]
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			return all, nil
		}
	}
}

// settle lets the hosts finish what is begun: nothing more is started, and
// everything ends.
func (w *world) settle(t testing.TB) {
	t.Helper()
	for _, h := range w.hosts {
		if h.lives() {
			h.command(t, quietCommand)
		}
	}
	await(t, "the hosts are quiet", func() error {
		for _, h := range w.hosts {
			told := h.entries(t)
			if h.lives() && !slices.ContainsFunc(told, func(e entry) bool { return e.Tell == quiet }) {
				return fmt.Errorf("%s waits for a start", h.name)
			}
		}
		return nil
	})
	await(t, "everything is done", func() error {
		left, err := w.list(t, w.epoch(t).Active, driver.Ready, driver.Leased, driver.Waiting)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d workflows are not done, among them %s", len(left), slices.Sorted(maps.Keys(left))[0])
		}
		return err
	})
}

// finish ends the load and checks the books. Those links must be equal.
func (w *world) finish(t testing.TB, equal ...string) {
	t.Helper()
	w.settle(t)
	var plugins []int
	for _, h := range w.hosts {
		if h.lives() {
			plugins = slices.AppendSeq(plugins, maps.Keys(h.plugins(t)))
		}
	}
	active := w.epoch(t).Active
	for _, h := range w.hosts {
		if h.lives() {
			h.stop(t)
		}
	}
	for _, pid := range plugins {
		require.NoError(t, gone(pid), "a plugin was left behind")
	}
	final, err := w.list(t, active)
	require.NoError(t, err)
	told := w.entries(t)
	w.summary(t, told, active)
	faults := balance(told, slices.Collect(maps.Values(final)), stepsOfAll)
	const most = 20
	require.Empty(t, strings.Join(faults[:min(most, len(faults))], "\n"), "the books do not balance: %d faults", len(faults))
	for _, link := range equal {
		w.agree(t, link, final)
	}
}

// agree: a link holds the same records.
func (w *world) agree(t testing.TB, link string, final map[string]driver.Record) {
	t.Helper()
	held, err := w.list(t, link)
	require.NoError(t, err)
	require.Equal(t, slices.Sorted(maps.Keys(final)), slices.Sorted(maps.Keys(held)), "the workflows of %s", link)
	for id, want := range final {
		have := held[id]
		require.True(t, driver.Equal(&want, &have), "%s holds %+v, and the active link %+v", link, have, want)
	}
}

// killHost kills a host and starts another in its place.
func (w *world) killHost(t *testing.T, n int) {
	t.Helper()
	h := w.hosts[n]
	if h.lives() {
		plugins := h.plugins(t)
		h.kill()
		for pid, name := range plugins {
			await(t, name+" ends with its host", func() error { return gone(pid) })
		}
	}
	w.addHost(t)
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
