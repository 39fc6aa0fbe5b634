// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/understudy-dev/understudy/driver"
)

// gauge is a figure of [Chain.Status] that is read when metrics are collected.
type gauge struct {
	name, unit, about string
	of                func(o *Overview) int64
}

var gauges = []gauge{
	{"understudy.calls.in_flight", "{call}", "Calls that are not answered.", func(o *Overview) int64 { return int64(o.InFlight) }},
	{"understudy.epoch", "{epoch}", "Number of the epoch that the host acts on.", func(o *Overview) int64 { return int64(o.Epoch.Number) }},
	{"understudy.serves", "1", "1 if calls meet no hindrance.", func(o *Overview) int64 { return one(o.Condition == Serves) }},
	{"understudy.down", "1", "1 if no link can serve.", func(o *Overview) int64 { return one(o.Condition == Down) }},
	{"understudy.protected", "1", "1 if a standby is in step.", func(o *Overview) int64 { return one(o.Protected) }},
	{"understudy.frozen", "1", "1 if the host is frozen.", func(o *Overview) int64 { return one(o.Frozen != nil) }},
	{"understudy.unmirrored", "{record}", "Records acknowledged and not on every standby yet.", func(o *Overview) int64 { return int64(o.Unmirrored) }},
}

// linkGauge is a figure of one link; negative: not known.
type linkGauge struct {
	name, unit, about string
	of                func(l *LinkStatus) int64
}

var linkGauges = []linkGauge{
	{"understudy.link.active", "1", "1 if the link is active.", func(l *LinkStatus) int64 { return one(l.State == LinkActive) }},
	{"understudy.link.in_sync", "1", "1 if the link holds everything that was acknowledged.",
		func(l *LinkStatus) int64 { return one(l.State == LinkActive || l.State == LinkInSync) }},
	{"understudy.link.up", "1", "1 if the latest status check of the link succeeded.",
		func(l *LinkStatus) int64 { return one(!l.Check.At.IsZero() && l.Check.Err == nil) }},
	{"understudy.link.lag", "{record}", "Records that the active link has taken from this host and a standby in step does not have yet.", func(l *LinkStatus) int64 {
		if l.Lag == nil {
			return -1
		}
		return int64(l.Lag.Records)
	}},
	{"understudy.link.lag.age", "ms", "Time since the active link has taken the oldest of these.", func(l *LinkStatus) int64 {
		if l.Lag == nil {
			return -1
		}
		return time.Duration(l.Lag.Age).Milliseconds()
	}},
	{"understudy.link.lost", "1", "1 if the link has lost data and is not trusted.", func(l *LinkStatus) int64 { return one(l.Lost != nil) }},
	{"understudy.link.problems", "{problem}", "Problems that the latest status check found.", func(l *LinkStatus) int64 { return int64(len(l.Check.Problems)) }},
	{"understudy.resync.done", "{record}", "Records that the present step of a resync has gone through.", func(l *LinkStatus) int64 {
		if l.Resync == nil {
			return -1
		}
		return l.Resync.Done
	}},
	{"understudy.resync.about", "{record}", "Records of the present step of a resync, about.", func(l *LinkStatus) int64 {
		if l.Resync == nil {
			return -1
		}
		return l.Resync.About
	}},
	{"understudy.link.records", "{record}", "Records in the store.", func(l *LinkStatus) int64 { return l.Check.Records }},
	{"understudy.link.used", "By", "Bytes used of what fills first in the store.", func(l *LinkStatus) int64 { return l.Check.UsedBytes }},
	{"understudy.link.limit", "By", "Size of what fills first in the store.", func(l *LinkStatus) int64 { return l.Check.LimitBytes }},
}

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// gauge has the figures of the status read whenever metrics are collected, until
// the returned function is called.
func (c *Chain) gauge() (stop func() error, err error) {
	t := &c.telemetry
	if t.meter == nil {
		return func() error { return nil }, nil
	}
	all := make([]metric.Int64ObservableGauge, 0, len(gauges)+len(linkGauges))
	add := func(name, unit, about string) {
		g, failed := t.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(about))
		if all = append(all, g); err == nil {
			err = failed
		}
	}
	for _, g := range gauges {
		add(g.name, g.unit, g.about)
	}
	for _, g := range linkGauges {
		add(g.name, g.unit, g.about)
	}
	if err == nil {
		observables := make([]metric.Observable, len(all))
		for i, g := range all {
			observables[i] = g
		}
		var registration metric.Registration
		if registration, err = t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			c.read(o, all)
			return nil
		}, observables...); err == nil {
			return registration.Unregister, nil
		}
	}
	return nil, &driver.Error{Class: driver.Invalid, Op: "make instruments", Cause: err}
}

// read gives the figures to the gauges, which are in the order of the tables.
func (c *Chain) read(o metric.Observer, all []metric.Int64ObservableGauge) {
	status := c.Status()
	chain := attribute.String("chain", c.config.Name)
	for i, g := range gauges {
		o.ObserveInt64(all[i], g.of(&status), metric.WithAttributes(chain))
	}
	for i := range status.Links {
		l := &status.Links[i]
		labels := metric.WithAttributes(chain, attribute.String("link", l.Name))
		for n, g := range linkGauges {
			if value := g.of(l); value >= 0 {
				o.ObserveInt64(all[len(gauges)+n], value, labels)
			}
		}
	}
}
