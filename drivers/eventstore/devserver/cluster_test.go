// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	gossip "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/internal/freeport"
)

// election is the election time of tests that look at what it is made of: long
// enough for a busy machine to come in time.
const election = 4 * time.Second

// clusterOf3 is a cluster and a raw connection to each node.
func clusterOf3(t *testing.T, o devserver.Options) (*devserver.Server, []wire) {
	t.Helper()
	o.Nodes, o.Listen = 3, net.JoinHostPort("127.0.0.1", strconv.Itoa(freeport.Reserve(t, 3))) // nobody takes them while a node is stopped
	server := start(t, o)
	var wires []wire
	for i := range 3 {
		w := dial(t, server, i)
		t.Cleanup(func() { require.NoError(t, w.conn.Close()) })
		wires = append(wires, w)
	}
	return server, wires
}

func members(t *testing.T, w wire) []*gossip.MemberInfo {
	t.Helper()
	info, err := gossip.NewGossipClient(w.conn).Read(t.Context(), &shared.Empty{})
	require.NoError(t, err)
	return info.GetMembers()
}

func leaderOnly(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}

func TestSingleNodeGossipsItself(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	got := members(t, f.wire)
	require.Len(t, got, 1)
	require.Equal(t, gossip.MemberInfo_Leader, got[0].GetState())
	require.True(t, got[0].GetIsAlive())
	host, port, err := net.SplitHostPort(f.server.Addresses()[0])
	require.NoError(t, err)
	require.Equal(t, host, got[0].GetHttpEndPoint().GetAddress())
	p, err := net.DefaultResolver.LookupPort(t.Context(), "tcp", port)
	require.NoError(t, err)
	require.EqualValues(t, p, got[0].GetHttpEndPoint().GetPort())
	_, _, err = f.wire.append(leaderOnly(t.Context()), "s", uuid.New())
	require.NoError(t, err)
}

func TestClusterIsDiscovered(t *testing.T) {
	t.Parallel()
	server, wires := clusterOf3(t, devserver.Options{})
	for _, w := range wires {
		got := members(t, w)
		require.Len(t, got, 3)
		for i, m := range got {
			require.True(t, m.GetIsAlive())
			require.Equal(t, i == 0, m.GetState() == gossip.MemberInfo_Leader)
		}
	}
	for _, preference := range []string{"leader", "follower"} {
		client := connect(t, server.URL()+"&nodePreference="+preference)
		_, err := client.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, event(uuid.New()))
		require.NoError(t, err, "a follower forwards writes")
		require.NoError(t, client.Close())
	}
	got, _, err := wires[2].read(t.Context(), streamRead("s"))
	require.NoError(t, err)
	require.Len(t, got, 2, "every node serves reads")
}

func TestFollowersNameTheLeaderWhenItIsRequired(t *testing.T) {
	t.Parallel()
	server, wires := clusterOf3(t, devserver.Options{})
	_, _, err := wires[0].append(leaderOnly(t.Context()), "s", uuid.New())
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(server.Addresses()[0])
	require.NoError(t, err)
	requireNamed := func(trailer metadata.MD, err error) {
		requireStatus(t, codes.NotFound, err)
		require.Equal(t, "not-leader", one(trailer, "exception"))
		require.Equal(t, host, one(trailer, "leader-endpoint-host"))
		require.Equal(t, port, one(trailer, "leader-endpoint-port"))
	}
	for _, w := range wires[1:] {
		_, trailer, err := w.append(leaderOnly(t.Context()), "s", uuid.New())
		requireNamed(trailer, err)
		_, trailer, err = w.read(leaderOnly(t.Context()), streamRead("s"))
		requireNamed(trailer, err)
	}
}

// answer is the code of a write to a node.
func answer(t *testing.T, w wire) (codes.Code, metadata.MD) {
	_, trailer, err := w.append(t.Context(), "s", uuid.New())
	return status.Code(err), trailer
}

func TestClusterReplacesItsLeader(t *testing.T) {
	t.Parallel()
	server, wires := clusterOf3(t, devserver.Options{ElectionTime: election})
	code, _ := answer(t, wires[0])
	require.Equal(t, codes.OK, code)
	require.NoError(t, server.StopNode(0))
	require.NoError(t, server.StopNode(0), "again")
	code, _ = answer(t, wires[0])
	require.Equal(t, codes.Unavailable, code)
	code, trailer := answer(t, wires[2])
	require.Equal(t, codes.NotFound, code)
	_, port, err := net.SplitHostPort(server.Addresses()[0])
	require.NoError(t, err)
	require.Equal(t, port, one(trailer, "leader-endpoint-port"), "the dead leader is named")

	var seen []codes.Code
	require.Eventually(t, func() bool {
		code, _ := answer(t, wires[2])
		if len(seen) == 0 || seen[len(seen)-1] != code {
			seen = append(seen, code)
		}
		return code == codes.OK
	}, waiting, 20*time.Millisecond)
	require.Contains(t, seen, codes.Unavailable, "not ready during the election: %v", seen)
	leader, ok := server.Leader()
	require.True(t, ok)
	require.Equal(t, 1, leader)
	got := members(t, wires[2])
	require.False(t, got[0].GetIsAlive())
	require.Equal(t, gossip.MemberInfo_Leader, got[1].GetState())
	_, _, err = wires[1].append(leaderOnly(t.Context()), "s", uuid.New())
	require.NoError(t, err)

	require.NoError(t, server.StartNode(0))
	require.Eventually(t, func() bool {
		code, _ := answer(t, wires[0])
		return code == codes.OK
	}, waiting, 20*time.Millisecond)
	got = members(t, wires[0])
	require.True(t, got[0].GetIsAlive())
	require.Equal(t, gossip.MemberInfo_Follower, got[0].GetState())
	require.Error(t, server.StopNode(3))
}

// TestClusterWithoutMajority: what the leader cannot finish is done once it has a majority again, or never if another
// node leads by then.
func TestClusterWithoutMajority(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		survives bool
		timeout  time.Duration
		text     string
	}{
		"the leader stays":   {true, 50 * time.Millisecond, "Operation timed out: Commit phase timeout."},
		"the leader is lost": {false, time.Minute, "Operation timed out: Request canceled by server."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, wires := clusterOf3(t, devserver.Options{ElectionTime: election, WriteTimeout: c.timeout})
			code, _ := answer(t, wires[0])
			require.Equal(t, codes.OK, code)
			require.NoError(t, server.StopNode(1))
			require.NoError(t, server.StopNode(2))
			_, _, err := wires[0].append(t.Context(), "s", uuid.New())
			requireStatus(t, codes.Aborted, err)
			require.Equal(t, c.text, status.Convert(err).Message())
			require.Eventually(t, func() bool {
				_, _, err := wires[0].append(t.Context(), "other", uuid.New())
				return status.Code(err) == codes.Unavailable && status.Convert(err).Message() == "Server Is Not Ready"
			}, waiting, time.Millisecond)
			_, ok := server.Leader()
			require.False(t, ok)
			require.Equal(t, 1, length(t, wires[0], "s"), "reads go on, and show what was acknowledged")
			if !c.survives {
				require.NoError(t, server.StopNode(0))
			}
			require.NoError(t, server.StartNode(1))
			require.NoError(t, server.StartNode(2))
			at := 0
			if !c.survives {
				at = 1
			}
			require.Eventually(t, func() bool {
				code, _ := answer(t, wires[at])
				return code == codes.OK
			}, waiting, 20*time.Millisecond)
			want := 2
			if c.survives {
				want = 3
			}
			require.Equal(t, want, length(t, wires[at], "s"))
		})
	}
}

// length is how many events a stream has according to a node.
func length(t *testing.T, w wire, stream string) int {
	t.Helper()
	got, _, err := w.read(t.Context(), streamRead(stream))
	require.NoError(t, err)
	return len(got)
}

// TestClusterReplacesAFrozenLeader: a leader that goes on after another was chosen takes itself for the leader, does not
// know what was written meanwhile, never answers a write, then names the other one, and at last restarts itself.
func TestClusterReplacesAFrozenLeader(t *testing.T) {
	t.Parallel()
	server, wires := clusterOf3(t, devserver.Options{ElectionTime: election})
	code, _ := answer(t, wires[0])
	require.Equal(t, codes.OK, code)
	instance := members(t, wires[0])[0].GetInstanceId().String()
	require.NoError(t, server.FreezeNode(0))
	require.NoError(t, server.FreezeNode(0), "again")
	briefly := func() context.Context {
		ctx, cancel := context.WithTimeout(leaderOnly(t.Context()), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	_, _, err := wires[0].append(briefly(), "s", uuid.New())
	requireStatus(t, codes.DeadlineExceeded, err)
	_, err = gossip.NewGossipClient(wires[0].conn).Read(briefly(), &shared.Empty{})
	requireStatus(t, codes.DeadlineExceeded, err)
	require.Eventually(t, func() bool {
		code, _ := answer(t, wires[2])
		return code == codes.OK
	}, waiting, 20*time.Millisecond)
	leader, _ := server.Leader()
	require.Equal(t, 1, leader)

	require.NoError(t, server.ThawNode(0))
	got := members(t, wires[0])
	require.Equal(t, gossip.MemberInfo_Leader, got[0].GetState())
	require.NotEqual(t, gossip.MemberInfo_Leader, got[1].GetState())
	require.Equal(t, gossip.MemberInfo_Leader, members(t, wires[2])[1].GetState())
	stale, _, err := wires[0].read(leaderOnly(t.Context()), streamRead("s"))
	require.NoError(t, err)
	require.Less(t, len(stale), length(t, wires[1], "s"))
	_, _, err = wires[0].append(briefly(), "s", uuid.New())
	requireStatus(t, codes.DeadlineExceeded, err)
	_, port, err := net.SplitHostPort(server.Addresses()[1])
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, trailer, _ := wires[0].append(briefly(), "s", uuid.New())
		return one(trailer, "leader-endpoint-port") == port
	}, waiting, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		info, err := gossip.NewGossipClient(wires[0].conn).Read(t.Context(), &shared.Empty{})
		return err == nil && info.GetMembers()[0].GetInstanceId().String() != instance
	}, waiting, 20*time.Millisecond, "it restarts")
	require.Equal(t, length(t, wires[1], "s"), length(t, wires[0], "s"))
	leader, ok := server.Leader()
	require.True(t, ok)
	require.Equal(t, 1, leader)
}

func TestFrozenNodesGoOn(t *testing.T) {
	t.Parallel()
	server, wires := clusterOf3(t, devserver.Options{ElectionTime: time.Minute})
	require.NoError(t, server.FreezeNode(0))
	require.NoError(t, server.ThawNode(0), "before another was chosen")
	code, _ := answer(t, wires[0])
	require.Equal(t, codes.OK, code)
	require.NoError(t, server.FreezeNode(2))
	code, _ = answer(t, wires[0])
	require.Equal(t, codes.OK, code, "a follower is not missed")
	require.NoError(t, server.ThawNode(2))
	require.Equal(t, 2, length(t, wires[2], "s"))
	require.NoError(t, server.FreezeNode(0))
	require.NoError(t, server.StopNode(0), "a frozen node can be killed")
	require.NoError(t, server.ThawNode(0), "and does not come back by that")
	code, _ = answer(t, wires[0])
	require.Equal(t, codes.Unavailable, code)
	require.Error(t, server.FreezeNode(3))
	require.Error(t, server.ThawNode(-1))
	require.NoError(t, server.FreezeNode(1), "and a frozen server can be closed")
}

func TestClusterReplacesALeaderThatResigns(t *testing.T) {
	t.Parallel()
	server, wires := clusterOf3(t, devserver.Options{ElectionTime: election})
	require.NoError(t, server.ResignLeader())
	require.NoError(t, server.ResignLeader(), "there is none")
	for _, w := range wires {
		code, _ := answer(t, w)
		require.Equal(t, codes.Unavailable, code)
	}
	require.Eventually(t, func() bool {
		code, _ := answer(t, wires[0])
		return code == codes.OK
	}, waiting, 20*time.Millisecond)
	leader, ok := server.Leader()
	require.True(t, ok)
	require.Equal(t, 1, leader)
	_, trailer, err := wires[0].append(leaderOnly(t.Context()), "s", uuid.New())
	requireStatus(t, codes.NotFound, err)
	require.Equal(t, "not-leader", one(trailer, "exception"))
}
