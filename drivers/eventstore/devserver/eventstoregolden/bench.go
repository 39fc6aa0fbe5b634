// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
)

// BenchOptions bounds the measurements.
type BenchOptions struct {
	Part   time.Duration
	Events int
	Parts  string
}

// Measure is one line of the table.
type Measure struct {
	Part    int     `json:"part"`
	Name    string  `json:"name"`
	Events  int64   `json:"events"`
	Calls   int64   `json:"calls"`
	Errors  int64   `json:"errors"`
	Error   string  `json:"first_error,omitempty"`
	Seconds float64 `json:"seconds"`
	PerSec  float64 `json:"events_per_second"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// benchFile is the file that bench writes.
type benchFile struct {
	ServerVersion string    `json:"server_version"`
	ClientCPUs    int       `json:"client_cpus"`
	EventBytes    int       `json:"event_bytes"`
	Part          string    `json:"time_per_measurement"`
	Measures      []Measure `json:"measures"`
}

// bencher runs the measurements of one run.
type bencher struct {
	cfg   *Config
	o     BenchOptions
	base  context.Context
	conns []*grpc.ClientConn
	tag   string
	seq   atomic.Int64
	out   string
	log   io.Writer
	file  benchFile

	filled bool // the long stream
}

// payload is a JSON event of 600 bytes that looks like a real one.
func (b *bencher) payload() []byte {
	n := b.seq.Add(1)
	s := fmt.Sprintf(`{"orderId":%q,"customer":{"id":%d,"name":"Customer %d","email":"customer.%d@example.org"},"lines":[{"sku":"SKU-%06d","quantity":%d,"unitPrice":%d.95},{"sku":"SKU-%06d","quantity":%d,"unitPrice":%d.50}],"currency":"EUR","placedAt":%q,"note":"`,
		uuid.NewString(), n, n, n, n%999983, n%7+1, n%90+10, (n*31)%999983, n%3+1, n%40+5, time.Now().UTC().Format(time.RFC3339Nano))
	const end = `"}`
	fill := "please leave the parcel with the neighbour when nobody answers the door; call before delivery; "
	for len(s)+len(end) < 600 {
		s += fill[:min(len(fill), 600-len(end)-len(s))]
	}
	return []byte(s + end)
}

func (b *bencher) client(i int) api.StreamsClient {
	return api.NewStreamsClient(b.conns[i%len(b.conns)])
}

func (b *bencher) ctx(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(b.base, d)
	return b.cfg.auth(ctx), cancel
}

// benchMeta are the metadata of every event.
var benchMeta = map[string]string{"type": "OrderPlaced", "content-type": "application/json"}

// appendTime bounds one append.
const appendTime = 20 * time.Second

// appendN appends n fresh events with expected version Any.
func (b *bencher) appendN(c api.StreamsClient, s string, n int) error {
	ctx, cancel := b.ctx(appendTime)
	defer cancel()
	st, err := c.Append(ctx)
	if err != nil {
		return err
	}
	if err = st.Send(appendOptions(s, Any)); err == nil {
		for i := 0; i < n && err == nil; i++ {
			err = st.Send(&api.AppendReq{Content: &api.AppendReq_ProposedMessage_{ProposedMessage: &api.AppendReq_ProposedMessage{
				Id: wireID(uuid.NewString()), Metadata: benchMeta, Data: b.payload()}}})
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r, err := st.CloseAndRecv()
	if err != nil {
		return err
	}
	if r.GetSuccess() == nil {
		return fmt.Errorf("append was refused: %v", r)
	}
	return nil
}

// connections is how many the calls are spread over: a server allows 100 streams on each.
const connections = 8

// bench runs the chosen parts and saves what it has after each measurement.
func bench(ctx context.Context, cfg *Config, o BenchOptions, out string, log io.Writer) error {
	b := &bencher{cfg: cfg, o: o, base: ctx, tag: newTag(), out: out, log: log}
	defer func() {
		for _, c := range b.conns {
			_ = c.Close()
		}
	}()
	for range connections {
		c, err := cfg.dial()
		if err != nil {
			return err
		}
		b.conns = append(b.conns, c)
	}
	if err := b.warmUp(); err != nil {
		return err
	}
	parts := []func() error{b.sequential, b.concurrent, b.appends, b.batchAppends, b.ownStreams, b.readBacks, b.liveArrival, b.truncated}
	for i, part := range parts {
		if !strings.Contains(o.Parts, strconv.Itoa(i+1)) {
			continue
		}
		if err := part(); err != nil {
			return fmt.Errorf("part %d: %w", i+1, err)
		}
	}
	if err := save(out, b.file); err != nil {
		return err
	}
	fmt.Fprintln(log, "written to", out)
	return ctx.Err()
}

// warmUp asks for the version and makes all connections.
func (b *bencher) warmUp() error {
	b.file = benchFile{ClientCPUs: runtime.NumCPU(), EventBytes: len(b.payload()), Part: b.o.Part.String()}
	ctx, cancel := b.ctx(connectTime)
	defer cancel()
	m, err := serverfeatures.NewServerFeaturesClient(b.conns[0]).GetSupportedMethods(ctx, &shared.Empty{})
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	b.file.ServerVersion = m.GetEventStoreServerVersion()
	for i := range b.conns {
		if err := b.appendN(b.client(i), b.name("warm"), 1); err != nil {
			return fmt.Errorf("the first append failed: %w", err)
		}
	}
	return nil
}

// name makes a stream name unique to this run.
func (b *bencher) name(s string) string { return "bench" + s + "-" + b.tag }
