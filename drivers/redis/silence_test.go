// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
	"github.com/understudy-dev/understudy/internal/pace"
)

// method is one method of a store, called so that it would succeed.
type method struct {
	name    string
	mutates bool
	call    func(ctx context.Context, s driver.Store) error
}

func methods(tb testing.TB) []method {
	tb.Helper()
	start := workflow(tb, "a")
	return []method{
		{"Commit", true, func(ctx context.Context, s driver.Store) error {
			_, err := s.Commit(ctx, driver.CommitRequest{Transitions: []driver.Transition{start}})
			return err
		}},
		{"Claim", true, func(ctx context.Context, s driver.Store) error {
			_, err := s.Claim(ctx, driver.ClaimRequest{Owner: "o", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: 1, Lease: time.Second})
			return err
		}},
		{"Merge", true, func(ctx context.Context, s driver.Store) error {
			_, err := s.Merge(ctx, driver.MergeRequest{Records: []driver.Record{start.Record}})
			return err
		}},
		{"Get", false, func(ctx context.Context, s driver.Store) error {
			_, err := s.Get(ctx, driver.GetRequest{IDs: []string{"a"}})
			return err
		}},
		{"List", false, func(ctx context.Context, s driver.Store) error {
			_, err := s.List(ctx, driver.ListRequest{Limit: 1})
			return err
		}},
		{"Changes", false, func(ctx context.Context, s driver.Store) error {
			return s.Changes(ctx, driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
		}},
		{"Epoch", false, func(ctx context.Context, s driver.Store) error {
			_, err := s.Epoch(ctx, driver.EpochRequest{})
			return err
		}},
		{"Probe", false, func(ctx context.Context, s driver.Store) error {
			_, err := s.Probe(ctx, driver.ProbeRequest{})
			return err
		}},
	}
}

// slack is what a call may take beyond its context on a machine that keeps up. The
// contract says 100 ms, which the suite checks; the time limits of the client are
// seconds away.
const slack = 800 * time.Millisecond

// endInTime checks that all methods at once end with their context, in the right
// class.
func endInTime(t *testing.T, s driver.Store, classes ...driver.Class) {
	t.Helper()
	const limit = 300 * time.Millisecond
	watch, all := pace.Start(), time.Now()
	defer watch.Stop()
	var wg sync.WaitGroup
	type result struct {
		name    string
		err     error
		late    time.Duration
		mutates bool
	}
	results := make(chan result, 1000)
	for range 5 {
		for _, m := range methods(t) {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				began := time.Now()
				err := m.call(ctx, s)
				results <- result{m.name, err, time.Since(began) - limit, m.mutates}
			})
		}
	}
	wg.Wait()
	close(results)
	for r := range results {
		require.Error(t, r.err, r.name)
		require.Contains(t, classes, driver.ClassOf(r.err), "%s: %v", r.name, r.err)
		if !r.mutates {
			require.NotEqual(t, driver.Unknown, driver.ClassOf(r.err), "%s has no effect: %v", r.name, r.err)
		}
		require.Less(t, r.late, slack+watch.Slack(all), "%s is over that late: %v", r.name, r.err)
	}
}

func TestFrozenServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	commit(t, s, nil, "before")
	server.Freeze(t)
	for range 3 {
		endInTime(t, s, driver.Unknown, driver.Unavailable)
	}
	fresh := open(t, "chain", server.Config(t, nil))
	endInTime(t, fresh, driver.Unavailable)
	server.Thaw(t)
	redistest.Eventually(t, "the store serves again", func() error {
		_, err := tryCommit(t, s, nil, "after")
		return err
	})
}

// brisk are time limits for tests that wait until a silent server is given up.
var brisk = map[string]any{"dial_timeout": "3s", "response_timeout": "3s"}

// with returns a and b together.
func with(a, b map[string]any) map[string]any {
	c := maps.Clone(a)
	maps.Copy(c, b)
	return c
}

func TestFrozenSentinelMaster(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	downAfter(t, watched, time.Minute) // no failover before one is wanted
	s := open(t, "chain", watched.Config(t, brisk))
	commit(t, s, nil, "before")
	master := watched.Master(t)
	redistest.Eventually(t, "the replicas have it", func() error { return master.InStep(t) })
	master.Freeze(t)
	endInTime(t, s, driver.Unknown, driver.Unavailable)
	downAfter(t, watched, time.Second)
	redistest.Eventually(t, "the store serves through the new master", func() error {
		_, err := tryCommit(t, s, nil, "after")
		return err
	})
}

func TestFrozenClusterNode(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, patient)
	s := open(t, "chain", cluster.Config(t, with(brisk, map[string]any{"shards": 1})))
	seen := commit(t, s, nil, "before")
	owner := cluster.Owner(t, "{us:chain:0}")
	redistest.Eventually(t, "the replica has it", func() error { return owner.InStep(t) })
	owner.Freeze(t)
	endInTime(t, s, driver.Unknown, driver.Unavailable)
	for _, node := range cluster.Nodes { // no failover before one is wanted
		if node != owner {
			node.Do(t, "CONFIG", "SET", "cluster-node-timeout", "2000")
		}
	}
	redistest.Eventually(t, "the store serves through the new master", func() error {
		_, err := tryCommit(t, s, seen, "after")
		return err
	})
}

func TestBlackHole(t *testing.T) {
	t.Parallel()
	s := open(t, "chain", plain(t, blackHole(t), map[string]any{"dial_timeout": "5s"}))
	endInTime(t, s, driver.Unavailable)
}

// blackHole returns an address that leaves connection attempts without an answer:
// that of a listener whose queue is full.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Close(fd)) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	in, ok := name.(*syscall.SockaddrInet4)
	require.True(t, ok)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(in.Port))
	for range 10 {
		dialer := net.Dialer{Timeout: 200 * time.Millisecond}
		conn, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	require.FailNow(t, "the queue of the listener is never full")
	return ""
}

func TestHalfOpenConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	p := startProxy(t, server.Addr)
	s := open(t, "chain", server.Config(t, with(brisk, map[string]any{"addresses": []string{p.addr}})))
	commit(t, s, nil, "before")
	p.swallow.Store(true)
	endInTime(t, s, driver.Unknown, driver.Unavailable)
	p.swallow.Store(false)
	redistest.Eventually(t, "the store serves again", func() error {
		_, err := tryCommit(t, s, nil, "after")
		return err
	})
}

func TestBlockedByAScript(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "redis.log")
	server := redistest.Start(t, redistest.Options{Config: []string{"busy-reply-threshold 3000", "logfile " + log}})
	s := open(t, "chain", server.Config(t, nil))
	commit(t, s, nil, "before")
	blocked := make(chan error, 1)
	go func() {
		_, err := server.TryDo(t, "EVAL", "redis.log(redis.LOG_WARNING, 'the script runs') while true do end", "0")
		blocked <- err
	}()
	redistest.Eventually(t, "the server is blocked", func() error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), "the script runs") {
			err = io.ErrNoProgress
		}
		return err
	})
	endInTime(t, s, driver.Unknown, driver.Unavailable)
	redistest.Eventually(t, "the server says that it is blocked", func() error {
		_, err := s.Epoch(t.Context(), driver.EpochRequest{})
		require.ErrorIs(t, err, driver.Unavailable)
		_, err = tryCommit(t, s, nil, "meanwhile")
		if driver.ClassOf(err) != driver.Unavailable {
			return err
		}
		return nil
	})
	server.KillScript(t)
	require.Error(t, <-blocked)
	commit(t, s, nil, "after")
}
