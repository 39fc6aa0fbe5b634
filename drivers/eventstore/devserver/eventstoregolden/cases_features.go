// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sort"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

func init() {
	add("features", "supported-methods", func(t *T) {
		t.Do("ServerFeatures/GetSupportedMethods")
		var tr metadata.MD
		m, err := t.features.GetSupportedMethods(t.ctx, &shared.Empty{}, grpc.Trailer(&tr))
		if err != nil {
			t.SeeErr(err, tr)
			return
		}
		var l []string
		for _, x := range m.GetMethods() {
			l = append(l, fmt.Sprintf("%s/%s features=%q", x.GetServiceName(), x.GetMethodName(), x.GetFeatures()))
		}
		sort.Strings(l)
		for _, x := range l {
			t.See("%s", x)
		}
		if m.GetEventStoreServerVersion() != "" {
			t.See("version=set")
		}
	})
	add("gossip", "read", func(t *T) {
		t.Do("Gossip/Read")
		m, err := t.gossip.Read(t.ctx, &shared.Empty{})
		if err != nil {
			t.SeeErr(err, nil)
			return
		}
		for _, x := range m.GetMembers() {
			t.See("state=%s alive=%v instance=%v time=%v address=%v port=%v", x.GetState(), x.GetIsAlive(),
				x.GetInstanceId() != nil, x.GetTimeStamp() != 0, x.GetHttpEndPoint().GetAddress() != "", x.GetHttpEndPoint().GetPort() != 0)
		}
	})
	for _, m := range []string{
		"/event_store.client.streams.Streams/NoSuchMethod",
		"/event_store.client.nosuch.NoSuch/Read",
		"/event_store.client.streams.streams/Tombstone",
		"/event_store.client.monitoring.Monitoring/NoSuch",
		"/grpc.health.v1.Health/Check",
		"/nopackage",
	} {
		add("unknown-rpc", m[1:], func(t *T) {
			t.Do("call %s with an empty message", m)
			var tr metadata.MD
			err := t.conn.Invoke(t.ctx, m, &shared.Empty{}, &shared.Empty{}, grpc.Trailer(&tr))
			t.SeeErr(err, tr)
		})
	}
	cred := func(name string, kv ...string) {
		add("credentials", name, func(t *T) {
			s := t.S("cred")
			t.ctx = metadata.AppendToOutgoingContext(t.ctx, kv...)
			t.Do("with header %s", kv[0])
			t.Append(s, Any, ev("a"))
			t.Read(Q{Stream: s, From: Start, Count: 10})
			t.Read(Q{Stream: "$$$settings", From: Start, Count: 1, Kinds: true})
			t.Do("GetSupportedMethods")
			_, err := t.features.GetSupportedMethods(t.ctx, &shared.Empty{})
			t.SeeErr(err, nil)
			t.Do("Gossip/Read")
			_, err = t.gossip.Read(t.ctx, &shared.Empty{})
			t.SeeErr(err, nil)
		})
	}
	cred("admin-default", "authorization", basic("admin", "changeit"))
	cred("unknown-user", "authorization", basic("nobody", "wrong"))
	cred("malformed-basic", "authorization", "Basic !!!!")
	cred("bearer", "authorization", "Bearer abc")
	cred("requires-leader-true", "requires-leader", "true")
	cred("requires-leader-false", "requires-leader", "false")
	cred("connection-name", "connection-name", "golden")
}
