// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Options is what a machine is made of. Log, Describe and Logger must be set.
type Options struct {
	Log      Log
	Describe driver.DescribeResponse // what the store says of itself
	Logger   *slog.Logger
	Clock    Clock // nil: [SystemClock]
	// MaxRecords is how many records the store takes before it answers Full; 0: no
	// limit. It is a limit of this machine, not of the log: concurrent calls may
	// exceed it by what is under way.
	MaxRecords int
	// Feed is how many changes the change feed reaches back; 0: [DefaultFeed].
	Feed int
	// Slack is how many events the log may hold beyond twice the live records before
	// it is compacted; 0: [DefaultSlack].
	Slack int
	// Tidy is the longest time by which expiry and compaction are put off, at random,
	// so that of several machines on a log mostly one does them; 0: [DefaultTidy].
	Tidy time.Duration

	window Position // 0: [Window]; tests have less
}

// Defaults of [Options].
const (
	DefaultFeed  = 1 << 17
	DefaultSlack = 1 << 13
	DefaultTidy  = 200 * time.Millisecond
)

// grace is how long calls wait for a machine that has just been opened before
// they are told that it is still catching up.
const grace = time.Second

// Machine is a [driver.Store] over a [Log].
type Machine struct {
	log      Log
	describe driver.DescribeResponse
	logger   *slog.Logger
	clock    Clock
	limits   Limits
	opts     Options
	nonce    uint64 // in the cursors of List, which are good on this machine only

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.RWMutex
	replica  *replica
	state    state
	claiming map[driver.Token]bool // tokens of the claims under way

	next     atomic.Uint64 // replica.next, to be read without the lock
	changed  notifier      // of replica.next and state
	tidy     chan struct{} // capacity 1: wakes the keeper
	sender   sender
	barrier  barrier
	closing  sync.Once
	finished chan struct{}
}

var _ driver.Store = (*Machine)(nil)

// Open makes a machine and begins to follow the log. It does not wait for it; see
// [Machine.Ready].
func Open(opts Options) *Machine {
	if opts.Clock == nil {
		opts.Clock = SystemClock{}
	}
	if opts.Feed == 0 {
		opts.Feed = DefaultFeed
	}
	if opts.Slack == 0 {
		opts.Slack = DefaultSlack
	}
	if opts.Tidy == 0 {
		opts.Tidy = DefaultTidy
	}
	if opts.window == 0 {
		opts.window = Window
	}
	m := &Machine{
		log: opts.Log, describe: opts.Describe, logger: opts.Logger, clock: opts.Clock,
		limits: opts.Log.Limits(), opts: opts, nonce: rand.Uint64(), //nolint:gosec // tells machines apart, guards nothing
		replica:  newReplica(opts.window, opts.Feed),
		claiming: map[driver.Token]bool{},
		tidy:     make(chan struct{}, 1),
		finished: make(chan struct{}),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.sender = sender{machine: m, flights: map[driver.Token]*flight{}}
	m.barrier.machine = m
	m.state.opened = time.Now()
	m.wg.Go(m.follow)
	m.wg.Go(m.keep)
	return m
}

// Close implements [driver.Store].
func (m *Machine) Close(ctx context.Context) error {
	m.closing.Do(func() {
		m.mu.Lock()
		m.state.phase = closed
		m.mu.Unlock()
		m.sender.close()
		m.cancel()
		m.changed.broadcast()
		go func() {
			defer close(m.finished)
			m.wg.Wait()
		}()
	})
	select {
	case <-m.finished:
	case <-ctx.Done():
	}
	// The log is closed also when its calls do not come back in time.
	return driver.In(m.log.Close(ctx), m.describe.Driver, "close")
}

// Describe implements [driver.Store].
func (m *Machine) Describe(ctx context.Context, _ driver.DescribeRequest) (driver.DescribeResponse, error) {
	if err := m.open(ctx); err != nil {
		return driver.DescribeResponse{}, m.label(err, "describe")
	}
	d := m.describe
	d.Capabilities = slices.Clone(d.Capabilities)
	d.Details = maps.Clone(d.Details)
	return d, nil
}

// open returns nil unless ctx is done or the machine is closed.
func (m *Machine) open(ctx context.Context) error {
	if ctx.Err() != nil {
		return driver.ContextError(ctx, false)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.state.phase == closed {
		return errClosed()
	}
	return nil
}

func (m *Machine) label(err error, op string, ids ...string) error {
	return driver.In(err, m.describe.Driver, op, ids...)
}

// receipt makes the receipt of an answer. The caller holds m.mu.
func (m *Machine) receipt() driver.Receipt {
	return driver.Receipt{Marks: m.replica.marks(), Time: driver.Millis(m.clock.Now())}
}

// answer makes the receipt of an answer that has been waited for.
func (m *Machine) answer() driver.Receipt {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.receipt()
}

// notifier wakes all who wait for a change.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that is closed at the next broadcast.
func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) broadcast() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
