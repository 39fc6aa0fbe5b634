// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func closeCases() []Case {
	const area = "Close"
	return []Case{
		{Area: area, Name: "EndsEveryMethod", run: closeEnds,
			Sentence: "After Close every method returns Unavailable."},
		{Area: area, Name: "MayBeRepeated", run: closeRepeated,
			Sentence: "Close returns nil on a closed store."},
		{Area: area, Name: "MayBeCalledAtOnce", run: closeAtOnce,
			Sentence: "Every method may be called from any number of goroutines at once, Close included."},
		{Area: area, Name: "EndsCallsInFlight", run: closeInFlight,
			Sentence: "Close ends the connection and all calls in flight within ctx."},
		{Area: area, Name: "EndsFeeds", run: closeFeeds, Needs: []driver.Capability{driver.CapChanges},
			Sentence: "Close ends all calls in flight. Changes: Unavailable when the feed broke off."},
		{Area: area, Name: "LeavesOtherConnections", run: closeOthers, Needs: []driver.Capability{driver.CapShared},
			Sentence: "Close ends the connection. Records stay."},
	}
}

func (c *conn) close() {
	c.e.Helper()
	began := time.Now()
	require.NoError(c.e, closeStore(c.Store, c.e.closeTime()), "close")
	require.Less(c.e, time.Since(began), c.e.closeTime()+c.e.promptly(began), "Close returns within its context")
}

func closeEnds(e *env) {
	c := e.open()
	c.start("due")
	calls := c.everyMethod("new")
	if e.h.Has(driver.CapChanges) {
		calls = append(calls, methodCall{"changes", func(ctx context.Context) error {
			return c.Changes(ctx, driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
		}})
	}
	c.close()
	for _, m := range calls {
		ctx, cancel := e.brief(e.h.timeout() / 4)
		err := m.call(ctx)
		require.NoError(e, ctx.Err(), "%s answers at once after Close", m.name)
		cancel()
		require.Equal(e, driver.Unavailable, driver.ClassOf(err), "%s after Close: %v", m.name, err)
	}
}

func closeRepeated(e *env) {
	c := e.open()
	for range 3 {
		c.close()
	}
}

func closeAtOnce(e *env) {
	c := e.open()
	c.start("a")
	e.all(contenders, func(int) error { return closeStore(c.Store, e.closeTime()) })
	c.close()
}

func closeInFlight(e *env) {
	c := e.open()
	var begun atomic.Int64
	e.all(9, func(i int) error {
		if i == 0 {
			e.eventually("the others are at work", func() error {
				if n := begun.Load(); n < 40 {
					return fmt.Errorf("%d calls", n)
				}
				return nil
			})
			return closeStore(c.Store, e.closeTime())
		}
		for n := 0; ; n++ {
			now := time.Now()
			t, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: now}, driver.Workflow{ID: fmt.Sprint(i, "-", n), Kind: kind})
			if err != nil {
				return err
			}
			resp, err := c.Commit(e.Context(), driver.CommitRequest{Transitions: []driver.Transition{t}})
			err = firstError(resp.Verdicts, err)
			begun.Add(1)
			switch driver.ClassOf(err) {
			case 0, driver.Unknown: // Unknown: it was in flight
			case driver.Unavailable:
				return nil
			default:
				return fmt.Errorf("a call that was in flight at Close, or came later: %w", err)
			}
		}
	})
}

func closeFeeds(e *env) {
	c := e.open()
	live := c.follow(driver.ChangesRequest{})
	blocked := make(chan struct{})
	stuck := c.followWith(driver.ChangesRequest{}, func() {
		select {
		case <-blocked:
		case <-time.After(50 * time.Millisecond):
		}
	})
	c.close()
	close(blocked)
	for _, f := range []*feed{live, stuck} {
		select {
		case <-f.over:
		case <-time.After(e.closeTime()):
			require.Fail(e, "Changes has not ended with Close")
		}
		e.refused(f.err, driver.Unavailable)
	}
}

func closeOthers(e *env) {
	conns := e.several(3)
	r := conns[0].leased("a")
	f := conns[2].follow
	conns[0].close()
	conns[1].holds(r)
	if e.h.Has(driver.CapChanges) {
		running := f(driver.ChangesRequest{})
		conns[1].close()
		running.awaitAll([]driver.Record{conns[2].start("b")})
	}
	conns[2].holds(r)
	conns[2].apply(conns[2].must(driver.Save(conns[2].stamp(r), r, "step", nil, r.Due)))

	again := e.open()
	require.Equal(e, "step", again.get("a").Step)
}
