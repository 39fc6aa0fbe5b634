// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// check ends an example that cannot go on.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Workflows that have failed are listed, page by page, and brought back.
func ExampleChain_List() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	c := openExample(ctx)
	defer c.Close(ctx)
	_, err := c.Start(ctx, chain.Workflow{ID: "1772442900.17", Kind: "recording"})
	check(err)
	working, done := context.WithCancel(ctx)
	check(c.Work(working, "recording", func(context.Context, *chain.Handle) ([]byte, error) {
		done()
		return nil, chain.Permanent(errors.New("the archive is read-only"))
	}, chain.WorkOptions{}))

	f := chain.Filter{Kinds: []string{"recording"}, Statuses: []chain.Status{driver.Failed}}
	for {
		page, err := c.List(ctx, f)
		check(err) // driver.CursorLost: the chain has moved to another link; begin anew
		for _, r := range page.Records {
			fmt.Println(r.ID, r.Status, "-", r.Failure)
			r, err := c.Requeue(ctx, r.ID)
			check(err)
			fmt.Println(r.ID, r.Status)
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
	}
	// Output:
	// 1772442900.17 failed - the archive is read-only
	// 1772442900.17 ready
}

func ExampleChain_Cancel() {
	ctx := context.Background()
	c := openExample(ctx)
	defer c.Close(ctx)
	_, err := c.Start(ctx, chain.Workflow{ID: "1772442900.17", Kind: "recording"})
	check(err)
	r, err := c.Cancel(ctx, "1772442900.17", "the caller has objected")
	check(err)
	fmt.Println(r.Status, "-", r.Failure)
	_, err = c.Cancel(ctx, "1772442900.18", "")
	fmt.Println(errors.Is(err, driver.NotFound))
	// Output:
	// cancelled - the caller has objected
	// true
}

// Any worker goes on with what is given back, at once.
func ExampleHandle_Yield() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	c := openExample(ctx)
	defer c.Close(ctx)
	_, err := c.Start(ctx, chain.Workflow{ID: "1772442900.17", Kind: "recording", Labels: map[string]string{"site": "north"}})
	check(err)
	working, done := context.WithCancel(ctx)
	check(c.Work(working, "recording", func(ctx context.Context, h *chain.Handle) ([]byte, error) {
		if h.Step() == "" {
			fmt.Println("recorded")
			return nil, h.Yield(ctx, "recorded", []byte("17.wav"))
		}
		fmt.Printf("%s: %s of site %s\n", h.Step(), h.State(), h.Label("site"))
		done()
		return nil, nil
	}, chain.WorkOptions{}))
	// Output:
	// recorded
	// recorded: 17.wav of site north
}

// Nobody knows whether the dialer has got the contact, and nothing can ask it. The
// workflow waits until an operator has found out.
func ExampleChain_Resolve() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	c := openExample(ctx)
	defer c.Close(ctx)
	_, err := c.Start(ctx, chain.Workflow{ID: "contact-1", Kind: "contact"})
	check(err)
	work := func() {
		working, done := context.WithCancel(ctx)
		check(c.Work(working, "contact", func(ctx context.Context, h *chain.Handle) ([]byte, error) {
			ticket, err := h.Once(ctx, "feed", func(context.Context, string) ([]byte, error) {
				return nil, errors.New("no answer from the dialer")
			}, nil)
			if err == nil || errors.Is(err, chain.ErrUnresolved) {
				fmt.Printf("%s %v\n", ticket, err)
				done()
			}
			return ticket, err
		}, chain.WorkOptions{Retry: chain.RetryPolicy{Backoff: time.Millisecond}}))
	}
	work()

	waiting, err := c.List(ctx, chain.Filter{Statuses: []chain.Status{driver.Waiting}})
	check(err)
	for _, r := range waiting.Records {
		effects, err := c.Effects(ctx, r.ID)
		check(err)
		for _, e := range effects {
			fmt.Println(r.ID, r.Status, "-", e.Name, e.State) // e.Key is what to look for
		}
		_, err = c.Resolve(ctx, r.ID, "feed", true, []byte("ticket 7"))
		check(err)
	}
	work()
	// Output:
	//  effect "feed" of "contact-1": it is not known whether the effect happened
	// contact-1 waiting - feed open
	// ticket 7 <nil>
}

// A planned change: the other store is made the active one before the first is
// taken down, and the program hears of it as of every change.
func ExampleChain_SwitchTo() {
	ctx := context.Background()
	c, err := chain.Open(ctx, chain.Config{
		Name:   "calls",
		Links:  []chain.Link{{Name: "first", Driver: "memory"}, {Name: "second", Driver: "memory"}},
		Policy: chain.Policy{Failback: chain.FailbackManual}, // else the chain goes back by itself
	}, chain.WithEvents(func(e chain.Event) {
		if e, ok := e.(chain.Switched); ok {
			fmt.Printf("%s from %s to %s\n", chain.Code(e), e.From, e.To)
		}
	}))
	check(err)
	check(c.SwitchTo(ctx, "second"))
	fmt.Println(errors.Is(c.SwitchTo(ctx, "third"), driver.Invalid))
	check(c.Close(ctx)) // waits for the events
	// Unordered output:
	// true
	// switched from first to second
}

// The state of the chain, as a health endpoint gives it.
func ExampleChain_Status() {
	ctx := context.Background()
	c := openExample(ctx)
	defer c.Close(ctx)
	o := c.Status()
	fmt.Println(o.Condition, "protected:", o.Protected)
	for _, l := range o.Links {
		fmt.Println(l.Name, l.State)
	}
	text, err := json.Marshal(o.Epoch)
	check(err)
	fmt.Println(string(text))
	// Output:
	// serves protected: true
	// first active
	// second in sync
	// {"number":2,"version":1,"active":"first","state":"serving","in_sync":["second"]}
}

// A policy is checked as a whole; one that contradicts itself changes nothing.
func ExampleChain_SetPolicy() {
	ctx := context.Background()
	c := openExample(ctx)
	defer c.Close(ctx)
	p := c.Policy()
	p.Check.Interval = 5 * time.Second
	fmt.Println(c.SetPolicy(p))
	p.Timeout = 20 * time.Second
	fmt.Println(c.SetPolicy(p))
	fmt.Println(c.Policy().Timeout)
	// Output:
	// chain configuration: invalid: Policy.Check.Interval is 5s: 3 status checks (Policy.Check.Fall) take 3 × 5s = 15s, more than Policy.Timeout, 10s
	// <nil>
	// 20s
}

// What Open would refuse is found without a chain, and before any store is there.
func ExampleCheckLinks() {
	err := chain.CheckLinks(context.Background(), chain.Config{Name: "calls", Links: []chain.Link{
		{Name: "first", Driver: "memory"},
		{Name: "second", Driver: "memory", Config: json.RawMessage(`{"max_record": 5}`)},
	}})
	fmt.Println(err)
	// Output:
	// link "second": memory: configure: invalid: configuration: unknown key "max_record"; known keys: name, max_records, feed
}
