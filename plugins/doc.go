// SPDX-License-Identifier: Apache-2.0

// Package plugins is the process boundary between a chain and its drivers: a
// driver runs in a subprocess of its own, so that its client library can crash,
// leak or hang without the host. Authors of drivers call [Serve] in the main of
// their binary; hosts call [Launch].
//
// Hosts run on Linux. The gRPC contract itself is in package wire and knows
// nothing of subprocesses.
package plugins

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/plugins/wire"
)

// ProtocolVersion is the version of what host and plugin speak before and on the
// wire. A host refuses plugins of another one.
const ProtocolVersion = 1

// The handshake tells a plugin that a host has started it; it protects nothing.
const (
	cookieKey   = "UNDERSTUDY_PLUGIN"
	cookieValue = "2f1e6a1f6f0d4a55b7c64d0d83f7b6f0"
)

// logLevelKey names the variable with the lowest level the host writes, so that
// a plugin need not send what nobody reads.
const logLevelKey = "UNDERSTUDY_PLUGIN_LOG_LEVEL"

// pluginName is the one thing that go-plugin's plugin sets hold here.
const pluginName = "driver"

var handshake = plugin.HandshakeConfig{MagicCookieKey: cookieKey, MagicCookieValue: cookieValue}

// pluginSets returns what host and plugin agree on; server is nil in the host.
func pluginSets(server *wire.Server) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {pluginName: &boundary{server: server}}}
}

// boundary is where go-plugin ends and package wire begins.
type boundary struct {
	plugin.NetRPCUnsupportedPlugin

	server *wire.Server
}

var _ plugin.GRPCPlugin = (*boundary)(nil)

// GRPCServer implements plugin.GRPCPlugin.
func (b *boundary) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	b.server.Register(s)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin. It returns the connection.
func (b *boundary) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
