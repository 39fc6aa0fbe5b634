// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"encoding/binary"
	"os"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// meter keeps what was measured, by name and attributes: "calls{chain=test}".
type meter struct {
	metricnoop.Meter
	mu        sync.Mutex
	counts    map[string]int
	sums      map[string]float64
	names     []string
	callbacks int
	collect   metric.Callback
	refuse    error
}

type meters struct {
	metricnoop.MeterProvider
	*meter
}

func newMeters() meters {
	return meters{meter: &meter{counts: map[string]int{}, sums: map[string]float64{}}}
}

func (m meters) Meter(string, ...metric.MeterOption) metric.Meter { return m.meter }

func (m *meter) record(name string, set attribute.Set, value float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}"
	m.counts[key]++
	m.sums[key] += value
}

func (m *meter) count(key string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[key]
}

type floatHistogram struct {
	metricnoop.Float64Histogram
	name string
	m    *meter
}

func (h floatHistogram) Record(_ context.Context, value float64, o ...metric.RecordOption) {
	h.m.record(h.name, metric.NewRecordConfig(o).Attributes(), value)
}

type intHistogram struct {
	metricnoop.Int64Histogram
	name string
	m    *meter
}

func (h intHistogram) Record(_ context.Context, value int64, o ...metric.RecordOption) {
	h.m.record(h.name, metric.NewRecordConfig(o).Attributes(), float64(value))
}

type intCounter struct {
	metricnoop.Int64Counter
	name string
	m    *meter
}

func (c intCounter) Add(_ context.Context, value int64, o ...metric.AddOption) {
	c.m.record(c.name, metric.NewAddConfig(o).Attributes(), float64(value))
}

type intGauge struct {
	metricnoop.Int64ObservableGauge
	name string
}

func (m *meter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	m.names = append(m.names, name)
	return floatHistogram{name: name, m: m}, m.refuse
}

func (m *meter) Int64Histogram(name string, _ ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	m.names = append(m.names, name)
	return intHistogram{name: name, m: m}, m.refuse
}

func (m *meter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	m.names = append(m.names, name)
	return intCounter{name: name, m: m}, m.refuse
}

func (m *meter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	m.names = append(m.names, name)
	return intGauge{name: name}, m.refuse
}

func (m *meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.callbacks, m.collect = m.callbacks+1, f
	return registration{m: m}, nil
}

type registration struct {
	metricnoop.Registration
	m *meter
}

func (r registration) Unregister() error {
	r.m.callbacks--
	return nil
}

// reading is what the gauges show, in the same form.
type reading struct {
	metricnoop.Observer
	values map[string]int64
}

func (r reading) ObserveInt64(o metric.Int64Observable, value int64, options ...metric.ObserveOption) {
	set := metric.NewObserveConfig(options).Attributes()
	r.values[o.(intGauge).name+"{"+set.Encoded(attribute.DefaultEncoder())+"}"] = value //nolint:errcheck // there are no others
}

func (m *meter) read(t *testing.T) map[string]int64 {
	t.Helper()
	r := reading{values: map[string]int64{}}
	require.NoError(t, m.collect(t.Context(), r))
	return r.values
}

// span is one of a tracer that keeps what it traced.
type span struct {
	tracenoop.Span
	context trace.SpanContext
	parent  trace.SpanID
	name    string
	links   []trace.SpanID

	mu    sync.Mutex
	ended bool
	code  codes.Code
}

func (s *span) SpanContext() trace.SpanContext { return s.context }

func (s *span) SetStatus(code codes.Code, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

func (s *span) End(...trace.SpanEndOption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

type tracer struct {
	tracenoop.Tracer
	ids atomic.Uint64
	mu  sync.Mutex
	all []*span
}

type tracers struct {
	tracenoop.TracerProvider
	*tracer
}

func (t tracers) Tracer(string, ...trace.TracerOption) trace.Tracer { return t.tracer }

func (t *tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	var id trace.SpanID
	binary.BigEndian.PutUint64(id[:], t.ids.Add(1))
	s := &span{name: name, parent: trace.SpanContextFromContext(ctx).SpanID(),
		context: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: id})}
	config := trace.NewSpanStartConfig(options...)
	for _, l := range config.Links() {
		s.links = append(s.links, l.SpanContext.SpanID())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, s)
	return trace.ContextWithSpan(ctx, s), s
}

// named returns the spans of a name.
func (t *tracer) named(name string) []*span {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*span
	for _, s := range t.all {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMeters()
		b := open(t, configOf(newFaulty(nil), newFaulty(nil)), chain.WithMetrics(m))
		b.StartBatch(t.Context(), batchOf(10))
		_, err := b.Start(t.Context(), chain.Workflow{ID: "w0", Kind: "other"})
		require.ErrorIs(t, err, driver.Exists)
		_, err = b.Get(t.Context(), "w1")
		require.NoError(t, err)
		stop := b.work(t, quick, func(_ context.Context, h *chain.Handle) ([]byte, error) {
			if h.ID() == "w0" && h.Attempt() == 1 {
				return nil, errTest
			}
			return nil, nil
		})
		for _, w := range batchOf(10) {
			b.until(t, w.ID, driver.Succeeded)
		}
		require.NoError(t, stop())
		require.Equal(t, 10, m.count("understudy.call.duration{chain=test,class=ok,operation=start}"))
		require.Equal(t, 1, m.count("understudy.call.duration{chain=test,class=exists,operation=start}"))
		require.Equal(t, 10, m.count("understudy.call.duration{chain=test,class=ok,operation=succeed}"))
		require.Equal(t, 10, m.count("understudy.handler.duration{chain=test,class=ok,kind=call}"))
		require.Equal(t, 1, m.count("understudy.handler.duration{chain=test,class=unknown outcome,kind=call}"))
		require.Positive(t, m.count("understudy.store.call.duration{chain=test,class=ok,link=b,operation=merge}"))
		sizes := "understudy.store.batch.size{chain=test,link=a,operation=commit}"
		require.InDelta(t, 22, m.sums[sizes], 0, "starts, ends, the failure and the refused one")
		require.Equal(t, m.count(sizes), b.stores[0].count("commit"))

		time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble: status checks
		gauges := m.read(t)
		require.Equal(t, int64(1), gauges["understudy.serves{chain=test}"])
		require.Equal(t, int64(1), gauges["understudy.protected{chain=test}"])
		require.Equal(t, int64(2), gauges["understudy.epoch{chain=test}"])
		require.Equal(t, int64(1), gauges["understudy.link.active{chain=test,link=a}"])
		require.Equal(t, int64(0), gauges["understudy.link.active{chain=test,link=b}"])
		require.Equal(t, int64(1), gauges["understudy.link.in_sync{chain=test,link=b}"])
		require.Equal(t, int64(10), gauges["understudy.link.records{chain=test,link=b}"])
		require.Contains(t, gauges, "understudy.link.lag{chain=test,link=b}")
		require.Contains(t, gauges, "understudy.link.lag.age{chain=test,link=b}")
		require.NotContains(t, gauges, "understudy.link.lag{chain=test,link=a}", "the active link has none")

		b.stores[0].fail(driver.Unavailable)
		b.start(t, "last")
		require.Equal(t, 4, m.count("understudy.attempt.failures{chain=test,class=unavailable,link=a,operation=commit}"))
		require.Equal(t, 1, m.count("understudy.events{chain=test,event=failed_over,link=b}"))
		gauges = m.read(t)
		require.Equal(t, int64(0), gauges["understudy.protected{chain=test}"])
		require.Equal(t, int64(1), gauges["understudy.link.active{chain=test,link=b}"])
		require.Equal(t, 1, m.callbacks)
		require.NoError(t, b.Close(t.Context()))
		require.Zero(t, m.callbacks, "nothing is read of a closed chain")
	})
}

func TestMetricsThatCannotBe(t *testing.T) {
	t.Parallel()
	m := newMeters()
	m.refuse = errTest
	_, err := chain.Open(t.Context(), configOf(newFaulty(nil)), chain.WithMetrics(m))
	require.ErrorIs(t, err, errTest)
	require.ErrorIs(t, err, driver.Invalid)
}

// The names stand in dashboards and alarms.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	m := newMeters()
	open(t, configOf(newFaulty(nil)), chain.WithMetrics(m))
	page, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(understudy\\.[a-z_.]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, row[1])
	}
	require.ElementsMatch(t, m.names, documented)
}

func TestTraces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := tracers{tracer: &tracer{}}
		b := open(t, configOf(newFaulty(nil), newFaulty(nil)), chain.WithTracer(tr))
		ctx, request := tr.Start(t.Context(), "request")
		for _, s := range b.StartBatch(ctx, batchOf(3)) {
			require.NoError(t, s.Err)
		}
		_, err := b.Get(ctx, "w0")
		require.NoError(t, err)
		_, err = b.Get(ctx, "nosuch")
		require.ErrorIs(t, err, driver.NotFound)

		starts := tr.named("understudy start")
		require.Len(t, starts, 3)
		commits := tr.named("understudy a commit")
		require.Len(t, commits, 1)
		for _, s := range starts {
			require.Equal(t, request.SpanContext().SpanID(), s.parent)
			require.True(t, s.ended)
			require.True(t, slices.Contains(commits[0].links, s.context.SpanID()), "the commit carries it")
		}
		require.Len(t, tr.named("understudy b merge"), 1)
		get := tr.named("understudy get")[0]
		require.Equal(t, request.SpanContext().SpanID(), get.parent)
		require.Equal(t, get.context.SpanID(), tr.named("understudy a get")[0].parent)

		// What a handler does stands under its attempt.
		var seen trace.SpanID
		stop := b.work(t, quick, func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			seen = trace.SpanContextFromContext(ctx).SpanID()
			return nil, h.Save(ctx, "s", nil)
		})
		b.until(t, "w2", driver.Succeeded)
		require.NoError(t, stop())
		require.True(t, slices.ContainsFunc(tr.named("understudy work call"), func(s *span) bool { return s.context.SpanID() == seen && s.ended }))
		require.True(t, slices.ContainsFunc(tr.named("understudy save"), func(s *span) bool { return s.parent == seen }))

		b.stores[0].fail(errTest, "commit")
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		_, err = b.Start(short, chain.Workflow{ID: "late", Kind: "call"})
		require.Error(t, err)
		last := tr.named("understudy start")[3]
		require.Equal(t, codes.Error, last.code)
		require.True(t, last.ended)
	})
}

// What the chain reads to bring a link back is no call of the application.
func TestMetricsAreOfTheApplication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMeters()
		b := open(t, configOf(newStores(2)...), chain.WithMetrics(m))
		b.stores[1].fail(driver.Unavailable)
		b.start(t, "w")
		b.stores[1].fail(nil)
		b.inStep(t, 0, "b")
		require.Len(t, b.stores[1].all(t), 1)
		for _, operation := range []string{"get", "list"} {
			require.Zero(t, m.count("understudy.call.duration{chain=test,class=ok,operation="+operation+"}"), operation)
			require.Positive(t, m.count("understudy.store.call.duration{chain=test,class=ok,link=a,operation="+operation+"}"), operation)
		}
	})
}
