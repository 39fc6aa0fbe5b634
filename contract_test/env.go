// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/internal/pace"
)

const (
	closeTime = 5 * time.Second // at least
	pollEvery = 2 * time.Millisecond
	// promptly is how long after the end of its context a call may return on a machine
	// that keeps up: the 100 ms of the contract, and some for what else it has to do.
	promptly = 100*time.Millisecond + 400*time.Millisecond
)

// env is what a case works with: a T, a chain of its own, and the stores it
// opened, which are closed when it ends.
type env struct {
	T
	h     Harness
	chain string
	span  time.Duration // long enough for a few calls and short enough to be waited for
	late  atomic.Bool   // the machine was too slow for span
	pace  *pace.Watch

	mu     sync.Mutex
	opened []*conn
	frozen []func() // thaws
}

// newEnv returns an env for a case, which is ended by closeAll.
func newEnv(t T, h Harness) *env {
	return &env{T: t, h: h, chain: newChain(), span: h.span(), pace: pace.Start()}
}

// closeTime is how long a store has to close.
func (e *env) closeTime() time.Duration { return max(closeTime, e.h.timeout()/6) }

// newChain returns the name of a chain that nobody has used.
func newChain() string { return "t" + driver.NewToken().String()[:20] }

// open opens a connection to the data of the case's chain.
func (e *env) open() *conn {
	e.Helper()
	return e.openChain(e.chain)
}

func (e *env) openChain(chain string) *conn {
	e.Helper()
	s, err := e.h.Open(e.T, chain)
	require.NoError(e, err, "open a store")
	require.NotNil(e, s, "open a store")
	c := &conn{Store: s, e: e, chain: chain}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opened = append(e.opened, c)
	return c
}

// share opens a further connection to the same data, if the driver is declared to
// allow that; otherwise it returns c.
func (e *env) share(c *conn) *conn {
	e.Helper()
	if !e.h.Has(driver.CapShared) {
		return c
	}
	further := e.openChain(c.chain)
	further.epoch = c.epoch
	return further
}

// several returns n connections to the case's data, or one n times.
func (e *env) several(n int) []*conn {
	e.Helper()
	conns := []*conn{e.open()}
	for len(conns) < n {
		conns = append(conns, e.share(conns[0]))
	}
	return conns
}

// kill ends the process of c's store; c is of no more use.
func (e *env) kill(c *conn) {
	e.Helper()
	require.NotNil(e, e.h.Kill, "the harness declares %q and has no Kill", driver.CapDurable)
	e.mu.Lock()
	e.opened = slices.DeleteFunc(e.opened, func(o *conn) bool { return o == c })
	e.mu.Unlock()
	e.h.Kill(e.T, c.Store)
	_ = closeStore(c.Store, e.closeTime()) // lets go of what is left in this process
}

// closeAll thaws and closes what the case opened, and gives each store d to do so.
func (e *env) closeAll(d time.Duration) {
	e.mu.Lock()
	conns, thaws := e.opened, e.frozen
	e.opened, e.frozen = nil, nil
	e.mu.Unlock()
	defer e.pace.Stop()
	for _, thaw := range thaws {
		thaw()
	}
	results := make(chan error, len(conns))
	for _, c := range conns {
		go func() { results <- closeStore(c.Store, d) }()
	}
	late := time.After(d + time.Second)
	for range conns {
		select {
		case err := <-results:
			if err != nil {
				e.Errorf("close the store: %v", err)
			}
		case <-late:
			e.Errorf("Close has not returned %s after its context was done", time.Second)
			return
		}
	}
}

// eventually waits until the condition gives nil.
func (e *env) eventually(what string, condition func() error) {
	e.Helper()
	limit := time.NewTimer(e.h.timeout() / 3)
	defer limit.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			require.NoError(e, err, "waited %s: %s", e.h.timeout()/3, what)
		case <-e.Context().Done():
			require.NoError(e, err, "the time is up: %s", what)
		}
	}
}

// tooLate ends the case without a verdict: the store's clock has passed a time
// that it was to be looked at before.
func (e *env) tooLate() {
	e.late.Store(true)
	require.Fail(e, "the machine is too slow", "for leases of %s", e.span)
}

// passes waits until the clock of c's store stands at t or later.
func (e *env) passes(c *conn, t time.Time) {
	e.Helper()
	if e.h.Advance != nil {
		if by := t.Sub(c.now()); by > 0 {
			e.h.Advance(e.T, c.chain, by)
		}
	}
	e.eventually("the store's clock passes "+t.Format(time.RFC3339Nano), func() error {
		if now := c.now(); now.Before(t) {
			return fmt.Errorf("it stands at %s", now.Format(time.RFC3339Nano))
		}
		return nil
	})
}

// all calls f n times at once, with the numbers from 0, and fails the case with
// the first error.
func (e *env) all(n int, f func(i int) error) {
	e.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		errs[i] = errors.New("it has failed") // unless it comes to its end
		wg.Go(func() {
			defer guard(e.T, "a call")
			errs[i] = f(i)
		})
	}
	wg.Wait()
	for i, err := range errs {
		require.NoError(e, err, "call %d of %d at once", i, n)
	}
}

// refused checks that err has the class, and text in its message.
func (e *env) refused(err error, class driver.Class, text ...string) {
	e.Helper()
	require.Error(e, err, "want %s", class)
	require.Equal(e, class, driver.ClassOf(err), "the class of: %v", err)
	require.ErrorIs(e, err, class)
	for _, t := range text {
		require.Contains(e, err.Error(), t, "the message says what is wrong")
	}
}

// carried returns the error's details.
func (e *env) carried(err error) *driver.Error {
	e.Helper()
	detailed, ok := errors.AsType[*driver.Error](err)
	require.True(e, ok, "want a *driver.Error: %v", err)
	return detailed
}

// same checks that the store's record is the one expected, in every field.
func (e *env) same(want, got *driver.Record) {
	e.Helper()
	require.NotNil(e, got, "the store does not hold %q", want.ID)
	if !driver.Equal(want, got) {
		require.Equal(e, show(want), show(got), "the record the store holds")
	}
}

func show(r *driver.Record) string {
	s := fmt.Sprintf("%+v", *r)
	if len(s) > 4000 {
		s = s[:4000] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// inTime checks that ctx, which is done, has not been so for long.
func (e *env) inTime(ctx context.Context) {
	e.Helper()
	deadline, ok := ctx.Deadline()
	require.True(e, ok)
	require.Less(e, time.Since(deadline), e.promptly(deadline), "the time from the end of the context to the end of the call")
}

// promptly is how long after a moment what then has to end may go on.
func (e *env) promptly(since time.Time) time.Duration { return promptly + e.pace.Slack(since) }

// brief is a context for a call that must come back by itself.
func (e *env) brief(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.Context(), d)
}
