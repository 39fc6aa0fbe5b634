// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// server starts a gRPC server of one's own making, and connects a client to it.
func server(t *testing.T, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	register(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///test", append(wire.DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(); s.Stop(); require.NoError(t, <-served) })
	return conn
}

// odd is a peer that does not keep to the protocol.
type odd struct {
	wirev1.UnimplementedDriverServer
}

func (odd) Commit(context.Context, *wirev1.CommitRequest) (*wirev1.CommitResponse, error) {
	return &wirev1.CommitResponse{Verdicts: &wirev1.Verdicts{Flags: []byte{0, 0, 0}}}, nil
}

func (odd) Merge(context.Context, *wirev1.MergeRequest) (*wirev1.MergeResponse, error) {
	return &wirev1.MergeResponse{}, nil
}

func (odd) Claim(context.Context, *wirev1.ClaimRequest) (*wirev1.ClaimResponse, error) {
	return &wirev1.ClaimResponse{Records: []byte{1, 2, 3}}, nil
}

func (odd) Get(context.Context, *wirev1.GetRequest) (*wirev1.GetResponse, error) {
	return &wirev1.GetResponse{Records: []byte{1, 2, 3}}, nil
}

func (odd) Changes(_ *wirev1.ChangesRequest, stream grpc.ServerStreamingServer[wirev1.ChangesResponse]) error {
	return stream.Send(&wirev1.ChangesResponse{Records: []byte{1, 2, 3}})
}

func TestOddAnswers(t *testing.T) {
	t.Parallel()
	client := wire.NewClient(server(t, func(s *grpc.Server) { wirev1.RegisterDriverServer(s, odd{}) }), "odd")
	_, err := client.Commit(t.Context(), one("a"))
	require.ErrorIs(t, err, driver.Unknown)
	require.ErrorContains(t, err, "3 verdicts for 1 records")
	_, err = client.Merge(t.Context(), driver.MergeRequest{Records: make([]driver.Record, 1)})
	require.ErrorIs(t, err, driver.Unknown)
	_, err = client.Claim(t.Context(), driver.ClaimRequest{})
	require.ErrorIs(t, err, driver.Unknown)
	_, err = client.Get(t.Context(), driver.GetRequest{})
	require.ErrorIs(t, err, driver.Internal)
	require.ErrorIs(t, client.Changes(t.Context(), driver.ChangesRequest{}, nil), driver.Internal)
	_, err = client.List(t.Context(), driver.ListRequest{})
	require.ErrorIs(t, err, driver.Unsupported, "not implemented")
	_, err = client.Advance(t.Context(), driver.AdvanceRequest{})
	require.ErrorIs(t, err, driver.Unsupported)
}

// Peers that use nothing of this package but the messages are understood.
func TestPlainProtobuf(t *testing.T) {
	t.Parallel()
	s := wire.NewServer(stubDriver(&stub{
		commit: func(_ context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
			return driver.CommitResponse{Verdicts: make([]driver.Verdict, len(req.Transitions))}, nil
		},
		get: func(context.Context, driver.GetRequest) (driver.GetResponse, error) {
			return driver.GetResponse{Records: []driver.Record{{ID: "a"}, {ID: "b"}}}, nil
		},
	}), nil)
	conn := server(t, func(r *grpc.Server) { s.Register(r) }) // with the standard codec
	client := wire.NewClient(conn, "plain")
	require.NoError(t, client.Open(t.Context(), driver.OpenRequest{}))
	resp, err := client.Commit(t.Context(), one("a"))
	require.NoError(t, err)
	require.Len(t, resp.Verdicts, 1)
	got, err := wirev1.NewDriverClient(conn).Get(t.Context(), &wirev1.GetRequest{})
	require.NoError(t, err)
	require.NotEmpty(t, got.GetRecords())
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 3)
	wait := func(ctx context.Context) error { reached <- struct{}{}; <-ctx.Done(); return ctx.Err() }
	s := wire.NewServer(stubDriver(&stub{
		commit: func(ctx context.Context, _ driver.CommitRequest) (driver.CommitResponse, error) {
			return driver.CommitResponse{}, wait(ctx)
		},
		get: func(ctx context.Context, _ driver.GetRequest) (driver.GetResponse, error) {
			return driver.GetResponse{}, wait(ctx)
		},
		changes: func(ctx context.Context, _ driver.ChangesRequest, _ func(driver.ChangeBatch) error) error {
			return wait(ctx)
		},
	}), nil)
	var transport *grpc.Server
	conn := server(t, func(r *grpc.Server) { s.Register(r); transport = r })
	client := wire.NewClient(conn, "lost")
	require.NoError(t, client.Open(t.Context(), driver.OpenRequest{}))
	write, read, feed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { _, err := client.Commit(t.Context(), one("a")); write <- err }()
	go func() { _, err := client.Get(t.Context(), driver.GetRequest{}); read <- err }()
	go func() { feed <- client.Changes(t.Context(), driver.ChangesRequest{}, nil) }()
	for range 3 {
		<-reached
	}
	transport.Stop()
	err := <-write
	require.ErrorIs(t, err, driver.Unknown)
	require.NotErrorIs(t, err, wire.ErrNotSent)
	require.ErrorIs(t, <-read, driver.Unavailable)
	require.ErrorIs(t, <-feed, driver.Unavailable)

	// From now on nothing leaves.
	_, err = client.Commit(t.Context(), one("a"))
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorIs(t, err, wire.ErrNotSent)
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}), make(chan struct{})
	store := &stub{
		commit: func(context.Context, driver.CommitRequest) (driver.CommitResponse, error) {
			close(reached)
			<-release
			return driver.CommitResponse{Verdicts: make([]driver.Verdict, 1)}, nil
		},
		changes: func(ctx context.Context, _ driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			if err := emit(driver.ChangeBatch{}); err != nil {
				return err
			}
			<-ctx.Done()
			return driver.ContextError(ctx, false)
		},
	}
	s := wire.NewServer(stubDriver(store), nil)
	client := wire.NewClient(server(t, func(r *grpc.Server) { s.Register(r) }), "ending")
	require.NoError(t, client.Open(t.Context(), driver.OpenRequest{}))
	feed, fed := make(chan error, 1), make(chan struct{})
	go func() {
		feed <- client.Changes(t.Context(), driver.ChangesRequest{}, func(driver.ChangeBatch) error { close(fed); return nil })
	}()
	<-fed
	committed := make(chan error, 1)
	go func() { _, err := client.Commit(t.Context(), one("a")); committed <- err }()
	<-reached
	shut := make(chan error, 1)
	go func() { shut <- s.Shutdown(t.Context(), time.Hour) }()

	err := <-feed
	require.ErrorIs(t, err, driver.Unavailable)
	require.NotErrorIs(t, err, context.Canceled, "the caller has not cancelled")
	_, err = client.Commit(t.Context(), one("b"))
	require.ErrorIs(t, err, driver.Unavailable, "nothing new")
	require.ErrorIs(t, client.Open(t.Context(), driver.OpenRequest{}), driver.Unavailable)
	require.Zero(t, store.closes.Load(), "calls are in flight")
	close(release)
	require.NoError(t, <-committed)
	require.NoError(t, <-shut)
	require.Equal(t, int64(1), store.closes.Load())
	require.NoError(t, client.Close(t.Context()), "it is closed")
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}), make(chan struct{})
	s := wire.NewServer(stubDriver(&stub{get: func(context.Context, driver.GetRequest) (driver.GetResponse, error) {
		close(reached)
		<-release
		return driver.GetResponse{}, nil
	}}), nil)
	client := wire.NewClient(server(t, func(r *grpc.Server) { s.Register(r) }), "stuck")
	require.NoError(t, client.Open(t.Context(), driver.OpenRequest{}))
	got := make(chan error, 1)
	go func() { _, err := client.Get(t.Context(), driver.GetRequest{}); got <- err }()
	<-reached
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Shutdown(ctx, 0), context.DeadlineExceeded)
	close(release)
	require.NoError(t, <-got)
}
