// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"time"

	gossip "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	features "github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
)

// Version is the version of EventStoreDB that the server imitates and names as its own.
const Version = "23.10.6"

// ticks is the unit of time stamps in gossip: 100 ns since the year 1.
func ticks(t time.Time) int64 {
	const unixEpoch = 621355968000000000
	return unixEpoch + t.UnixNano()/100
}

// gossiper is the Gossip service of one node.
type gossiper struct {
	gossip.UnimplementedGossipServer
	server *Server
	node   *node
}

// Read tells who is in the cluster. It needs no credentials, but wrong ones are refused.
func (g *gossiper) Read(ctx context.Context, _ *shared.Empty) (*gossip.ClusterInfo, error) {
	if _, err := g.server.users.identify(ctx); err != nil {
		return nil, err
	}
	return &gossip.ClusterInfo{Members: g.server.cluster.gossip(g.node, time.Now())}, nil
}

// featurer is the ServerFeatures service.
type featurer struct {
	features.UnimplementedServerFeaturesServer
	server *Server
}

// supported are the methods that the server has and the features that clients look for, in lower case like all
// names of services and methods in this list.
var supported = []*features.SupportedMethod{
	{ServiceName: "event_store.client.gossip.gossip", MethodName: "read"},
	{ServiceName: "event_store.client.server_features.serverfeatures", MethodName: "getsupportedmethods"},
	{ServiceName: "event_store.client.streams.streams", MethodName: "append"},
	{ServiceName: "event_store.client.streams.streams", MethodName: "batchappend", Features: []string{"deadline_duration"}},
	{ServiceName: "event_store.client.streams.streams", MethodName: "delete"},
	{ServiceName: "event_store.client.streams.streams", MethodName: "read", Features: []string{"position", "events"}},
	{ServiceName: "event_store.client.streams.streams", MethodName: "tombstone"},
}

// GetSupportedMethods lists the methods. It needs no credentials, but wrong ones are refused.
func (f *featurer) GetSupportedMethods(ctx context.Context, _ *shared.Empty) (*features.SupportedMethods, error) {
	if _, err := f.server.users.identify(ctx); err != nil {
		return nil, err
	}
	return &features.SupportedMethods{Methods: supported, EventStoreServerVersion: Version}, nil
}
