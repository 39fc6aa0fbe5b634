// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }

// worker starts, claims and ends workflows on one machine and counts what became
// of them, while the log loses replies and breaks off followers.
type worker struct {
	m    *Machine
	name string
	t    *testing.T
	led  *ledger
}

// retention of what the workers end. A start of unknown outcome that is repeated
// longer than that may find the id free again.
const retention = time.Second

// ledger is what all workers know together.
type ledger struct {
	mu      sync.Mutex
	started map[string]bool
	late    map[string]bool // was started for longer than the retention
	ended   map[string]int
}

func (w *worker) start(n int) {
	began := time.Now()
	tr := started(w.t, fmt.Sprintf("%s-%d", w.name, n))
	err := commitOne(w.t.Context(), w.m, tr)
	for driver.ClassOf(err) == driver.Unknown || driver.ClassOf(err) == driver.Unavailable {
		err = commitOne(w.t.Context(), w.m, tr)
	}
	if err != nil { // it was done, and somebody has worked on it since
		require.ErrorIs(w.t, err, driver.Exists)
	}
	w.led.mu.Lock()
	defer w.led.mu.Unlock()
	w.led.started[tr.Record.ID] = true
	w.led.late[tr.Record.ID] = time.Since(began) >= retention
}

func (w *worker) work() {
	req := driver.ClaimRequest{Owner: w.name, Token: driver.NewToken(), Kinds: []string{"k"}, Limit: 1 + rand.IntN(4), Lease: time.Minute}
	resp, err := w.m.Claim(w.t.Context(), req)
	for err != nil {
		resp, err = w.m.Claim(w.t.Context(), req)
	}
	for _, r := range resp.Records {
		end, err := driver.Succeed(driver.Stamp{Token: driver.NewToken(), Now: resp.Time, Lease: req.Token}, r, nil, resp.Time.Add(retention))
		require.NoError(w.t, err)
		err = commitOne(w.t.Context(), w.m, end)
		for driver.ClassOf(err) == driver.Unknown || driver.ClassOf(err) == driver.Unavailable {
			err = commitOne(w.t.Context(), w.m, end)
		}
		if class := driver.ClassOf(err); class == driver.NotFound {
			err = nil // done, its repeat came after it had expired
		}
		require.NoError(w.t, err)
		w.led.mu.Lock()
		w.led.ended[r.ID]++
		w.led.mu.Unlock()
	}
}

func TestManyHostsOnAnUnreliableLog(t *testing.T) {
	t.Parallel()
	const hosts, each = 4, 150
	l := newFaultyLog()
	led := &ledger{started: map[string]bool{}, late: map[string]bool{}, ended: map[string]int{}}
	options := func(o *Options) { o.Slack = 200 }
	machines := make([]*Machine, hosts)
	for i := range machines {
		machines[i] = ready(t, l, options, shortWindow)
	}
	stop := chaos(l)
	var wg sync.WaitGroup
	for i, m := range machines {
		wg.Go(func() {
			w := &worker{m: m, name: fmt.Sprint("host", i), t: t, led: led}
			for n := range each {
				w.start(n)
				w.work()
			}
		})
	}
	wg.Wait()
	stop()
	for i, m := range machines {
		w := &worker{m: m, name: fmt.Sprint("host", i), t: t, led: led}
		for range each {
			w.work()
		}
	}
	require.Len(t, led.started, hosts*each)
	require.Len(t, led.ended, hosts*each, "each workflow that was started was ended")
	for id, n := range led.ended {
		if !led.late[id] {
			require.Equal(t, 1, n, "%s was claimed more than once", id)
		}
	}
	eventually(t, func() bool { return l.firstKept() > 0 }, "the log was compacted")
	machines = append(machines, ready(t, l, options, shortWindow))
	requireEqualDigests(t, machines)
}

func (l *faultyLog) firstKept() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func shortWindow(o *Options) { o.window = 100 }

// requireEqualDigests waits until all machines are at one position and compares
// them there.
func requireEqualDigests(t *testing.T, machines []*Machine) {
	t.Helper()
	eventually(t, func() bool {
		at, digest := machines[0].Digest()
		for _, m := range machines[1:] {
			if other, d := m.Digest(); other != at || d != digest {
				return false
			}
		}
		return true
	}, "all machines hold the same")
}

func TestReplayIsBoundedByWhatIsAlive(t *testing.T) {
	t.Parallel()
	l := newFaultyLog()
	m := ready(t, l, func(o *Options) { o.Slack = 50 }, shortWindow)
	for i := range 100 {
		require.NoError(t, commitOne(t.Context(), m, started(t, fmt.Sprint("stays", i))))
	}
	for i := range 2000 {
		tr := started(t, fmt.Sprint("goes", i))
		require.NoError(t, commitOne(t.Context(), m, tr))
		end, err := driver.Cancel(driver.Stamp{Token: driver.NewToken(), Now: time.Now()}, tr.Record, "", time.Now().Add(time.Millisecond))
		require.NoError(t, err)
		require.NoError(t, commitOne(t.Context(), m, end))
	}
	eventually(t, func() bool {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return m.replica.table.live == 100 && m.stage() == nothing
	}, "the finished ones have left")
	kept := l.length() - int(l.firstKept())
	require.LessOrEqual(t, kept, 2*100+50+2*100+500, "events kept of %d", l.length())
	late := ready(t, l, shortWindow)
	requireEqualDigests(t, []*Machine{m, late})
	got, err := late.Get(t.Context(), driver.GetRequest{IDs: []string{"stays0", "stays99", "goes7"}})
	require.NoError(t, err)
	require.Len(t, got.Records, 2)
}

func TestFollowerThatFellBehindTheTruncationIsBuiltAnew(t *testing.T) {
	t.Parallel()
	t.Run("while it followed", func(t *testing.T) {
		t.Parallel()
		testFellBehind(t, func(*faultyLog, *Machine) {})
	})
	t.Run("while it was cut off", func(t *testing.T) {
		t.Parallel()
		testFellBehind(t, func(l *faultyLog, slow *Machine) {
			l.breakOff()
			eventually(t, func() bool {
				slow.mu.RLock()
				defer slow.mu.RUnlock()
				return slow.state.first > 0
			}, "it has looked at the log anew")
		})
	})
}

// testFellBehind lets a follower come back to a log that was truncated past it.
func testFellBehind(t *testing.T, back func(*faultyLog, *Machine)) {
	t.Helper()
	l := newFaultyLog()
	options := func(o *Options) { o.Slack = 50 }
	m := ready(t, l, options, shortWindow)
	behind := &slowLog{faultyLog: l, gate: make(chan struct{}, 1)}
	behind.gate <- struct{}{}
	slow := ready(t, behind, options, shortWindow)
	early := started(t, "early") // known to it, and soon gone
	require.NoError(t, commitOne(t.Context(), m, early))
	requireEqualDigests(t, []*Machine{m, slow})
	<-behind.gate // it is told nothing from here on
	for i := range 600 {
		tr := early
		if i > 0 {
			tr = started(t, fmt.Sprint("w", i%200, "-", i))
			require.NoError(t, commitOne(t.Context(), m, tr))
		}
		end, err := driver.Cancel(driver.Stamp{Token: driver.NewToken(), Now: time.Now()}, tr.Record, "", time.Now())
		require.NoError(t, err)
		require.NoError(t, commitOne(t.Context(), m, end))
	}
	at, _ := slow.Digest()
	eventually(t, func() bool { return l.firstKept() > at }, "the log was truncated past it")
	back(l, slow)
	behind.gate <- struct{}{}
	l.grown.broadcast()
	requireEqualDigests(t, []*Machine{m, slow})
	got, err := slow.Get(t.Context(), driver.GetRequest{IDs: []string{"early"}})
	require.NoError(t, err)
	require.Empty(t, got.Records)
}

// slowLog tells its followers nothing unless there is a token in the gate.
type slowLog struct {
	*faultyLog
	gate chan struct{}
}

// Follow implements [Log].
func (l *slowLog) Follow(ctx context.Context, from Place, emit func(Position, []Event) error) error {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	return l.faultyLog.Follow(ctx, from, func(at Position, events []Event) error {
		select {
		case token := <-l.gate:
			l.gate <- token
			return emit(at, events)
		case <-cut:
			return &driver.Error{Class: driver.Unavailable, Detail: "cut off"}
		case <-ctx.Done():
			return driver.ContextError(ctx, false)
		}
	})
}
