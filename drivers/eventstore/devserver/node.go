// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	gossip "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	features "github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Limits of a connection, those of the real server.
const (
	maxStreams       = 100
	keepAlive        = 10 * time.Second
	minClientPing    = 5 * time.Second
	servicesPrefix   = "/event_store.client."
	notImplementedIn = "the development server has no persistent subscriptions, projections, users or operations: %s is not implemented"
)

// node is one address at which the server answers.
type node struct {
	number   int
	id       uuid.UUID
	address  string
	endPoint endPoint
	grpc     *grpc.Server
	served   chan struct{} // closed when the node has stopped
	gate     gate
}

// listen takes the node's address; after the first time the same one again.
func (n *node) listen(address string) (net.Listener, error) {
	if n.address != "" {
		address = n.address
	}
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	n.address = l.Addr().String()
	if n.endPoint, err = splitEndPoint(n.address); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &gatedListener{Listener: l, gate: &n.gate, closed: make(chan struct{})}, nil
}

// serve answers calls until the node is stopped.
func (n *node) serve(s *Server, l net.Listener) {
	n.grpc = s.newGRPC(n)
	n.served = make(chan struct{})
	go func() {
		defer close(n.served)
		if err := n.grpc.Serve(l); err != nil {
			s.options.Logger.Error("development server stopped answering", zap.String("address", n.address), zap.Error(err))
		}
	}()
}

// stop cuts all connections.
func (n *node) stop() {
	if n.grpc == nil {
		return
	}
	n.grpc.Stop()
	<-n.served
	n.grpc = nil
	n.gate.open()
}

func (s *Server) newGRPC(n *node) *grpc.Server {
	services := &dispatcher{}
	options := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(maxMessageSize),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepAlive, Timeout: keepAlive}),
		grpc.UnknownServiceHandler(services.handle),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			resp, err := handle(ctx, req)
			s.report(info.FullMethod, err)
			return resp, err
		}),
		grpc.ChainStreamInterceptor(func(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			err := handle(service, stream)
			s.report(info.FullMethod, err)
			return err
		}),
	}
	if s.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.tls)))
	}
	g := grpc.NewServer(options...)
	services.register(g, &api.Streams_ServiceDesc, &streams{Server: s, node: n})
	services.register(g, &gossip.Gossip_ServiceDesc, &gossiper{server: s, node: n})
	services.register(g, &features.ServerFeatures_ServiceDesc, &featurer{server: s})
	return g
}

// reportEvery is how often failures of the server itself are logged at most.
const reportEvery = time.Second

// report logs that a call ended because the server itself failed, as with a full disk.
func (s *Server) report(method string, err error) {
	if status.Code(err) != codes.Internal {
		return
	}
	last, now := s.reported.Load(), time.Now().UnixNano()
	if now-last < int64(reportEvery) || !s.reported.CompareAndSwap(last, now) {
		return
	}
	s.options.Logger.Error("development server failed: see that the directory of its data can be written to and its disk has room",
		zap.String("call", method), zap.Error(err))
}

// dispatcher serves what the gRPC server does not find: methods in another case, and methods that do not exist.
type dispatcher struct {
	methods map[string]grpc.StreamHandler // by path in lower case
}

func (d *dispatcher) register(g *grpc.Server, desc *grpc.ServiceDesc, service any) {
	g.RegisterService(desc, service)
	if d.methods == nil {
		d.methods = map[string]grpc.StreamHandler{}
	}
	path := func(method string) string { return strings.ToLower("/" + desc.ServiceName + "/" + method) }
	for _, m := range desc.Methods {
		d.methods[path(m.MethodName)] = func(_ any, call grpc.ServerStream) error {
			answer, err := m.Handler(service, call.Context(), call.RecvMsg, nil)
			if err != nil {
				return err
			}
			return call.SendMsg(answer)
		}
	}
	for _, m := range desc.Streams {
		d.methods[path(m.StreamName)] = func(_ any, call grpc.ServerStream) error { return m.Handler(service, call) }
	}
}

func (d *dispatcher) handle(srv any, call grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(call)
	lower := strings.ToLower(path)
	if handler, ok := d.methods[lower]; ok {
		return handler(srv, call)
	}
	service := lower[:strings.LastIndex(lower, "/")+1]
	for known := range d.methods {
		if strings.HasPrefix(known, service) {
			return status.Error(codes.Unimplemented, "Method is unimplemented.")
		}
	}
	if strings.HasPrefix(lower, servicesPrefix) {
		return status.Errorf(codes.Unimplemented, notImplementedIn, path)
	}
	return status.Errorf(codes.Unimplemented, "unknown service: %s", path)
}

// nodeAddress is the address that the i-th node is to take.
func nodeAddress(listen string, i int) (string, error) {
	at, err := splitEndPoint(listen)
	if err != nil {
		return "", err
	}
	if at.port != 0 {
		at.port += uint32(i)
	}
	return net.JoinHostPort(at.host, fmt.Sprint(at.port)), nil
}
