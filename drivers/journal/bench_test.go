// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// BenchmarkApply applies the life of a workflow with 512 bytes of input: start,
// claim, save point, end.
func BenchmarkApply(b *testing.B) {
	r := newReplica(Window, DefaultFeed)
	created, err := carrying(Created, Creation{Incarnation: 1})
	require.NoError(b, err)
	created.Origin = &Origin{Batch: &Batch{}}
	r.apply(0, &created)
	input := make([]byte, 512)
	origin := &Origin{Batch: &Batch{ID: driver.NewToken()}}
	now := time.Now()
	events := make([]Event, 0, 4)
	n := 0
	for b.Loop() {
		b.StopTimer()
		events = life(b, events[:0], "w"+strconv.Itoa(n), input, now)
		n++
		b.StartTimer()
		for i := range events {
			origin.After = r.next
			events[i].Origin = origin
			if v := r.apply(r.next, &events[i]); !v.Applied {
				b.Fatal(v.Err)
			}
		}
	}
	b.ReportMetric(float64(4*b.N)/b.Elapsed().Seconds(), "events/s")
}

func life(b *testing.B, events []Event, id string, input []byte, now time.Time) []Event {
	b.Helper()
	stamp := func(lease driver.Token) driver.Stamp {
		return driver.Stamp{Token: driver.NewToken(), Now: now, Lease: lease}
	}
	add := func(t driver.Transition, err error) driver.Record {
		require.NoError(b, err)
		events = append(events, Event{Kind: Committed, Base: t.Base, Data: driver.AppendRecord(nil, &t.Record)})
		return t.Record
	}
	rec := add(driver.Start(stamp(driver.Token{}), driver.Workflow{ID: id, Kind: "call", Input: input}))
	rec = add(driver.Claim(stamp(driver.Token{}), rec, "host", now.Add(time.Minute)))
	lease := rec.Lease.Token
	rec = add(driver.Save(stamp(lease), rec, "step", []byte("state"), now.Add(time.Minute)))
	add(driver.Succeed(stamp(lease), rec, nil, time.Time{}))
	return events
}

// BenchmarkCombining commits single records over a log whose appends take a
// millisecond.
func BenchmarkCombining(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := newFaultyLog()
			l.limits.Events = 256
			l.before = func() error {
				timer := time.NewTimer(time.Millisecond)
				<-timer.C
				return nil
			}
			m := Open(Options{Log: l, Describe: driver.DescribeResponse{Driver: "bench"}, Logger: discard})
			require.NoError(b, m.Ready(b.Context()))
			b.SetParallelism(max(1, callers/2))
			began := l.appends
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					t, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: time.Now()}, driver.Workflow{ID: driver.NewToken().String(), Kind: "k"})
					if err == nil {
						err = commitOne(b.Context(), m, t)
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(b.N)/float64(l.appends-began), "commits/append")
			require.NoError(b, m.Close(context.WithoutCancel(b.Context())))
		})
	}
}
