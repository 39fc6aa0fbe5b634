// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/understudy-dev/understudy/driver"
)

// scope names this package to meters and tracers.
const scope = "github.com/understudy-dev/understudy/chain"

// telemetry measures and traces. Both are off unless the application asks.
type telemetry struct {
	chain  string
	meter  metric.Meter // nil: nothing is measured
	tracer trace.Tracer // nil: nothing is traced
	instruments
	labels sync.Map // labelled → metric.MeasurementOption
}

// instruments are what is measured as it happens; see docs/metrics.md.
type instruments struct {
	calls    metric.Float64Histogram // of the application
	stores   metric.Float64Histogram // calls to stores
	batches  metric.Int64Histogram   // records of one call
	handlers metric.Float64Histogram
	failures metric.Int64Counter // attempts that count towards an incident
	events   metric.Int64Counter
}

// seconds are the bounds of the buckets for durations.
var seconds = metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)

// instrument makes the instruments.
func (t *telemetry) instrument() error {
	if t.meter == nil {
		return nil
	}
	var err error
	histogram := func(name, about string) (h metric.Float64Histogram) {
		if err == nil {
			h, err = t.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(about), seconds)
		}
		return h
	}
	counter := func(name, unit, about string) (c metric.Int64Counter) {
		if err == nil {
			c, err = t.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(about))
		}
		return c
	}
	t.calls = histogram("understudy.call.duration", "Calls of the application, until they return.")
	t.stores = histogram("understudy.store.call.duration", "Calls to a store, each attempt.")
	t.handlers = histogram("understudy.handler.duration", "Attempts of handlers.")
	t.failures = counter("understudy.attempt.failures", "{attempt}", "Attempts on the active link that failed and count towards an incident.")
	t.events = counter("understudy.events", "{event}", "Events of the chain, such as failed_over.")
	if err == nil {
		t.batches, err = t.meter.Int64Histogram("understudy.store.batch.size", metric.WithUnit("{record}"),
			metric.WithDescription("Records of one call to a store."), metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256))
	}
	if err != nil {
		return &driver.Error{Class: driver.Invalid, Op: "make instruments", Cause: err}
	}
	return nil
}

// labelled is what a measurement is of; fields that do not apply are empty.
type labelled struct{ link, operation, class, kind, event string }

// of returns the attributes of a measurement.
func (t *telemetry) of(l labelled) metric.MeasurementOption {
	if known, ok := t.labels.Load(l); ok {
		return known.(metric.MeasurementOption) //nolint:errcheck // nothing else is in it
	}
	attributes := []attribute.KeyValue{attribute.String("chain", t.chain)}
	for _, a := range [...]struct{ key, value string }{{"link", l.link}, {"operation", l.operation}, {"class", l.class}, {"kind", l.kind}, {"event", l.event}} {
		if a.value != "" {
			attributes = append(attributes, attribute.String(a.key, a.value))
		}
	}
	option := metric.WithAttributeSet(attribute.NewSet(attributes...))
	t.labels.Store(l, option)
	return option
}

// sighting is something under observation; nil is nothing.
type sighting struct {
	t     *telemetry
	of    labelled
	into  metric.Float64Histogram
	began time.Time
	span  trace.Span
}

// off reports whether nothing is observed: then not even a name is put together.
func (t *telemetry) off() bool { return t == nil || t.meter == nil && t.tracer == nil }

// see begins to observe. name is that of the span.
func (t *telemetry) see(ctx context.Context, name string, of labelled, into metric.Float64Histogram, options ...trace.SpanStartOption) (context.Context, *sighting) {
	s := &sighting{t: t, of: of, into: into, began: time.Now()}
	if t.tracer != nil {
		options = append(options, trace.WithAttributes(attribute.String("understudy.chain", t.chain)))
		ctx, s.span = t.tracer.Start(ctx, name, options...)
	}
	return ctx, s
}

// end takes in how it has ended.
func (s *sighting) end(err error) {
	if s == nil {
		return
	}
	s.of.class = driver.ClassOf(err).String()
	if s.t.meter != nil { // the context of the call may be over: it has no part in what is measured
		s.into.Record(context.Background(), time.Since(s.began).Seconds(), s.t.of(s.of))
	}
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attribute.String("understudy.class", s.of.class))
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}

// call observes a call of the application.
func (t *telemetry) call(ctx context.Context, operation string) (context.Context, *sighting) {
	if t.off() {
		return ctx, nil
	}
	return t.see(ctx, "understudy "+operation, labelled{operation: operation}, t.calls)
}

// store observes one attempt on a store, with n records; 0 where records do not
// count.
func (t *telemetry) store(ctx context.Context, link, operation string, n int) (context.Context, *sighting) {
	if t.off() {
		return ctx, nil
	}
	if t.meter != nil && n > 0 {
		t.batches.Record(ctx, int64(n), t.of(labelled{link: link, operation: operation}))
	}
	var options []trace.SpanStartOption
	if t.tracer != nil {
		options = append(options, trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("understudy.link", link), attribute.Int("understudy.records", n)))
		if links, ok := ctx.Value(callersKey{}).([]trace.Link); ok {
			options = append(options, trace.WithLinks(links...))
		}
	}
	return t.see(ctx, fmt.Sprintf("understudy %s %s", link, operation), labelled{link: link, operation: operation}, t.stores, options...)
}

// handler observes an attempt of a handler.
func (t *telemetry) handler(ctx context.Context, kind, id string) (context.Context, *sighting) {
	if t.off() {
		return ctx, nil
	}
	var options []trace.SpanStartOption
	if t.tracer != nil {
		options = append(options, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("understudy.kind", kind), attribute.String("understudy.id", id)))
	}
	return t.see(ctx, "understudy work "+kind, labelled{kind: kind}, t.handlers, options...)
}

// failed counts an attempt that counts towards an incident.
func (t *telemetry) failed(link string, op operation, err error) {
	if t.meter != nil {
		t.failures.Add(context.Background(), 1, t.of(labelled{link: link, operation: op.String(), class: driver.ClassOf(err).String()}))
	}
}

// event counts an event.
func (t *telemetry) event(e Transition) {
	if t == nil || t.meter == nil {
		return
	}
	of := labelled{event: e.Event}
	for _, key := range [...]string{"to", "link"} {
		if link, ok := e.Details[key].(string); ok && of.link == "" {
			of.link = link
		}
	}
	t.events.Add(context.Background(), 1, t.of(of))
}

// callersKey is the key of the callers whose mutations a call carries.
type callersKey struct{}

// callers returns ctx with the spans of all whose mutations go in one call.
func (t *telemetry) callers(ctx context.Context, items []*item) context.Context {
	if t.tracer == nil {
		return ctx
	}
	links := make([]trace.Link, 0, len(items))
	for _, it := range items {
		if span := trace.SpanContextFromContext(it.ctx); span.IsValid() {
			links = append(links, trace.Link{SpanContext: span})
		}
	}
	return context.WithValue(ctx, callersKey{}, links)
}

// under returns ctx with the span of caller, whose call it serves.
func (t *telemetry) under(ctx, caller context.Context) context.Context {
	if t.tracer == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, trace.SpanFromContext(caller))
}
