// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// Server serves one driver, and the one store that the other end opens of it, to
// one [Client]. A panic of the driver is not caught: what it left behind cannot
// be trusted, so the process ends and is replaced. Safe for concurrent use.
type Server struct {
	wirev1.UnimplementedDriverServer

	driver driver.Driver
	logger *slog.Logger

	life context.Context // done when the server shuts down: ends the feeds
	end  context.CancelFunc

	opening sync.Mutex // held while the store is opened
	mu      sync.RWMutex
	store   driver.Store // nil before Open
	ending  bool
	calls   sync.WaitGroup
}

// NewServer returns a server for d, to be registered with a gRPC server made
// with [ServerOptions]. The store gets logger.
func NewServer(d driver.Driver, logger *slog.Logger) *Server {
	s := &Server{driver: d, logger: logger}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Register makes s answer the calls that r receives.
func (s *Server) Register(r grpc.ServiceRegistrar) { wirev1.RegisterDriverServer(r, s) }

// Shutdown refuses new calls with [driver.Unavailable], ends the feeds, lets the
// calls in flight end by themselves for as long as drain, and closes the store,
// which ends the rest, all within ctx. It returns what did not end in time, and
// what closing the store returned.
func (s *Server) Shutdown(ctx context.Context, drain time.Duration) error {
	s.mu.Lock()
	s.ending = true
	store := s.store
	s.mu.Unlock()
	s.end()

	idle := make(chan struct{})
	go func() { s.calls.Wait(); close(idle) }()
	patience := time.NewTimer(drain)
	defer patience.Stop()
	select {
	case <-idle:
	case <-patience.C:
	case <-ctx.Done():
	}
	var err error
	if store != nil {
		err = store.Close(ctx)
	}
	select {
	case <-idle:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("calls in flight: %w", context.Cause(ctx)))
	}
}

var (
	errEnding  = &driver.Error{Class: driver.Unavailable, Detail: "the driver's process is ending"}
	errNotOpen = &driver.Error{Class: driver.Unavailable, Detail: "no store was opened"}
)

// begin returns the store for one call, at whose end calls.Done is called.
func (s *Server) begin() (driver.Store, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.ending:
		return nil, errEnding
	case s.store == nil:
		return nil, errNotOpen
	}
	s.calls.Add(1)
	return s.store, nil
}

// hold makes Shutdown wait until calls.Done is called, unless it has begun.
func (s *Server) hold() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.ending {
		s.calls.Add(1)
	}
	return !s.ending
}

// Validate implements wirev1.DriverServer.
func (s *Server) Validate(_ context.Context, in *wirev1.ValidateRequest) (*wirev1.ValidateResponse, error) {
	return &wirev1.ValidateResponse{Error: toError(s.driver.Validate(in.GetConfig()))}, nil
}

// Open implements wirev1.DriverServer.
func (s *Server) Open(ctx context.Context, in *wirev1.OpenRequest) (*wirev1.OpenResponse, error) {
	return &wirev1.OpenResponse{Error: toError(s.open(ctx, in))}, nil
}

func (s *Server) open(ctx context.Context, in *wirev1.OpenRequest) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.mu.RLock()
	taken, ending := s.store != nil, s.ending
	s.mu.RUnlock()
	switch {
	case ending:
		return errEnding
	case taken:
		return &driver.Error{Class: driver.Unsupported, Detail: "a store is open already: a process serves one"}
	}
	store, err := s.driver.Open(ctx, driver.OpenRequest{
		Chain:  string(in.GetChain()),
		Link:   string(in.GetLink()),
		Config: in.GetConfig(),
		Logger: s.logger,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return errors.Join(errEnding, store.Close(ctx))
	}
	s.store = store
	return nil
}

// Describe implements wirev1.DriverServer.
func (s *Server) Describe(ctx context.Context, in *wirev1.DescribeRequest) (*wirev1.DescribeResponse, error) {
	return handle(ctx, s, in, fromDescribeRequest, driver.Store.Describe, toDescribeResponse), nil
}

// Commit implements wirev1.DriverServer.
func (s *Server) Commit(ctx context.Context, in *wirev1.CommitRequest) (*wirev1.CommitResponse, error) {
	return handle(ctx, s, in, fromCommitRequest, driver.Store.Commit, toCommitResponse), nil
}

// Claim implements wirev1.DriverServer.
func (s *Server) Claim(ctx context.Context, in *wirev1.ClaimRequest) (*wirev1.ClaimResponse, error) {
	return handle(ctx, s, in, fromClaimRequest, driver.Store.Claim, toClaimResponse), nil
}

// Get implements wirev1.DriverServer.
func (s *Server) Get(ctx context.Context, in *wirev1.GetRequest) (*wirev1.GetResponse, error) {
	return handle(ctx, s, in, fromGetRequest, driver.Store.Get, toGetResponse), nil
}

// List implements wirev1.DriverServer.
func (s *Server) List(ctx context.Context, in *wirev1.ListRequest) (*wirev1.ListResponse, error) {
	return handle(ctx, s, in, fromListRequest, driver.Store.List, toListResponse), nil
}

// Merge implements wirev1.DriverServer.
func (s *Server) Merge(ctx context.Context, in *wirev1.MergeRequest) (*wirev1.MergeResponse, error) {
	return handle(ctx, s, in, fromMergeRequest, driver.Store.Merge, toMergeResponse), nil
}

// Epoch implements wirev1.DriverServer.
func (s *Server) Epoch(ctx context.Context, in *wirev1.EpochRequest) (*wirev1.EpochResponse, error) {
	return handle(ctx, s, in, fromEpochRequest, driver.Store.Epoch, toEpochResponse), nil
}

// Advance implements wirev1.DriverServer.
func (s *Server) Advance(ctx context.Context, in *wirev1.AdvanceRequest) (*wirev1.AdvanceResponse, error) {
	return handle(ctx, s, in, fromAdvanceRequest, driver.Store.Advance, toAdvanceResponse), nil
}

// Probe implements wirev1.DriverServer.
func (s *Server) Probe(ctx context.Context, in *wirev1.ProbeRequest) (*wirev1.ProbeResponse, error) {
	return handle(ctx, s, in, fromProbeRequest, driver.Store.Probe, toProbeResponse), nil
}

// Changes implements wirev1.DriverServer.
func (s *Server) Changes(in *wirev1.ChangesRequest, stream grpc.ServerStreamingServer[wirev1.ChangesResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()

	err := s.changes(ctx, in, stream)
	if err == nil {
		return nil
	}
	if ended := stream.Context().Err(); ended != nil { // a message would not go out; the other end may not know yet
		return status.FromContextError(ended).Err()
	}
	return stream.Send(&wirev1.ChangesResponse{Error: toError(err)})
}

func (s *Server) changes(ctx context.Context, in *wirev1.ChangesRequest, stream grpc.ServerStreamingServer[wirev1.ChangesResponse]) error {
	req, err := fromChangesRequest(in)
	if err != nil {
		return err
	}
	store, err := s.begin()
	if err != nil {
		return err
	}
	defer s.calls.Done()
	err = store.Changes(ctx, req, func(b driver.ChangeBatch) error { return stream.Send(toChangesResponse(b)) })
	if s.life.Err() != nil {
		return errEnding // the caller's context has not ended
	}
	return err
}

// Close implements wirev1.DriverServer.
func (s *Server) Close(ctx context.Context, _ *wirev1.CloseRequest) (*wirev1.CloseResponse, error) {
	store, err := s.begin()
	if err != nil {
		return &wirev1.CloseResponse{}, nil //nolint:nilerr // closed is what it is
	}
	defer s.calls.Done()
	return &wirev1.CloseResponse{Error: toError(store.Close(ctx))}, nil
}

// handle answers one call.
func handle[In, Out, Req, Resp any](
	ctx context.Context, s *Server, in In,
	from func(In) (Req, error),
	method func(driver.Store, context.Context, Req) (Resp, error),
	to func(Resp, *wirev1.Error) Out,
) Out {
	var none Resp
	req, err := from(in)
	if err != nil {
		return to(none, toError(err))
	}
	store, err := s.begin()
	if err != nil {
		return to(none, toError(err))
	}
	defer s.calls.Done()
	resp, err := method(store, ctx, req)
	if err != nil {
		return to(none, toError(err))
	}
	return to(resp, nil)
}
