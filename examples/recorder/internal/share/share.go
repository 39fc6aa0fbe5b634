// SPDX-License-Identifier: Apache-2.0

// Package share lets another process of this machine work on a store that this process has opened, over a Unix socket.
// The demonstration needs it, since the memory driver's data lives in one plugin process; hosts that share a product
// such as Redis open stores of their own.
package share

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
)

// shared keeps the store open when the other process closes its side.
type shared struct{ driver.Store }

func (shared) Close(context.Context) error { return nil }

// Serve serves the store to one other process that connects to the socket, until the returned function is called. The
// folder of the socket decides who may connect.
func Serve(ctx context.Context, store driver.Store, socket string) (stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("share a store: %w", err)
	}
	server := wire.NewServer(driver.Driver{
		Name: "shared", Version: "1",
		Open:     func(context.Context, driver.OpenRequest) (driver.Store, error) { return shared{store}, nil },
		Validate: func(json.RawMessage) error { return nil },
	}, slog.New(slog.DiscardHandler))
	transport := grpc.NewServer(wire.ServerOptions()...)
	server.Register(transport)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = transport.Serve(listener) // it ends with Stop
	}()
	return func() {
		transport.Stop()
		<-ended
	}, nil
}

// Dial opens the store that another process serves on the socket. The returned function ends the connection.
func Dial(ctx context.Context, socket, chain, link string) (store driver.Store, hangUp func() error, err error) {
	options := append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("unix:"+socket, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	client := wire.NewClient(conn, link)
	if err := client.Open(ctx, driver.OpenRequest{Chain: chain, Link: link}); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return client, conn.Close, nil
}
