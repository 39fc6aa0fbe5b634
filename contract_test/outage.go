// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func outageCases() []Case {
	const area = "Outage"
	cases := []Case{
		{Name: "EndsEachCallWithItsContext", run: outageEnds,
			Sentence: "Every method returns within 100 ms after its ctx is done, whatever state the product or its client library is in."},
		{Name: "LeavesDescribeAlone", run: outageDescribe,
			Sentence: "Describe answers also while the product cannot be reached."},
		{Name: "LeavesHonestOutcomes", run: outageHonest,
			Sentence: "A mutation whose request may have reached the store and whose answer is missing is Unknown, never Unavailable."},
		{Name: "IsOverByItself", run: outageOver,
			Sentence: "A store whose product cannot be reached serves by itself once the product is back."},
		{Name: "EndsFeedsWithTheirContext", run: outageFeed, Needs: []driver.Capability{driver.CapChanges},
			Sentence: "Changes feeds until ctx is done, whatever state the product is in; cursors stay good over reconnects."},
		{Name: "DoesNotHoldCloseUp", run: outageClose,
			Sentence: "Close ends the connection and all calls in flight within ctx."},
	}
	for i := range cases {
		cases[i].Area, cases[i].needsFreeze = area, true
	}
	return cases
}

// freeze stops the product of c until the thaw that it returns, or the end of the
// case.
func (e *env) freeze(c *conn) (thaw func()) {
	e.Helper()
	thaw = sync.OnceFunc(e.h.Freeze(e.T, c.chain))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frozen = append(e.frozen, thaw)
	return thaw
}

// serves waits until c answers again.
func (c *conn) serves() {
	c.e.Helper()
	c.e.eventually("the store serves again", func() error {
		ctx, cancel := c.e.brief(time.Second)
		defer cancel()
		_, err := c.Get(ctx, driver.GetRequest{IDs: []string{"due"}})
		return err
	})
}

// silence is how long calls wait for a product that does not answer.
const silence = 150 * time.Millisecond

func outageEnds(e *env) {
	c := e.open()
	c.start("due")
	calls := c.everyMethod("new")
	reads := []string{"get", "list", "epoch"}
	thaw := e.freeze(c)
	e.all(len(calls), func(i int) error {
		m := calls[i]
		if m.name == "describe" {
			return nil
		}
		ctx, cancel := e.brief(silence)
		defer cancel()
		err := m.call(ctx)
		late, allowed := time.Since(deadlineOf(ctx)), e.promptly(deadlineOf(ctx))
		switch class := driver.ClassOf(err); {
		case err == nil:
			return fmt.Errorf("%s was answered by a product that does not answer", m.name)
		case late > allowed:
			return fmt.Errorf("%s returned %s after its context was done", m.name, late)
		case class != driver.Unavailable && class != driver.Unknown:
			return fmt.Errorf("%s: want unavailable or unknown outcome: %w", m.name, err)
		case class == driver.Unknown && slices.Contains(reads, m.name):
			return fmt.Errorf("%s: a read without an answer is unavailable: %w", m.name, err)
		}
		return nil
	})
	thaw()
	c.serves()
}

func outageDescribe(e *env) {
	c := e.open()
	before := c.describe()
	e.freeze(c)
	ctx, cancel := e.brief(time.Second)
	defer cancel()
	resp, err := c.Describe(ctx, driver.DescribeRequest{})
	require.NoError(e, err)
	require.Equal(e, before.Driver, resp.Driver)
}

func outageHonest(e *env) {
	c := e.open()
	c.start("due")
	sent := make([]driver.Transition, 20)
	classes := make([]driver.Class, len(sent))
	for i := range sent {
		sent[i] = c.newStart(fmt.Sprint("r", i))
	}
	thaw := e.freeze(c)
	e.all(len(sent), func(i int) error {
		ctx, cancel := e.brief(silence)
		defer cancel()
		resp, err := c.Commit(ctx, driver.CommitRequest{Guard: c.guard(), Transitions: sent[i : i+1]})
		if classes[i] = driver.ClassOf(firstError(resp.Verdicts, err)); classes[i] == 0 {
			return errors.New("acknowledged by a product that does not answer")
		}
		return nil
	})
	thaw()
	c.serves()
	for i, t := range sent {
		if classes[i] == driver.Unknown {
			require.NoError(e, c.verdict(t).Err, "the repeat of an unknown outcome")
			c.holds(t.Record)
		}
	}
	arrival := time.NewTimer(silence) // of what was sent, after all
	defer arrival.Stop()
	<-arrival.C
	for i, t := range sent {
		if classes[i] != driver.Unknown {
			require.Nil(e, c.get(t.Record.ID), "%q is %s: certainly not done", t.Record.ID, classes[i])
		}
	}
}

func outageOver(e *env) {
	c := e.open()
	r := c.start("due")
	for range 2 {
		thaw := e.freeze(c)
		ctx, cancel := e.brief(silence)
		_, err := c.Get(ctx, driver.GetRequest{IDs: []string{"due"}})
		cancel()
		e.refused(err, driver.Unavailable)
		thaw()
		c.serves()
		c.holds(r)
		c.start("new-" + driver.NewToken().String())
	}
	require.Len(e, c.list(driver.ListRequest{Limit: 10}), 3)
}

func outageFeed(e *env) {
	c := e.open()
	c.start("due")
	f := c.follow(driver.ChangesRequest{})
	cursor := f.cursor()
	thaw := e.freeze(c)
	began := time.Now()
	f.end()
	require.Less(e, time.Since(began), e.promptly(began), "Changes ends with its context")
	require.Equal(e, driver.Unavailable, driver.ClassOf(f.err), "%v", f.err)
	thaw()
	c.serves()
	r := c.start("after")
	again := c.follow(driver.ChangesRequest{Cursor: cursor})
	again.awaitAll([]driver.Record{r})
	require.Len(e, again.changes(), 1)
}

func outageClose(e *env) {
	c := e.open()
	c.start("due")
	e.freeze(c)
	inFlight := make(chan error, 1)
	go func() {
		defer guard(e.T, "a call")
		_, err := c.Get(e.Context(), driver.GetRequest{IDs: []string{"due"}})
		inFlight <- err
	}()
	ctx, cancel := context.WithTimeout(e.Context(), silence)
	defer cancel()
	_ = c.Close(ctx) // it may not have come to its end
	require.Less(e, time.Since(deadlineOf(ctx)), e.promptly(deadlineOf(ctx)), "Close returns within its context")
	closed := time.Now()
	select {
	case err := <-inFlight:
		e.refused(err, driver.Unavailable)
		require.Less(e, time.Since(closed), e.promptly(closed), "a call in flight ends with Close")
	case <-time.After(e.closeTime()):
		require.Fail(e, "a call in flight has not ended with Close")
	}
}
