// SPDX-License-Identifier: Apache-2.0

// Package wiretest puts the wire between a test and a store, in one process. It
// is for tests of drivers and of what stands above them.
package wiretest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
)

// TB is what is needed of a test; *testing.T and *testing.B are such.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	Errorf(format string, args ...any)
	FailNow()
}

// InMemory returns store as it looks through the wire: every call is encoded,
// crosses a gRPC connection in memory, and comes back. Closing what it returns
// closes store. The connection, and with it store, ends with the test at the
// latest.
func InMemory(tb TB, store driver.Store) *wire.Client {
	tb.Helper()
	return open(tb, Connect(tb, driverOf(store)))
}

// ByLane is InMemory with a lane beside the connection of gRPC; see [wire.Lane].
func ByLane(tb TB, store driver.Store) *wire.Client {
	tb.Helper()
	d := driverOf(store)
	conn, server := connect(tb, d)
	ours, theirs := tcp(tb)
	served := make(chan error, 1)
	go func() { served <- server.ServeLane(theirs) }()
	lane := wire.NewLane(ours, conn)
	tb.Cleanup(func() {
		lane.Close()
		if err := <-served; err == nil {
			tb.Errorf("the lane has ended without a reason")
		}
	})
	for began := time.Now(); !lane.Open(); runtime.Gosched() {
		if time.Since(began) > time.Minute {
			tb.Errorf("the lane is not served")
			tb.FailNow()
		}
	}
	return open(tb, wire.NewClient(lane, d.Name))
}

// tcp returns the two ends of a connection.
func tcp(tb TB) (ours, theirs net.Conn) {
	tb.Helper()
	var listening net.ListenConfig
	var dialing net.Dialer
	listener, err := listening.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err == nil {
		defer func() { _ = listener.Close() }()
		if ours, err = dialing.DialContext(tb.Context(), "tcp", listener.Addr().String()); err == nil {
			theirs, err = listener.Accept()
		}
	}
	if err != nil {
		tb.Errorf("connect: %v", err)
		tb.FailNow()
	}
	return ours, theirs
}

func driverOf(store driver.Store) driver.Driver {
	return driver.Driver{
		Name:     "in-memory",
		Open:     func(context.Context, driver.OpenRequest) (driver.Store, error) { return store, nil },
		Validate: func(json.RawMessage) error { return nil },
	}
}

func open(tb TB, client *wire.Client) *wire.Client {
	tb.Helper()
	if err := client.Open(tb.Context(), driver.OpenRequest{}); err != nil {
		tb.Errorf("open the store through the wire: %v", err)
		tb.FailNow()
	}
	return client
}

// Connect returns a client of d in which no store is open yet.
func Connect(tb TB, d driver.Driver) *wire.Client {
	tb.Helper()
	conn, _ := connect(tb, d)
	return wire.NewClient(conn, d.Name)
}

// connect returns a connection to a server of d.
func connect(tb TB, d driver.Driver) (*grpc.ClientConn, *wire.Server) {
	tb.Helper()
	listener := bufconn.Listen(1 << 20)
	server := wire.NewServer(d, slog.New(slog.DiscardHandler))
	transport := grpc.NewServer(wire.ServerOptions()...)
	server.Register(transport)
	served := make(chan error, 1)
	go func() { served <- transport.Serve(listener) }()

	options := append(wire.DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("passthrough:///in-memory", options...)
	if err != nil {
		tb.Errorf("connect to the driver: %v", err)
		tb.FailNow()
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx, time.Second); err != nil {
			tb.Errorf("shut the driver down: %v", err)
		}
		if err := conn.Close(); err != nil {
			tb.Errorf("close the connection: %v", err)
		}
		transport.Stop()
		if err := <-served; err != nil {
			tb.Errorf("serve the driver: %v", err)
		}
	})
	return conn, server
}
