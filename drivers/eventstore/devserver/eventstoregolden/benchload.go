// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxErrors is how many errors end a measurement.
const maxErrors = 20

// sample gathers the latencies and errors of calls.
type sample struct {
	mu   sync.Mutex
	lat  []time.Duration
	errs int64
	err  string
}

func (s *sample) add(d time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs++
		if s.err == "" {
			s.err = err.Error()
		}
		return
	}
	s.lat = append(s.lat, d)
}

func (s *sample) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs > maxErrors
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// report writes a measurement of calls that carry perCall events each.
func (b *bencher) report(part int, name string, s *sample, perCall int, took time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lat
	slices.Sort(l)
	m := Measure{Part: part, Name: name, Calls: int64(len(l)), Events: int64(len(l) * perCall), Errors: s.errs, Error: s.err, Seconds: took.Seconds()}
	if took > 0 {
		m.PerSec = float64(m.Events) / took.Seconds()
	}
	if n := len(l); n > 0 {
		m.P50, m.P90, m.P99, m.Max = ms(l[n/2]), ms(l[n*9/10]), ms(l[n*99/100]), ms(l[n-1])
	}
	return b.put(m)
}

// put prints a measurement and saves all there are.
func (b *bencher) put(m Measure) error {
	b.file.Measures = append(b.file.Measures, m)
	fmt.Fprintf(b.log, "%d  %-52s %9d ev %8d calls %4d err %8.2f s %10.0f ev/s  p50 %9.3f  p90 %9.3f  p99 %9.3f  max %9.3f ms %s\n",
		m.Part, m.Name, m.Events, m.Calls, m.Errors, m.Seconds, m.PerSec, m.P50, m.P90, m.P99, m.Max, m.Error)
	return save(b.out, b.file)
}

// load runs f from n workers for the time of one measurement.
func (b *bencher) load(part int, name string, workers, perCall int, f func(w, call int) error) error {
	var s sample
	var wg sync.WaitGroup
	t0 := time.Now()
	stop := t0.Add(b.o.Part)
	for w := range workers {
		wg.Go(func() {
			for i := 0; time.Now().Before(stop) && !s.failed(); i++ {
				c0 := time.Now()
				err := f(w, i)
				s.add(time.Since(c0), err)
			}
		})
	}
	wg.Wait()
	return b.report(part, name, &s, perCall, time.Since(t0))
}

// The shape of filling: appends of so many events, so many at a time.
const (
	fillBatch   = 250
	fillWorkers = 2
)

// fill writes at least n events as fast as appends of many allow.
func (b *bencher) fill(stream string, n int) error {
	began := time.Now()
	var left atomic.Int64
	left.Store(int64((n + fillBatch - 1) / fillBatch))
	var workers errgroup.Group
	for w := range fillWorkers {
		workers.Go(func() error {
			for left.Add(-1) >= 0 {
				if err := b.appendN(b.client(w), stream, fillBatch); err != nil {
					return fmt.Errorf("fill the long stream: %w", err)
				}
			}
			return nil
		})
	}
	err := workers.Wait()
	fmt.Fprintf(b.log, "   (%s filled with %d events in %.1f s)\n", strings.TrimSuffix(stream, "-"+b.tag), n, time.Since(began).Seconds())
	return err
}
