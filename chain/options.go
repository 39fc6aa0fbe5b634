// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Option sets what a chain reports to.
type Option func(*Chain)

// WithLogger makes the chain log to logger. Changes of state are one line each
// and must not be sampled. Default, and with nil: no log.
func WithLogger(logger *zap.Logger) Option {
	return func(c *Chain) { c.log = cmp.Or(logger, zap.NewNop()) }
}

// WithEvents makes the chain call handler for each [Event], in order, from one
// goroutine. A slow handler delays later events and nothing else, but for
// [Chain.Close], which waits for it: a handler must not wait for Close. A panic of
// the handler is not recovered. Default, and with nil: none is called.
func WithEvents(handler func(Event)) Option {
	return func(c *Chain) { c.events.handler = handler }
}

// WithMetrics measures the chain with the meters of provider; docs/metrics.md
// lists what. With the exporter of OpenTelemetry for Prometheus, provider is what
// a Prometheus registry collects from. Default, and with nil: nothing is measured.
func WithMetrics(provider metric.MeterProvider) Option {
	return func(c *Chain) {
		c.telemetry.meter = nil
		if provider != nil {
			c.telemetry.meter = provider.Meter(scope)
		}
	}
}

// WithTracer traces the chain with the tracers of provider: a span for each call
// of the application, each attempt of a handler, and each attempt on a store,
// which is linked to all calls whose mutations it carries. Default, and with nil:
// none.
func WithTracer(provider trace.TracerProvider) Option {
	return func(c *Chain) {
		c.telemetry.tracer = nil
		if provider != nil {
			c.telemetry.tracer = provider.Tracer(scope)
		}
	}
}
