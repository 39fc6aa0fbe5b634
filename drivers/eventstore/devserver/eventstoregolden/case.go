// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Step is one thing done to the server and what was seen of it.
type Step struct {
	Do  string   `json:"do"`
	Saw []string `json:"saw"`
}

// Result is the normalised record of one case.
type Result struct {
	Area  string `json:"area"`
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
}

func (r Result) id() string { return r.Area + "/" + r.Name }

// Case is one scenario. Serial cases run alone, because what they see depends on the whole log and not only on their
// own streams.
type Case struct {
	Area, Name string
	Serial     bool
	Fn         func(t *T)
}

func (c Case) id() string { return c.Area + "/" + c.Name }

// cases are all scenarios; the files cases_….go add theirs when the program starts.
var cases []Case

func add(area, name string, fn func(t *T)) {
	cases = append(cases, Case{Area: area, Name: name, Fn: fn})
}

func addSerial(area, name string, fn func(t *T)) {
	cases = append(cases, Case{Area: area, Name: name, Serial: true, Fn: fn})
}

// T is what a case works with: its own connection, its own name suffix, its own labels.
type T struct {
	cfg      *Config
	ctx      context.Context
	conn     *grpc.ClientConn
	streams  api.StreamsClient
	features serverfeatures.ServerFeaturesClient
	gossip   gossip.GossipClient
	pers     persistent.PersistentSubscriptionsClient

	mu      sync.Mutex
	tag     string
	ids     map[string]string // label -> uuid
	labels  map[string]string // uuid -> label
	unknown int
	steps   []Step
	closed  bool
}

func newTag() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return "x" + hex.EncodeToString(b[:])
}

// S makes a stream name unique to this run; the suffix is removed from all observations.
func (t *T) S(base string) string { return base + "-" + t.tag }

// ID gives the UUID that belongs to a label in this case.
func (t *T) ID(label string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v, ok := t.ids[label]; ok {
		return v
	}
	v := uuid.NewString()
	t.ids[label] = v
	t.labels[v] = label
	return v
}

// Do opens a step.
func (t *T) Do(format string, a ...any) {
	s := t.clean(fmt.Sprintf(format, a...))
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.steps = append(t.steps, Step{Do: s, Saw: []string{}})
	}
}

// See adds an observation to the step opened last.
func (t *T) See(format string, a ...any) {
	s := t.clean(fmt.Sprintf(format, a...))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if len(t.steps) == 0 {
		t.steps = append(t.steps, Step{Do: "start", Saw: []string{}})
	}
	l := len(t.steps) - 1
	t.steps[l].Saw = append(t.steps[l].Saw, s)
}

// SeeErr records a gRPC status with its trailers.
func (t *T) SeeErr(err error, tr metadata.MD) {
	if err == nil {
		t.See("ok trailers=%s", t.md(tr))
		return
	}
	st, ok := status.FromError(err)
	if !ok {
		t.See("error not-a-status message=%q", err.Error())
		return
	}
	var line strings.Builder
	fmt.Fprintf(&line, "error code=%s message=%q trailers=%s", st.Code(), st.Message(), t.md(tr))
	for _, d := range st.Details() {
		if m, ok := d.(proto.Message); ok {
			line.WriteString(" detail=" + t.R(m))
		} else {
			fmt.Fprintf(&line, " detail=%v", d)
		}
	}
	t.See("%s", line.String())
}

// md renders trailers without those that belong to the transport.
func (t *T) md(md metadata.MD) string {
	keys := []string{}
	for k := range md {
		switch k {
		case "content-type", "content-length", "date", "server", "grpc-accept-encoding", "grpc-encoding", "transfer-encoding":
			continue
		}
		if strings.HasPrefix(k, "grpc-") {
			continue
		}
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	b.WriteString("{")
	for i, k := range keys {
		if i > 0 {
			b.WriteString(" ")
		}
		fmt.Fprintf(&b, "%s=%q", k, strings.Join(md[k], "|"))
	}
	return b.String() + "}"
}

// mine tells whether a message is about a stream of this case.
func (t *T) mine(s string) bool { return strings.Contains(s, t.tag) }
