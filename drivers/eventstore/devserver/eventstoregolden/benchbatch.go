// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The times that the answers to BatchAppend have after the last write, and the call has to end.
const (
	answersTime = 5 * time.Second
	closeTime   = time.Second
)

// batchLoad keeps a number of BatchAppend writes in flight on one call.
func (b *bencher) batchLoad(part int, name, stream string, size, inFlight int) error {
	ctx, cancel := b.ctx(b.o.Part + appendTime)
	defer cancel()
	call, err := b.client(0).BatchAppend(ctx)
	if err != nil {
		return err
	}
	l := &batchLoader{bencher: b, call: call, sent: map[string]time.Time{}, slots: make(chan struct{}, inFlight), done: make(chan struct{})}
	go l.receive()
	began := time.Now()
	l.send(stream, size, time.After(b.o.Part))
	l.drain(inFlight)
	took := time.Since(began)
	if err := call.CloseSend(); err != nil {
		return err
	}
	select {
	case <-l.done:
	case <-time.After(closeTime): // a real server does not end the call
		cancel()
		<-l.done
	}
	return b.report(part, name, &l.sample, size, took)
}

// batchLoader is one BatchAppend call under load.
type batchLoader struct {
	*bencher
	call   api.Streams_BatchAppendClient
	sample sample
	slots  chan struct{} // one for each write in flight
	done   chan struct{} // closed when nothing more is received

	mu   sync.Mutex
	sent map[string]time.Time // by correlation id
}

func (l *batchLoader) receive() {
	defer close(l.done)
	for {
		m, err := l.call.Recv()
		if err != nil {
			return
		}
		id := m.GetCorrelationId().GetString_()
		if x := m.GetCorrelationId().GetStructured(); x != nil {
			id = fromStructured(x)
		}
		l.mu.Lock()
		sent, ok := l.sent[id]
		delete(l.sent, id)
		l.mu.Unlock()
		switch e := m.GetError(); {
		case e != nil:
			l.sample.add(0, fmt.Errorf("code %d %s", e.GetCode(), e.GetMessage()))
		case !ok:
			l.sample.add(0, errors.New("an answer with an unknown correlation id"))
		default:
			l.sample.add(time.Since(sent), nil)
		}
		<-l.slots
	}
}

// send sends writes, as slots come free, until the time is up.
func (l *batchLoader) send(stream string, size int, stop <-chan time.Time) {
	for !l.sample.failed() {
		select {
		case <-stop:
			return
		case <-l.done:
			return
		case l.slots <- struct{}{}:
		}
		id := uuid.NewString()
		q := &api.BatchAppendReq{CorrelationId: wireID(id), IsFinal: true, Options: &api.BatchAppendReq_Options{
			StreamIdentifier: sid(stream), ExpectedStreamPosition: &api.BatchAppendReq_Options_Any{Any: &emptypb.Empty{}}}}
		for range size {
			q.ProposedMessages = append(q.ProposedMessages, &api.BatchAppendReq_ProposedMessage{
				Id: wireID(uuid.NewString()), Metadata: benchMeta, Data: l.payload()})
		}
		l.mu.Lock()
		l.sent[id] = time.Now()
		l.mu.Unlock()
		if err := l.call.Send(q); err != nil {
			if !errors.Is(err, io.EOF) {
				l.sample.add(0, err)
			}
			return
		}
	}
}

// drain waits for the answers that are outstanding.
func (l *batchLoader) drain(inFlight int) {
	end := time.After(answersTime)
	for range inFlight {
		select {
		case l.slots <- struct{}{}:
		case <-l.done:
			return
		case <-end:
			return
		}
	}
}
