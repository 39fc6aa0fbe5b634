// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// election is how long the clusters of these tests take to elect a leader.
const election = 600 * time.Millisecond

func cluster(t testing.TB) *devserver.Server {
	t.Helper()
	return start(t, devserver.Options{Nodes: 3, ElectionTime: election, WriteTimeout: 100 * time.Millisecond})
}

func leads(t testing.TB, server *devserver.Server) int {
	t.Helper()
	var leader int
	eventually(t, patience, func() error {
		var ok bool
		if leader, ok = server.Leader(); !ok {
			return errors.New("no leader")
		}
		return nil
	})
	return leader
}

// TestClusterLosesItsLeader: followers first name the dead leader, then they are
// not ready, then one leads.
func TestClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	s := open(t, calm(server.Addresses()...)).ready()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, callers := s.callers(ctx, 10, limit, "load")
	for range 3 {
		leader := leads(t, server)
		eventually(t, patience, func() error { return s.try(back) })
		require.Equal(t, server.Addresses()[leader], s.probe().Details["node"])
		require.NoError(t, server.StopNode(leader))
		eventually(t, election+back, func() error { return s.try(election + back) })
		require.NotEqual(t, leader, leads(t, server))
		require.NoError(t, server.StartNode(leader))
	}
	cancel()
	callers.Wait()
	a.settle(s)
}

func TestClusterIsFoundThroughOneFollower(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	leader := leads(t, server)
	follower := server.Addresses()[(leader+1)%3]
	// A single host that is not asked for the leader says by itself that it is none.
	for _, discover := range []bool{true, false} {
		s := open(t, settings{"hosts": []string{follower}, "discover": discover}).ready()
		require.Equal(t, server.Addresses()[leader], s.probe().Details["node"])
	}
	s := open(t, settings{"connection_string": "esdb+discover://" + follower + "?tls=false"}).ready()
	probe := s.probe()
	require.Equal(t, server.Addresses()[leader], probe.Details["node"])
	require.Equal(t, "leader", probe.Role)
	require.Equal(t, "3", probe.Details["nodes"])
	require.NoError(t, server.StopNode((leader+2)%3))
	warnings := s.probe().Warnings
	require.Len(t, warnings, 1)
	require.Equal(t, "cluster-member-down", warnings[0].Code)
}

// TestClusterLosesItsQuorum: writes end in Aborted although they stand in the log of
// the leader, then nothing is ready.
func TestClusterLosesItsQuorum(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	leader := leads(t, server)
	s := open(t, calm(server.Addresses()...)).ready()
	s.put("before")
	require.NoError(t, server.StopNode((leader+1)%3))
	require.NoError(t, server.StopNode((leader+2)%3))
	a := &answers{}
	for i := range 5 {
		a.note(s.one(t.Context(), 2*limit, fmt.Sprint("q-", i)))
	}
	eventually(t, patience, func() error {
		if err := s.try(limit); driver.ClassOf(err) != driver.Unavailable {
			return fmt.Errorf("want unavailable, got %w", errors.Join(errors.New("an answer"), err))
		}
		return nil
	})
	require.NoError(t, server.StartNode((leader+1)%3))
	require.NoError(t, server.StartNode((leader+2)%3))
	eventually(t, election+back, func() error { return s.try(election + back) })
	require.NotNil(t, s.get("before"))
	a.settle(s)
}

func TestNodeThatNamesADeadLeader(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	dead, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	defer dead.Close()
	server := start(t, devserver.Options{})
	s := open(t, calm(server.Addresses()...)).ready()
	require.NoError(t, server.SetFaults(devserver.Faults{NotLeader: dead.Addr().String()}))
	for range 3 {
		began := time.Now()
		err := s.try(limit)
		require.ErrorIs(t, err, driver.Unavailable)
		require.Less(t, time.Since(began), limit+100*time.Millisecond)
	}
	require.NoError(t, server.SetFaults(devserver.Faults{}))
	eventually(t, back, func() error { return s.try(back) })
}

func TestServerThatIsNotReady(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{Faults: devserver.Faults{NotReady: 300 * time.Millisecond}})
	s := open(t, calm(server.Addresses()...))
	require.ErrorIs(t, s.try(50*time.Millisecond), driver.Unavailable)
	eventually(t, 300*time.Millisecond+back, func() error { return s.try(back) })
}
