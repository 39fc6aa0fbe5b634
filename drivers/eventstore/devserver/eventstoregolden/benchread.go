// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// readBack receives the events of a reading and reports the rate and the time to the first one.
func (b *bencher) readBack(part int, r reading, limit time.Duration) error {
	ctx, cancel := b.ctx(limit)
	defer cancel()
	m := Measure{Part: part, Name: r.name, Calls: 1}
	began := time.Now()
	first := time.Duration(0)
	call, err := b.client(0).Read(ctx, r.query.req(r.sub))
	for err == nil && m.Events < int64(r.events) {
		var got *api.ReadResp
		if got, err = call.Recv(); err != nil || got.GetCaughtUp() != nil {
			break
		}
		if got.GetEvent() != nil {
			if m.Events == 0 {
				first = time.Since(began)
			}
			m.Events++
		}
	}
	m.Seconds = time.Since(began).Seconds()
	if r.events > 1 {
		m.PerSec = float64(m.Events) / m.Seconds
	}
	if err != nil && !errors.Is(err, io.EOF) {
		m.Errors, m.Error = 1, err.Error()
	}
	m.P50 = ms(first)
	m.P90, m.P99, m.Max = m.P50, m.P50, m.P50
	return b.put(m)
}

// The bounds of the measurement of live arrival.
const (
	liveAppends = 200
	arrivalTime = 3 * time.Second
)

// live measures from the append's send and from its acknowledgement to the arrival at a subscription.
func (b *bencher) live(part int, stream string) error {
	ctx, cancel := b.ctx(b.o.Part + 10*time.Second)
	defer cancel()
	arrived, err := b.arrivals(ctx, stream)
	if err != nil {
		return err
	}
	var ack, send sample
	began := time.Now()
	for i := 0; i < liveAppends && time.Since(began) < b.o.Part+arrivalTime; i++ {
		sent := time.Now()
		if err := b.appendN(b.client(0), stream, 1); err != nil {
			return err
		}
		acknowledged := time.Now()
		select {
		case at := <-arrived:
			ack.add(at.Sub(acknowledged), nil) // below zero when the event came before the acknowledgement
			send.add(at.Sub(sent), nil)
		case <-time.After(arrivalTime):
			ack.add(0, fmt.Errorf("no event within %v", arrivalTime))
		}
	}
	took := time.Since(began)
	return errors.Join(
		b.report(part, "append ack to live arrival", &ack, 1, took),
		b.report(part, "append send to live arrival", &send, 1, took))
}

// arrivals subscribes to the new events of a stream and tells when each arrived.
func (b *bencher) arrivals(ctx context.Context, stream string) (<-chan time.Time, error) {
	call, err := b.client(1).Read(ctx, Q{Stream: stream, From: End}.req(true))
	if err != nil {
		return nil, err
	}
	for { // the subscription is live once it has caught up
		m, err := call.Recv()
		if err != nil {
			return nil, err
		}
		if m.GetCaughtUp() != nil {
			break
		}
	}
	arrived := make(chan time.Time, liveAppends)
	go func() {
		for {
			m, err := call.Recv()
			if err != nil {
				return
			}
			if m.GetEvent() != nil {
				arrived <- time.Now()
			}
		}
	}()
	return arrived, nil
}

// truncate sets $tb of a stream.
func (b *bencher) truncate(stream string, before int) error {
	ctx, cancel := b.ctx(appendTime)
	defer cancel()
	call, err := b.client(0).Append(ctx)
	if err != nil {
		return err
	}
	e := ev("truncate")
	e.Type, e.Data = "$metadata", fmt.Sprintf(`{"$tb":%d}`, before)
	t := &T{ids: map[string]string{}, labels: map[string]string{}}
	for _, m := range []*api.AppendReq{appendOptions("$$"+stream, Any), t.proposed(e)} {
		if err := call.Send(m); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	r, err := call.CloseAndRecv()
	if err == nil && r.GetSuccess() == nil {
		err = fmt.Errorf("append was refused: %v", r)
	}
	return err
}
