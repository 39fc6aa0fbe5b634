// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// T is what the suite and the functions of a [Harness] need of a test.
// *testing.T, *testing.B and *rapid.T are such, and so is the T of a case that
// [Check] runs. It satisfies require.TestingT.
type T interface {
	Name() string
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	FailNow()
	// Cleanup adds a function to be called at the end, the last one first.
	Cleanup(f func())
	// Context is done at the end, before the cleanups, or when the time is up.
	Context() context.Context
}

// Harness says how to get at the stores of one driver and what it declares. The
// zero value of each field but Open is valid. Its functions are called from many
// goroutines at once.
type Harness struct {
	// Open opens a store on the data of the chain, as driver.Driver.Open does.
	// Each case makes up a chain of its own, which must be empty when it is first
	// opened. Further calls with the same chain open the same data once more: while
	// a store of it is open ([driver.CapShared], else the answer is Unsupported),
	// or after it was closed or killed. The caller closes the store; what else has
	// to be cleared away (files, processes) is given to t.Cleanup.
	Open func(t T, chain string) (driver.Store, error)

	// Capabilities is what the driver is expected to declare. What stands here has
	// to work; what does not must be refused as Unsupported; the driver's own
	// declaration has to be the same.
	Capabilities []driver.Capability

	// Kill ends the process that serves the store, without a Close and without
	// warning. It is needed for [driver.CapDurable].
	Kill func(t T, store driver.Store)

	// Chain says that each store is a whole chain of stores, seen as one: what
	// goes through it takes the ways of the calls of applications and workers. A
	// chain makes epochs itself and shows neither these nor marks, so it has no
	// Advance and no Probe, its Epoch tells the time only, records come and go
	// without an epoch, and Merge is only there to bring records in. Its feeds do
	// not end. Cases about these are left out.
	Chain bool

	// Failovers says that links of the chains fail while the cases run. A call that
	// is under way then may have been done by the link that fails, and is overtaken
	// by another one of the same revision: calls at the same time may see it, and a
	// feed may tell it before the one that counts. It needs Chain.
	Failovers bool

	// Advance moves the clock of the stores of the chain forward. Nil: the cases
	// use short leases and wait for real.
	Advance func(t T, chain string, by time.Duration)

	// DropChanges makes the store forget the changes so far, as it would in the
	// course of time, so that cursors taken before are lost. Nil: the driver's feed
	// reaches back for ever, or there is no way to make it forget.
	DropChanges func(t T, chain string)

	// Freeze makes the product behind the stores of the chain stop answering without
	// ending a connection, as a stopped process or a network that swallows packets
	// does, until thaw is called. Other chains must not be disturbed, since cases run
	// at once: a proxy between each chain and the product does. Nil: the product
	// cannot be frozen, or there is none.
	Freeze func(t T, chain string) (thaw func())

	// Excuse names cases that this driver is known to fail, each with the reason:
	// "Claim/OrdersByDueTime": "…". A name that is no case is an error.
	Excuse map[string]string

	// Timeout is how long a case may take; 0 means 30 s. Waits for a condition give
	// up after a third of it.
	Timeout time.Duration
}

// Linked returns an Open function for a driver in this process. config gives the
// driver's section of the configuration for a chain; nil: empty.
func Linked(d driver.Driver, config func(chain string) json.RawMessage) func(T, string) (driver.Store, error) {
	return func(t T, chain string) (driver.Store, error) {
		req := driver.OpenRequest{Chain: chain, Link: d.Name, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
		if config != nil {
			req.Config = config(chain)
		}
		return d.Open(t.Context(), req)
	}
}

// Validate reports what is wrong with h: no Open, an excuse for a case that does
// not exist or without a reason, an unknown capability.
func (h Harness) Validate() error {
	var faults []error
	if h.Open == nil {
		faults = append(faults, errors.New("harness: Open is nil: want a function that opens a store"))
	}
	if h.Timeout < 0 {
		faults = append(faults, fmt.Errorf("harness: Timeout is %s: want 0 or more", h.Timeout))
	}
	if h.Failovers && !h.Chain {
		faults = append(faults, errors.New("harness: Failovers without Chain: only chains fail over"))
	}
	for _, c := range h.Capabilities {
		if !slices.Contains(driver.Capabilities(), c) {
			faults = append(faults, fmt.Errorf("harness: unknown capability %q: want any of %q", c, driver.Capabilities()))
		}
	}
	known := make(map[string]bool)
	for _, c := range Cases() {
		known[c.FullName()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(h.Excuse)) {
		switch {
		case !known[name]:
			faults = append(faults, fmt.Errorf("harness: excuse for %q: there is no such case", name))
		case strings.TrimSpace(h.Excuse[name]) == "":
			faults = append(faults, fmt.Errorf("harness: excuse for %q has no reason", name))
		}
	}
	return errors.Join(faults...)
}

// Has reports whether h declares c.
func (h Harness) Has(c driver.Capability) bool { return slices.Contains(h.Capabilities, c) }

func (h Harness) timeout() time.Duration {
	if h.Timeout == 0 {
		return 30 * time.Second
	}
	return h.Timeout
}

// span is how long the short leases of the cases are.
func (h Harness) span() time.Duration {
	if h.Advance != nil {
		return time.Minute
	}
	return 250 * time.Millisecond
}

// excuse returns why c is not run, or "".
func (h Harness) excuse(c Case) string {
	if reason := h.Excuse[c.FullName()]; reason != "" {
		return reason
	}
	for _, need := range c.Needs {
		if !h.Has(need) {
			return fmt.Sprintf("the harness does not declare the capability %q", need)
		}
	}
	if c.needsDrop && h.DropChanges == nil {
		return "the harness has no DropChanges"
	}
	if c.needsFreeze && h.Freeze == nil {
		return "the harness has no Freeze"
	}
	if h.Chain {
		return notOfChains(c)
	}
	return ""
}
