// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
	_ "github.com/understudy-dev/understudy/drivers/all" // or the drivers needed
)

// A chain of two memory stores, linked into the program. With Link.Plugin instead
// of Link.Driver each runs in a process of its own.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if err := archiveOne(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	// Output:
	// verified call.wav
	// archived call.wav
	// succeeded: archive/call.wav
}

func archiveOne(ctx context.Context) error {
	c, err := chain.Open(ctx, chain.Config{Name: "recordings", Links: []chain.Link{
		{Name: "first", Driver: "memory"},
		{Name: "second", Driver: "memory"},
	}})
	if err != nil {
		return err
	}
	defer c.Close(ctx)

	if _, err := c.Start(ctx, chain.Workflow{ID: "1772442900.17", Kind: "recording", Input: []byte("call.wav")}); err != nil {
		return err
	}
	working, done := context.WithCancel(ctx)
	err = c.Work(working, "recording", func(ctx context.Context, h *chain.Handle) ([]byte, error) {
		if h.Step() == "" { // else another worker came as far as the save point
			fmt.Printf("verified %s\n", h.Input())
			if err := h.Save(ctx, "verified", nil); err != nil {
				return nil, err
			}
		}
		fmt.Printf("archived %s\n", h.Input())
		done()
		return []byte("archive/" + string(h.Input())), nil
	}, chain.WorkOptions{})
	if err != nil {
		return err
	}
	r, err := c.Get(ctx, "1772442900.17")
	if err == nil && r.Status == driver.Succeeded {
		fmt.Printf("%s: %s\n", r.Status, r.Output)
	}
	return err
}
