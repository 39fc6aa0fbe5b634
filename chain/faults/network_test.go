// SPDX-License-Identifier: Apache-2.0

//go:build faults

package faults

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestNetworkToRedisCut(t *testing.T) {
	t.Parallel()
	for name, ways := range map[string][]direction{"BothWays": {up, down}, "OnlyRequests": {up}, "OnlyAnswers": {down}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, options{proxied: true})
			for _, h := range w.hosts {
				h.redis.cut(ways...)
			}
			w.active(t, second)
			w.progress(t, 40)
			for _, h := range w.hosts {
				h.redis.mend()
			}
			w.finish(t)
		})
	}
}

func TestOneHostCutOff(t *testing.T) {
	t.Parallel()
	t.Run("FromRedis", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{proxied: true})
		w.hosts[1].redis.cut()
		w.active(t, second)
		lasts(t, 20*time.Second) // the others go back meanwhile
		w.hosts[1].redis.mend()
		w.finish(t)
	})
	t.Run("FromEventStore", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{proxied: true})
		w.hosts[1].events.cut()
		w.dropped(t)
		w.progress(t, 60)
		w.hosts[1].events.mend()
		w.finish(t)
	})
	t.Run("FromBoth", func(t *testing.T) {
		t.Parallel()
		w := start(t, options{proxied: true})
		w.hosts[1].redis.cut()
		w.hosts[1].events.cut()
		lasts(t, 20*time.Second)
		w.progress(t, 60)
		w.hosts[1].redis.mend()
		w.hosts[1].events.mend()
		w.finish(t)
	})
}

// One host loses Event Store for 5 s and goes on alone on Redis, and Redis dies
// before Event Store has caught up. The others, which reach Event Store, wait: what
// that host has finished is not handed out again.
func TestRedisDiesBeforeEventStoreHasCaughtUp(t *testing.T) {
	t.Parallel()
	w := start(t, options{proxied: true, redis: durable})
	began := time.Now()
	w.hosts[0].events.cut()
	await(t, "all hosts know that eventstore is out of step", func() error {
		for _, h := range w.hosts {
			if !slices.ContainsFunc(h.entries(t), func(e entry) bool { return e.Event == "StandbyDropped" }) {
				return errors.New(h.name + " has not heard of it")
			}
		}
		return nil
	})
	w.progress(t, 10)
	died := time.Now()
	w.redis.Kill(t)
	lasts(t, time.Until(began.Add(5*time.Second)))
	w.hosts[0].events.mend()
	w.happens(t, "AllDown", died)
	lasts(t, 5*time.Second)
	w.redis.Start(t)
	w.finish(t)
	for _, e := range w.entries(t) {
		if e.Event == "FailedOver" && e.At.After(died) {
			t.Errorf("%s failed over to a store that was out of step: %s", e.host, e.Text)
		}
	}
}
