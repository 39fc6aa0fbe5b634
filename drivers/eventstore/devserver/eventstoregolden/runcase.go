// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The times that a case has: to end, to reach the server, and to stop after its end.
const (
	caseTime    = 10 * time.Second
	connectTime = 5 * time.Second
	stopTime    = 500 * time.Millisecond
)

// runCase runs one case with a connection of its own. Errors are observations, also that the server does not answer.
func runCase(ctx context.Context, cfg *Config, c Case) Result {
	ctx, cancel := context.WithTimeout(ctx, caseTime)
	defer cancel()
	t := &T{cfg: cfg, ctx: cfg.auth(ctx), tag: newTag(), ids: map[string]string{}, labels: map[string]string{}}
	conn, err := cfg.dial()
	if err == nil {
		defer func() { _ = conn.Close() }()
		err = t.connect(conn)
	}
	if err != nil {
		t.Do("connect")
		t.SeeErr(err, nil)
		return t.finish(c)
	}
	done := make(chan struct{})
	go t.run(c, done)
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(stopTime):
			t.See("case did not end within 10 s")
		}
	}
	return t.finish(c)
}

// connect makes the stubs and waits for the server.
func (t *T) connect(conn *grpc.ClientConn) error {
	t.conn = conn
	t.streams = api.NewStreamsClient(conn)
	t.features = serverfeatures.NewServerFeaturesClient(conn)
	t.gossip = gossip.NewGossipClient(conn)
	t.pers = persistent.NewPersistentSubscriptionsClient(conn)
	ctx, cancel := context.WithTimeout(t.ctx, connectTime)
	defer cancel()
	_, err := t.features.GetSupportedMethods(ctx, &shared.Empty{}, grpc.WaitForReady(true))
	if c := status.Code(err); c == codes.Unavailable || c == codes.DeadlineExceeded {
		unreached.Add(1)
		return err
	}
	return nil
}

func (t *T) run(c Case, done chan<- struct{}) {
	defer close(done)
	defer func() {
		if r := recover(); r != nil {
			t.See("panic %v", r)
		}
	}()
	c.Fn(t)
}

// wait lets time pass, but not beyond the end of the case.
func (t *T) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

// unreached counts the cases that did not run because the server did not answer.
var unreached atomic.Int64
