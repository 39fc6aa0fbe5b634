// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/understudy-dev/understudy/chain"
)

// openExample opens a chain of two memory stores.
func openExample(ctx context.Context) *chain.Chain {
	c, err := chain.Open(ctx, chain.Config{Name: "calls", Links: []chain.Link{
		{Name: "first", Driver: "memory"},
		{Name: "second", Driver: "memory"},
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return c
}

func ExampleChain_StartBatch() {
	ctx := context.Background()
	c := openExample(ctx)
	defer c.Close(ctx)
	for _, s := range c.StartBatch(ctx, []chain.Workflow{
		{ID: "1772442900.17", Kind: "recording", Input: []byte("17.wav")},
		{ID: "1772442900.18", Kind: "recording", Input: []byte("18.wav")},
		{ID: "", Kind: "recording"},
	}) {
		if s.Err != nil {
			fmt.Println("not started:", s.Err)
			continue
		}
		fmt.Println(s.Record.ID, s.Record.Status)
	}
	// Output:
	// 1772442900.17 ready
	// 1772442900.18 ready
	// not started: calls: start "": invalid: id is empty: want 1–256 bytes
}

// A contact is handed to a dialer, which must not get it twice. The first attempt
// ends without an answer; the second one asks the dialer before it does anything.
func ExampleHandle_Once() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	c := openExample(ctx)
	defer c.Close(ctx)
	tickets := map[string]string{} // the dialer
	feed := func(_ context.Context, key string) ([]byte, error) {
		tickets[key] = "ticket 1"
		fmt.Println("fed")
		return nil, fmt.Errorf("no answer from the dialer")
	}
	lookup := func(_ context.Context, key string) (bool, []byte, error) {
		ticket, ok := tickets[key]
		fmt.Println("asked")
		return ok, []byte(ticket), nil
	}
	if _, err := c.Start(ctx, chain.Workflow{ID: "contact-1", Kind: "contact"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	working, done := context.WithCancel(ctx)
	err := c.Work(working, "contact", func(ctx context.Context, h *chain.Handle) ([]byte, error) {
		ticket, err := h.Once(ctx, "feed", feed, lookup)
		if err != nil {
			return nil, err // the next attempt goes on from here
		}
		fmt.Printf("%s\n", ticket)
		done()
		return ticket, nil
	}, chain.WorkOptions{Retry: chain.RetryPolicy{Backoff: time.Millisecond}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	// Output:
	// fed
	// asked
	// ticket 1
}

// A reader that keeps the cursor of what it has dealt with goes on from there,
// after a restart and on any host.
func ExampleChain_Watch() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	c := openExample(ctx)
	defer c.Close(ctx)
	enough := errors.New("enough")
	var cursor string
	err := c.Watch(ctx, chain.WatchFilter{Kinds: []string{"recording"}}, func(b chain.Changes) error {
		if cursor == "" { // the first batch: from here on nothing is missed
			if _, err := c.Start(ctx, chain.Workflow{ID: "1772442900.17", Kind: "recording"}); err != nil {
				return err
			}
		}
		cursor = b.Cursor
		for _, change := range b.Changes {
			fmt.Println(change.ID, change.Revision, change.Status)
			return enough
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 1772442900.17 1 ready
	// enough
}

// An operator asks what would happen before taking a store down, and keeps this
// host from reacting.
func ExampleChain_DryRun() {
	ctx := context.Background()
	c := openExample(ctx)
	defer c.Close(ctx)
	f := c.DryRun(ctx)
	fmt.Printf("%s would be followed by %q, protected: %t\n", f.Active, f.Target, f.Protected)
	c.Freeze("upgrade of the first store")
	o := c.Status()
	fmt.Println(o.Epoch.Active, o.Condition, o.Frozen.Reason)
	c.Thaw()
	// Output:
	// first would be followed by "second", protected: false
	// first serves upgrade of the first store
}
