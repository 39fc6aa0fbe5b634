// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"time"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/metadata"
)

// Sub is a subscription that is being received.
type Sub struct {
	t      *T
	q      Q
	ch     chan *api.ReadResp
	end    chan error
	tr     metadata.MD
	cancel context.CancelFunc
	done   bool
}

// Subscribe starts a subscription; Collect records what arrives.
func (t *T) Subscribe(q Q) *Sub {
	q.NoCount = true
	t.Do("subscribe to %s", q)
	ctx, cancel := context.WithCancel(t.ctx)
	s := &Sub{t: t, q: q, ch: make(chan *api.ReadResp, 65536), end: make(chan error, 1), cancel: cancel}
	st, err := t.streams.Read(ctx, q.req(true))
	if err != nil {
		s.end <- err
		return s
	}
	go func() {
		for {
			m, err := st.Recv()
			if err != nil {
				s.tr = st.Trailer()
				s.end <- err
				return
			}
			s.ch <- m
		}
	}()
	return s
}

// Collect records messages until nothing has come for the idle time.
func (s *Sub) Collect() {
	if s.done {
		return
	}
	t := s.t
	idle := t.cfg.Idle
	for {
		select {
		case m := <-s.ch:
			s.see(m)
			continue
		default:
		}
		select {
		case m := <-s.ch:
			s.see(m)
		case err := <-s.end:
			for len(s.ch) > 0 {
				s.see(<-s.ch)
			}
			if errors.Is(err, io.EOF) {
				t.See("subscription ended trailers=%s", t.md(s.tr))
			} else {
				t.SeeErr(err, s.tr)
			}
			s.done = true
			return
		case <-time.After(idle):
			return
		}
	}
}

func (s *Sub) see(m *api.ReadResp) {
	if s.t.foreign(m) {
		return
	}
	s.t.See("%s", s.t.R(m))
}

// Close cancels the subscription.
func (s *Sub) Close() { s.cancel() }
