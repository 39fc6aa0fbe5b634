// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/projections"
	features "github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func TestTemporaryDataAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	server, err := devserver.Start(devserver.Options{})
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, server.Close())
	require.NoError(t, server.Close(), "again")
	entries, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.ErrorIs(t, server.StopNode(0), devserver.ErrClosed)
}

func TestDataAreUsedByOneServerAtATime(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	_, err := devserver.Start(devserver.Options{Data: f.options.Data})
	require.ErrorContains(t, err, "another process")
}

func TestDataThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, "events.bolt"), bytes.Repeat([]byte("no database "), 10000), 0o600))
	_, err := devserver.Start(devserver.Options{Data: data})
	require.ErrorContains(t, err, "remove it or choose another data directory")
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	_, err := devserver.Start(devserver.Options{Listen: f.server.Addresses()[0]})
	require.ErrorContains(t, err, f.server.Addresses()[0])
}

func TestFeaturesNameWhatIsImplemented(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	got, err := features.NewServerFeaturesClient(f.wire.conn).GetSupportedMethods(t.Context(), &shared.Empty{})
	require.NoError(t, err)
	require.Equal(t, "23.10.6", got.GetEventStoreServerVersion())
	for _, m := range got.GetMethods() {
		require.Equal(t, strings.ToLower(m.GetServiceName()+m.GetMethodName()), m.GetServiceName()+m.GetMethodName())
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := f.wire.conn.Invoke(ctx, "/"+m.GetServiceName()+"/"+m.GetMethodName(), &shared.Empty{}, &shared.Empty{})
		cancel()
		require.NotEqual(t, codes.Unimplemented.String(), codeOf(err), "paths are matched without regard to case")
	}
}

func TestWhatIsNotImplementedSaysSo(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	group := &persistent.GetInfoReq{Options: &persistent.GetInfoReq_Options{GroupName: "g",
		StreamOption: &persistent.GetInfoReq_Options_StreamIdentifier{StreamIdentifier: name("s")}}}
	_, err := persistent.NewPersistentSubscriptionsClient(f.wire.conn).GetInfo(t.Context(), group)
	requireStatus(t, codes.Unimplemented, err)
	require.ErrorContains(t, err, "development server")
	_, err = projections.NewProjectionsClient(f.wire.conn).Enable(t.Context(), &projections.EnableReq{})
	requireStatus(t, codes.Unimplemented, err)
	for _, path := range []string{"/event_store.client.streams.Streams/NoSuchMethod", "/grpc.health.v1.Health/Check", "/nopackage/x"} {
		err := f.wire.conn.Invoke(t.Context(), path, &shared.Empty{}, &shared.Empty{})
		requireStatus(t, codes.Unimplemented, err)
	}
	err = f.client.CreatePersistentSubscriptionToAll(t.Context(), "g", esdb.PersistentAllSubscriptionOptions{})
	requireCode(t, esdb.ErrorCodeUnsupportedFeature, err)
}

func TestLimitOfMessages(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	call, err := f.wire.streams.Append(t.Context())
	require.NoError(t, err)
	err = call.Send(&api.AppendReq{Content: &api.AppendReq_ProposedMessage_{ProposedMessage: &api.AppendReq_ProposedMessage{Data: make([]byte, 16<<20)}}})
	if err != nil {
		require.ErrorIs(t, err, io.EOF)
	}
	_, err = call.CloseAndRecv()
	requireStatus(t, codes.ResourceExhausted, err)
	_, _, err = f.wire.append(t.Context(), "s", uuid.New())
	require.NoError(t, err, "the connection still works")
}

func TestLimitOfCallsOnAConnection(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	subscribe := func(ctx context.Context) (api.Streams_ReadClient, error) {
		req := streamRead("s")
		req.Options.CountOption = &api.ReadReq_Options_Subscription{Subscription: &api.ReadReq_Options_SubscriptionOptions{}}
		call, err := f.wire.streams.Read(ctx, req)
		if err != nil {
			return nil, err
		}
		_, err = call.Recv() // the confirmation
		return call, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 100 {
		_, err := subscribe(ctx)
		require.NoError(t, err)
	}
	short, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	_, err := subscribe(short)
	requireStatus(t, codes.DeadlineExceeded, err)
	cancel()
	_, _, err = f.wire.append(t.Context(), "s", uuid.New())
	require.NoError(t, err)
}

// TestPingsAreAllowedEveryFiveSeconds pings a connection without calls, as the client does. A server that allows
// fewer pings cuts the connection at the third.
func TestPingsAreAllowedEveryFiveSeconds(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Addresses()[0])
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(t, framer.WriteSettings())
	ping := func(data byte) {
		require.NoError(t, framer.WritePing(false, [8]byte{data}))
		for {
			frame, err := framer.ReadFrame()
			require.NoError(t, err)
			require.NotEqual(t, http2.FrameGoAway, frame.Header().Type, "the connection was cut")
			if answer, ok := frame.(*http2.PingFrame); ok && answer.IsAck() && answer.Data[0] == data {
				return
			}
		}
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for i := range byte(4) {
		<-pause.C
		ping(i) // once it is answered the server has seen it
		pause.Reset(5*time.Second + 50*time.Millisecond)
	}
	ping(4) // one ping too early is forgiven; a connection that was cut does not answer
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	t.Parallel()
	server, err := devserver.Start(devserver.Options{})
	require.NoError(t, err)
	w := dial(t, server, 0)
	defer func() { require.NoError(t, w.conn.Close()) }()
	req := streamRead("s")
	req.Options.CountOption = &api.ReadReq_Options_Subscription{Subscription: &api.ReadReq_Options_SubscriptionOptions{}}
	subscription, err := w.streams.Read(t.Context(), req)
	require.NoError(t, err)
	_, err = subscription.Recv()
	require.NoError(t, err)
	batch, err := w.streams.BatchAppend(t.Context())
	require.NoError(t, err)
	require.NoError(t, server.Close())
	_, err = subscription.Recv()
	requireStatus(t, codes.Unavailable, err)
	_, err = batch.Recv()
	requireStatus(t, codes.Unavailable, err)
}

func codeOf(err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return codes.OK.String()
	}
	return status.Code(err).String()
}
