// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// quick are the settings for tests of outages.
func quick(addresses ...string) settings {
	return settings{"hosts": addresses, "connect_timeout": hasty, "response_timeout": hasty, "call_timeout": "3s"}
}

const (
	crowd = 50
	hasty = "200ms"
	limit = 400 * time.Millisecond
	back  = time.Second // of a call, when service resumes
)

// underLoad runs outage while a crowd calls, and checks that every call ended in
// time, that service resumes once the outage is over, and all outcomes.
func underLoad(t *testing.T, s store, outage func(), repair func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, callers := s.callers(ctx, crowd, limit, "load")
	eventually(t, patience, func() error {
		if a.count() < 200 {
			return fmt.Errorf("%d calls", a.count())
		}
		return nil
	})
	outage()
	before := a.count()
	require.Error(t, s.try(limit))
	repair()
	eventually(t, patience, func() error { return s.try(back) })
	eventually(t, patience, func() error {
		if a.count() <= before {
			return fmt.Errorf("still %d calls", before)
		}
		return nil
	})
	cancel()
	callers.Wait()
	a.settle(s)
}

// silent waits until what was still on its way has arrived.
func silent(t *testing.T, s store) {
	t.Helper()
	eventually(t, patience, func() error {
		if s.try(limit) == nil {
			return errors.New("the server still answers")
		}
		return nil
	})
}

func TestOutageServerKilled(t *testing.T) {
	t.Parallel()
	server := launch(t)
	s := open(t, quick(server.address)).ready()
	underLoad(t, s, server.kill, server.start)
}

func TestOutageServerStopped(t *testing.T) {
	t.Parallel()
	server := launch(t)
	s := open(t, quick(server.address)).ready()
	underLoad(t, s, server.end, server.start)
}

func TestOutageServerFrozen(t *testing.T) {
	t.Parallel()
	server := launch(t)
	s := open(t, quick(server.address)).ready()
	underLoad(t, s, func() {
		server.signal(syscall.SIGSTOP)
		silent(t, s)
		for range 3 { // long enough for the connection to be given up
			require.Error(t, s.try(limit))
		}
	}, func() { server.signal(syscall.SIGCONT) })
}

func TestOutageServerRestarted(t *testing.T) {
	t.Parallel()
	server := launch(t)
	s := open(t, quick(server.address)).ready()
	for i := range 3 {
		s.put(fmt.Sprint("before-", i))
		server.kill()
		server.start()
		eventually(t, patience, func() error { return s.try(back) })
		require.NotNil(t, s.get(fmt.Sprint("before-", i)))
	}
}

func TestOutageBlackHole(t *testing.T) {
	t.Parallel()
	p := newProxy(t, start(t, devserver.Options{}).Addresses()[0])
	s := open(t, quick(p.address())).ready()
	underLoad(t, s, func() {
		p.set(func() { p.held = true })
		silent(t, s)
		for range 3 {
			require.Error(t, s.try(limit))
		}
	}, func() { p.set(func() { p.held = false }) })
}

func TestOutageBeforeTheStart(t *testing.T) {
	t.Parallel()
	p := newProxy(t, start(t, devserver.Options{}).Addresses()[0])
	for name, outage := range map[string]*bool{"refused": &p.refuses, "black hole": &p.held} {
		p.set(func() { *outage = true })
		s := open(t, quick(p.address()))
		began := time.Now()
		require.ErrorIs(t, s.try(limit), driver.Unavailable, name)
		require.Zero(t, s.late(began, limit), name)
		_, err := s.Describe(t.Context(), driver.DescribeRequest{})
		require.NoError(t, err, name)
		p.set(func() { *outage = false })
		eventually(t, patience, func() error { return s.try(back) })
	}
}

// TestOutageOfTheSearch: nobody answers who leads, which is asked of all hosts.
func TestOutageOfTheSearch(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	var hosts []string
	var proxies []*proxy
	for _, address := range server.Addresses() {
		p := newProxy(t, address)
		p.set(func() { p.held = true })
		hosts, proxies = append(hosts, p.address()), append(proxies, p)
	}
	slow := quick(hosts...)
	slow["connect_timeout"] = "5s"
	s := open(t, slow)
	for range 3 {
		began := time.Now()
		require.ErrorIs(t, s.try(limit), driver.Unavailable)
		require.Zero(t, s.late(began, limit))
	}
	for _, p := range proxies {
		p.set(func() { p.held = false })
	}
	eventually(t, patience, func() error { return s.try(back) })
}

// TestOutageOfManyLeaders shows that searches leave nothing behind.
func TestOutageOfManyLeaders(t *testing.T) { //nolint:paralleltest // counts goroutines
	server := nodes(t, devserver.Options{ElectionTime: 20 * time.Millisecond})
	s := open(t, quick(server.Addresses()...)).ready()
	s.put("first")
	before := runtime.NumGoroutine()
	for i := range 30 {
		require.NoError(t, server.ResignLeader())
		leads(t, server)
		eventually(t, patience, func() error {
			_, _, err := s.one(t.Context(), back, fmt.Sprint("again-", i))
			return err
		})
	}
	eventually(t, patience, func() error {
		if now := runtime.NumGoroutine(); now > before {
			return fmt.Errorf("%d goroutines, and %d before", now, before)
		}
		return nil
	})
}

// TestOutageAmidAnAppend cuts the connection after each of many numbers of bytes,
// on the way there or back, so that appends are cut at every place.
func TestOutageAmidAnAppend(t *testing.T) {
	t.Parallel()
	p := newProxy(t, start(t, devserver.Options{}).Addresses()[0])
	s := open(t, quick(p.address())).ready()
	a := &answers{}
	for i := range 60 {
		p.set(func() {
			if p.up, p.down = -1, -1; i%3 > 0 {
				p.up = 40 * i
			} else {
				p.down = 10 * i
			}
		})
		a.note(s.one(t.Context(), 2*time.Second, fmt.Sprint("cut-", i)))
		p.set(func() { p.up, p.down = -1, -1 })
		eventually(t, patience, func() error { return s.try(back) })
	}
	require.NotEmpty(t, a.unknown, "some were cut when it could not be known")
	a.settle(s)
}

// TestOutageHundredTimes shows that outages leave nothing behind.
func TestOutageHundredTimes(t *testing.T) { //nolint:paralleltest // counts goroutines
	server := start(t, devserver.Options{})
	p := newProxy(t, server.Addresses()[0])
	s := open(t, quick(p.address())).ready()
	s.put("first")
	before := runtime.NumGoroutine()
	for i := range 100 {
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() {
				_, over, _ := s.one(t.Context(), limit, fmt.Sprintf("c-%d-%d", i, caller))
				if over > 0 {
					t.Errorf("a call was %s late", over)
				}
			})
		}
		p.set(func() { p.refuses = i%5 == 0 })
		p.cut()
		callers.Wait()
		p.set(func() { p.refuses = false })
		eventually(t, patience, func() error {
			_, _, err := s.one(t.Context(), back, fmt.Sprint("again-", i))
			return err
		})
	}
	eventually(t, patience, func() error {
		if now := runtime.NumGoroutine(); now > before {
			return fmt.Errorf("%d goroutines, and %d before", now, before)
		}
		if p.open() != 1 {
			return fmt.Errorf("%d connections", p.open())
		}
		return nil
	})
}

// TestCloseAmidCalls closes the store while a crowd calls.
func TestCloseAmidCalls(t *testing.T) {
	t.Parallel()
	for _, outage := range []bool{false, true} {
		p := newProxy(t, start(t, devserver.Options{}).Addresses()[0])
		s := open(t, quick(p.address())).ready()
		ctx, cancel := context.WithCancel(t.Context())
		a, callers := s.callers(ctx, crowd, limit, "close")
		eventually(t, patience, func() error {
			if a.count() < 100 {
				return fmt.Errorf("%d calls", a.count())
			}
			return nil
		})
		p.set(func() { p.held = outage })
		closing, done := context.WithTimeout(t.Context(), patience)
		require.NoError(t, s.Close(closing))
		done()
		cancel()
		callers.Wait()
		require.Empty(t, a.late)
		require.ErrorIs(t, s.try(limit), driver.Unavailable)
	}
}

// TestManyCallersShareFewStreams: a server allows 100 calls on a connection.
func TestManyCallersShareFewStreams(t *testing.T) {
	t.Parallel()
	s := open(t, calm(start(t, devserver.Options{}).Addresses()...)).ready()
	var callers sync.WaitGroup
	for i := range 300 {
		callers.Go(func() {
			id := fmt.Sprint("many-", i)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := s.commit(ctx, newStart(t, id, nil)); err != nil {
				t.Errorf("commit: %v", err)
			}
			if _, err := s.Get(ctx, driver.GetRequest{IDs: []string{id}}); err != nil {
				t.Errorf("get: %v", err)
			}
		})
	}
	callers.Wait()
}
