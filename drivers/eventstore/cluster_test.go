// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/internal/freeport"
)

// election is how long the clusters of these tests take to elect a leader.
const election = 600 * time.Millisecond

func cluster(t testing.TB) *devserver.Server {
	t.Helper()
	return nodes(t, devserver.Options{ElectionTime: election, WriteTimeout: 100 * time.Millisecond})
}

// nodes runs a cluster whose addresses nobody takes while its nodes are stopped.
func nodes(t testing.TB, o devserver.Options) *devserver.Server {
	t.Helper()
	o.Nodes, o.Listen = 3, net.JoinHostPort("127.0.0.1", strconv.Itoa(freeport.Reserve(t, 3)))
	return start(t, o)
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

// inLoad lets callers work while the cluster fails, and checks all outcomes at the
// end.
func inLoad(t *testing.T, s store, failure func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, callers := s.callers(ctx, 10, limit, "load")
	failure()
	before := a.count()
	eventually(t, patience, func() error {
		if a.count() == before {
			return errors.New("nothing is accepted any more")
		}
		return nil
	})
	cancel()
	callers.Wait()
	a.settle(s)
}

// goesOn waits until the store serves again, from another node than the one given.
func goesOn(t *testing.T, server *devserver.Server, s store, not int) {
	t.Helper()
	eventually(t, patience, func() error { return s.try(limit) })
	require.NotEqual(t, not, leads(t, server))
	require.NotEqual(t, server.Addresses()[not], s.probe().Details["node"])
}

// TestClusterLeaderKilled: followers first name the dead leader, then they are not
// ready, then one leads.
func TestClusterLeaderKilled(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	s := open(t, quick(server.Addresses()...)).ready()
	inLoad(t, s, func() {
		for range 3 {
			leader := leads(t, server)
			eventually(t, patience, func() error { return s.try(back) })
			require.Equal(t, server.Addresses()[leader], s.probe().Details["node"])
			require.NoError(t, server.StopNode(leader))
			goesOn(t, server, s, leader)
			require.NoError(t, server.StartNode(leader))
		}
	})
}

// TestClusterLeaderFrozen: nothing comes back from the leader, and the others name
// it until they elect another.
func TestClusterLeaderFrozen(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	s := open(t, quick(server.Addresses()...)).ready()
	seen := driver.Marks{}
	inLoad(t, s, func() {
		leader := leads(t, server)
		require.NoError(t, server.FreezeNode(leader))
		if s.try(limit) == nil {
			require.NotEqual(t, leader, leads(t, server), "it does not answer, so another one does by now")
		}
		goesOn(t, server, s, leader)
		seen = s.probe().Marks
	})
	require.NoError(t, s.sees(seen), "nothing was lost")
}

// TestClusterOldLeaderThaws: the old leader takes itself for the leader and knows
// nothing of what was written since, then names the new one, then restarts. Stores
// that know the cluster, and new ones, never notice.
func TestClusterOldLeaderThaws(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	s := open(t, quick(server.Addresses()...)).ready()
	old := leads(t, server)
	inLoad(t, s, func() {
		require.NoError(t, server.FreezeNode(old))
		goesOn(t, server, s, old)
		s.put("meanwhile")
		seen := s.probe().Marks
		require.NoError(t, server.ThawNode(old))
		late := open(t, quick(server.Addresses()...)).ready()
		require.NotNil(t, late.get("meanwhile"))
		for since := time.Now(); time.Since(since) < 2*election; { // past its restart
			require.NoError(t, s.sees(seen))
		}
		require.NotEqual(t, server.Addresses()[old], s.probe().Details["node"])
	})
}

// TestClusterOldLeaderIsTakenForTheLeader: a store that knows only the old leader
// gets no answer to what it writes there, and goes on with the new leader once it
// is told.
func TestClusterOldLeaderIsTakenForTheLeader(t *testing.T) {
	t.Parallel()
	for duration := 3 * election; !takenForTheLeader(t, duration); duration *= 3 {
		t.Logf("the machine was too slow for elections of %s", duration)
	}
}

// takenForTheLeader reports whether the old leader was met in time: it takes itself
// for the leader during half of the election time.
func takenForTheLeader(t *testing.T, electionTime time.Duration) bool {
	t.Helper()
	server := nodes(t, devserver.Options{ElectionTime: electionTime})
	old := leads(t, server)
	all := open(t, quick(server.Addresses()...)).ready()
	all.put("before")
	require.NoError(t, server.FreezeNode(old))
	eventually(t, patience+electionTime, func() error { return all.try(limit) })
	all.put("meanwhile")
	require.NoError(t, server.ThawNode(old))
	thawed := time.Now()
	one := open(t, quick(server.Addresses()[old]))
	eventually(t, patience, func() error { return one.try(limit) })
	stale, readErr := one.find(t.Context(), "meanwhile")
	tr := newStart(t, "unanswered", nil)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	writeErr := one.commit(ctx, tr)
	if time.Since(thawed) > electionTime/2 {
		return false
	}
	require.NoError(t, readErr)
	require.Nil(t, stale, "an old state")
	require.ErrorIs(t, writeErr, driver.Unknown)
	eventually(t, patience, func() error {
		if r, err := one.find(t.Context(), "meanwhile"); err != nil || r != nil {
			return err
		}
		return errors.New("still an old state")
	})
	require.NoError(t, one.within(patience, func(ctx context.Context) error { return one.commit(ctx, tr) }))
	require.NotNil(t, all.get("unanswered"))
	return true
}

// TestClusterOldLeaderIsNotBelieved: the new leader is lost just when the old one
// thaws, whose word is then the only one. What was acknowledged in between counts as
// out of reach, not as lost.
func TestClusterOldLeaderIsNotBelieved(t *testing.T) {
	t.Parallel()
	server := nodes(t, devserver.Options{ElectionTime: 3 * election})
	s := open(t, quick(server.Addresses()...)).ready()
	old := leads(t, server)
	require.NoError(t, server.FreezeNode(old))
	eventually(t, patience, func() error { return s.try(limit) })
	s.put("meanwhile")
	seen := s.probe().Marks
	require.NoError(t, server.ThawNode(old))
	require.NoError(t, server.StopNode(leads(t, server)))
	eventually(t, patience, func() error {
		err := s.sees(seen)
		require.NotErrorIs(t, err, driver.Lost)
		return err
	})
	require.NotNil(t, s.get("meanwhile"))
}

// TestClusterLeaderResigns: the old leader lives on as a follower.
func TestClusterLeaderResigns(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	s := open(t, quick(server.Addresses()...)).ready()
	inLoad(t, s, func() {
		for range 2 {
			leader := leads(t, server)
			require.NoError(t, server.ResignLeader())
			goesOn(t, server, s, leader)
		}
	})
}

func TestClusterIsFoundThroughOneFollower(t *testing.T) {
	t.Parallel()
	server := cluster(t)
	leader := leads(t, server)
	follower := server.Addresses()[(leader+1)%3]
	// A single host that is not asked for the leader says by itself that it is none.
	for _, discover := range []bool{true, false} {
		s := open(t, patient(settings{"hosts": []string{follower}, "discover": discover})).ready()
		require.Equal(t, server.Addresses()[leader], s.probe().Details["node"])
	}
	s := open(t, patient(settings{"connection_string": "esdb+discover://" + follower + "?tls=false"})).ready()
	probe := s.probe()
	require.Equal(t, server.Addresses()[leader], probe.Details["node"])
	require.Equal(t, "leader", probe.Role)
	require.Equal(t, "3", probe.Details["nodes"])
	require.NoError(t, server.StopNode((leader+2)%3))
	warnings := s.probe().Warnings
	require.Len(t, warnings, 1)
	require.Equal(t, "cluster-member-down", warnings[0].Code)
}

// TestClusterIsFoundBehindANameWhoseFirstAddressIsDead: one name stands for all nodes,
// and the first of its addresses takes connections and says nothing.
func TestClusterIsFoundBehindANameWhoseFirstAddressIsDead(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{TLS: true, Nodes: 3})
	_, port, err := net.SplitHostPort(server.Addresses()[(leads(t, server)+1)%3])
	require.NoError(t, err)
	var config net.ListenConfig
	dead, err := config.Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.2", port))
	require.NoError(t, err)
	defer dead.Close()
	asked := make(chan error, 1)
	go func() {
		conn, err := dead.Accept()
		asked <- err
		if err == nil {
			<-t.Context().Done()
			_ = conn.Close()
		}
	}()
	s := settings{
		"connection_string": "esdb+discover://admin:changeit@localhost:" + port + "?tlsCAFile=" + caFile(t, server), // its certificate is for that name
		"connect_timeout":   "500ms",
	}
	eventually(t, patience, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, _, err := eventstore.NewLogOf(t, s.json(t), journalStream, "127.0.0.2", "127.0.0.1").Bounds(ctx)
		return err
	})
	require.NoError(t, <-asked)
}

// TestClusterFollowersKilled: writes end in Aborted, then nothing is ready. What was
// written then survives if the leader does.
func TestClusterFollowersKilled(t *testing.T) {
	t.Parallel()
	for name, survives := range map[string]bool{"and come back": true, "and the leader after them": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The leader notices after this time that it is alone; until then it takes writes.
			server := nodes(t, devserver.Options{ElectionTime: 5 * election, WriteTimeout: 100 * time.Millisecond})
			leader := leads(t, server)
			s := open(t, quick(server.Addresses()...)).ready()
			s.put("before")
			require.NoError(t, server.StopNode((leader+1)%3))
			require.NoError(t, server.StopNode((leader+2)%3))
			a := &answers{}
			for i := range 5 {
				a.note(s.one(t.Context(), limit, fmt.Sprint("q-", i)))
			}
			require.NotEmpty(t, a.unknown)
			require.Empty(t, a.accepted)
			eventually(t, patience, func() error {
				if err := s.try(limit); driver.ClassOf(err) != driver.Unavailable {
					return fmt.Errorf("want unavailable, got %w", errors.Join(errors.New("an answer"), err))
				}
				return nil
			})
			if !survives {
				require.NoError(t, server.StopNode(leader))
			}
			require.NoError(t, server.StartNode((leader+1)%3))
			require.NoError(t, server.StartNode((leader+2)%3))
			eventually(t, patience, func() error { return s.try(limit) })
			require.NotNil(t, s.get("before"))
			first := a.unknown[0].Record.ID
			if survives {
				eventually(t, patience, func() error {
					if s.get(first) == nil {
						return errors.New("not there")
					}
					return nil
				})
			} else {
				require.Nil(t, s.get(first))
			}
			a.settle(s)
		})
	}
}

// TestClusterFollowerNamesADeadLeader: the name is not followed, and calls end in
// time.
func TestClusterFollowerNamesADeadLeader(t *testing.T) {
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
		require.Zero(t, s.late(began, limit))
	}
	require.NoError(t, server.SetFaults(devserver.Faults{}))
	eventually(t, patience, func() error { return s.try(back) })
}

func TestServerThatIsNotReady(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{Faults: devserver.Faults{NotReady: time.Hour}})
	s := open(t, calm(server.Addresses()...))
	require.ErrorIs(t, s.try(limit), driver.Unavailable)
	require.NoError(t, server.SetFaults(devserver.Faults{NotReady: 300 * time.Millisecond}))
	eventually(t, patience, func() error { return s.try(back) })
}
