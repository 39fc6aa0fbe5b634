// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// serverProcess names the environment variable that turns the test binary into the command, so that it can be killed.
const serverProcess = "EVENTSTORE_DEV_SERVER_PROCESS"

// fileLimit is the environment variable with the size that the files of a server's process may have, as if the disk
// was full then.
const fileLimit = "DEVSERVER_TEST_FILE_LIMIT"

func limitFiles(size string) {
	n, err := strconv.ParseUint(size, 10, 64)
	if err != nil {
		return
	}
	signal.Ignore(syscall.SIGXFSZ) // writes fail instead
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		os.Exit(3)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(serverProcess) != "" {
		limitFiles(os.Getenv(fileLimit))
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		code := devserver.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// waiting is how long a test waits for something that must happen.
const waiting = time.Minute

func start(t *testing.T, o devserver.Options) *devserver.Server {
	t.Helper()
	server, err := devserver.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

// fixture is a server on a directory of its own, its client, and a raw connection.
type fixture struct {
	t       *testing.T
	options devserver.Options
	server  *devserver.Server
	client  *esdb.Client
	wire    wire
}

func setup(t *testing.T, o devserver.Options) *fixture {
	t.Helper()
	o.Data = t.TempDir()
	f := &fixture{t: t, options: o}
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	server, err := devserver.Start(f.options)
	require.NoError(f.t, err)
	f.server = server
	f.client = connect(f.t, server.URL())
	f.wire = dial(f.t, server, 0)
}

func (f *fixture) close() {
	require.NoError(f.t, f.client.Close())
	require.NoError(f.t, f.wire.conn.Close())
	require.NoError(f.t, f.server.Close())
}

// restart stops the server and starts it again on the same data.
func (f *fixture) restart() {
	f.t.Helper()
	f.close()
	f.open()
}

func connect(t *testing.T, url string) *esdb.Client {
	t.Helper()
	config, err := esdb.ParseConnectionString(url)
	require.NoError(t, err)
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	require.NoError(t, err)
	return client
}

// wire is a raw connection to one node.
type wire struct {
	conn    *grpc.ClientConn
	streams api.StreamsClient
}

func dial(t *testing.T, server *devserver.Server, node int) wire {
	t.Helper()
	transport := insecure.NewCredentials()
	if server.CA() != nil {
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(server.CA()))
		transport = credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient("passthrough:///"+server.Addresses()[node], grpc.WithTransportCredentials(transport),
		grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20), grpc.MaxCallRecvMsgSize(64<<20)))
	require.NoError(t, err)
	return wire{conn: conn, streams: api.NewStreamsClient(conn)}
}

// event is an event with JSON data.
func event(id uuid.UUID) esdb.EventData {
	return esdb.EventData{EventID: id, EventType: "Tested", ContentType: esdb.ContentTypeJson, Data: []byte(`{"id":"` + id.String() + `"}`)}
}

func ids(n int) []uuid.UUID {
	out := make([]uuid.UUID, n)
	for i := range out {
		out[i] = uuid.New()
	}
	return out
}

// write appends events and returns the revision of the last one.
func (f *fixture) write(stream string, expected esdb.ExpectedRevision, ids ...uuid.UUID) (uint64, error) {
	var events []esdb.EventData
	for _, id := range ids {
		events = append(events, event(id))
	}
	r, err := f.client.AppendToStream(f.t.Context(), stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, events...)
	if err != nil {
		return 0, err
	}
	return r.NextExpectedVersion, nil
}

func (f *fixture) mustWrite(stream string, expected esdb.ExpectedRevision, ids ...uuid.UUID) uint64 {
	f.t.Helper()
	last, err := f.write(stream, expected, ids...)
	require.NoError(f.t, err)
	return last
}

// read returns the events of a stream.
func (f *fixture) read(stream string, o esdb.ReadStreamOptions) ([]*esdb.ResolvedEvent, error) {
	r, err := f.client.ReadStream(f.t.Context(), stream, o, 1<<62)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return drain(r)
}

func drain(r *esdb.ReadStream) ([]*esdb.ResolvedEvent, error) {
	var out []*esdb.ResolvedEvent
	for {
		e, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

// revisions are the visible revisions of a stream.
func (f *fixture) revisions(stream string) []uint64 {
	f.t.Helper()
	events, err := f.read(stream, esdb.ReadStreamOptions{From: esdb.Start{}})
	require.NoError(f.t, err)
	var out []uint64
	for _, e := range events {
		out = append(out, e.OriginalEvent().EventNumber)
	}
	return out
}

func requireCode(t *testing.T, code esdb.ErrorCode, err error) {
	t.Helper()
	e, ok := errors.AsType[*esdb.Error](err)
	require.True(t, ok, "%v is not an error of the client", err)
	require.Equal(t, code, e.Code(), "%v", err)
}

// requireStatus checks a raw answer and returns the value of its exception trailer.
func requireStatus(t *testing.T, code codes.Code, err error) {
	t.Helper()
	require.Equal(t, code, status.Code(err), "%v", err)
}

func one(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func name(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// append sends one raw append with expected version Any.
func (w wire) append(ctx context.Context, stream string, ids ...uuid.UUID) (*api.AppendResp, metadata.MD, error) {
	call, err := w.streams.Append(ctx)
	if err != nil {
		return nil, nil, err
	}
	messages := []*api.AppendReq{{Content: &api.AppendReq_Options_{Options: &api.AppendReq_Options{
		StreamIdentifier: name(stream), ExpectedStreamRevision: &api.AppendReq_Options_Any{Any: &shared.Empty{}}}}}}
	for _, id := range ids {
		messages = append(messages, &api.AppendReq{Content: &api.AppendReq_ProposedMessage_{ProposedMessage: &api.AppendReq_ProposedMessage{
			Id:       &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}},
			Metadata: map[string]string{"type": "Tested", "content-type": "application/json"}, Data: []byte("{}")}}})
	}
	for _, m := range messages {
		if err := call.Send(m); err != nil {
			break // the answer says why
		}
	}
	r, err := call.CloseAndRecv()
	return r, call.Trailer(), err
}

// streamRead asks for a stream from its start.
func streamRead(stream string) *api.ReadReq {
	return &api.ReadReq{Options: &api.ReadReq_Options{
		StreamOption: &api.ReadReq_Options_Stream{Stream: &api.ReadReq_Options_StreamOptions{StreamIdentifier: name(stream),
			RevisionOption: &api.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}}},
		CountOption:  &api.ReadReq_Options_Count{Count: 1 << 40},
		FilterOption: &api.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   &api.ReadReq_Options_UUIDOption{Content: &api.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
	}}
}

// read receives everything that a raw read sends.
func (w wire) read(ctx context.Context, req *api.ReadReq) ([]*api.ReadResp, metadata.MD, error) {
	call, err := w.streams.Read(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	var out []*api.ReadResp
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return out, call.Trailer(), nil
		}
		if err != nil {
			return out, call.Trailer(), err
		}
		out = append(out, m)
	}
}
