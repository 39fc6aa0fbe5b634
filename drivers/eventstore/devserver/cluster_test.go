// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"context"
	"net"
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
)

// clusterOf3 is a cluster and a raw connection to each node.
func clusterOf3(t *testing.T, o devserver.Options) (*devserver.Server, []wire) {
	t.Helper()
	o.Nodes = 3
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
	server, wires := clusterOf3(t, devserver.Options{ElectionTime: 2 * time.Second})
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

func TestClusterWithoutMajority(t *testing.T) {
	t.Parallel()
	server, wires := clusterOf3(t, devserver.Options{ElectionTime: 2 * time.Second, WriteTimeout: 50 * time.Millisecond})
	code, _ := answer(t, wires[0])
	require.Equal(t, codes.OK, code)
	require.NoError(t, server.StopNode(1))
	require.NoError(t, server.StopNode(2))
	_, _, err := wires[0].append(t.Context(), "s", uuid.New())
	requireStatus(t, codes.Aborted, err)
	require.ErrorContains(t, err, "Commit phase timeout")
	require.Eventually(t, func() bool {
		code, _ := answer(t, wires[0])
		return code == codes.Unavailable
	}, waiting, 20*time.Millisecond)
	_, ok := server.Leader()
	require.False(t, ok)
	got, _, err := wires[0].read(t.Context(), streamRead("s"))
	require.NoError(t, err, "reads go on")
	require.GreaterOrEqual(t, len(got), 2, "the write that timed out stands in the log")
	require.NoError(t, server.StartNode(1))
	require.Eventually(t, func() bool {
		code, _ := answer(t, wires[0])
		return code == codes.OK
	}, waiting, 20*time.Millisecond)
}
