// SPDX-License-Identifier: Apache-2.0

// Package process gives a contracttest.Harness its way to a driver through the
// process of a plugin, as hosts use it. It is for authors of drivers:
//
//	plugin := process.Plugin{Path: "./my-driver"}
//	contracttest.Run(t, contracttest.Harness{Open: plugin.Open, Kill: process.Kill})
package process

import (
	"context"
	"encoding/json"
	"syscall"
	"time"

	"go.uber.org/zap"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

// Plugin is a plugin binary whose driver is checked.
type Plugin struct {
	Path string // of the binary
	// Config gives the driver's section of the configuration for a chain, as JSON.
	// Nil: empty.
	Config func(chain string) json.RawMessage
	// Logger takes the lines of the plugin. Nil: none are written.
	Logger *zap.Logger
}

// Both are longer than a host would wait: many cases start processes at once, and
// make thousands of calls.
const (
	startTimeout = time.Minute
	pingTimeout  = 10 * time.Second
)

// Open is for Harness.Open: each store has a process of its own.
func (p Plugin) Open(t contracttest.T, chain string) (driver.Store, error) {
	return p.Launch(t.Context(), chain)
}

// Launch starts a process with a store on the data of the chain. The errors are
// those of plugins.Launch.
func (p Plugin) Launch(ctx context.Context, chain string) (driver.Store, error) {
	spec := plugins.Spec{Path: p.Path, Chain: chain, Link: "contract", Logger: p.Logger, StartTimeout: startTimeout, PingTimeout: pingTimeout}
	if p.Config != nil {
		spec.Config = p.Config(chain)
	}
	store, err := plugins.Launch(ctx, spec)
	if err != nil {
		return nil, err // and not a nil *plugins.Store in a driver.Store
	}
	return store, nil
}

// Kill is for Harness.Kill: it ends the process of a store without warning, and
// keeps another from being started in its place.
func Kill(t contracttest.T, store driver.Store) {
	t.Helper()
	launched, ok := store.(*plugins.Store)
	if !ok {
		t.Errorf("kill: %T is not a store in a process", store)
		t.FailNow()
	}
	if pid := launched.Status().PID; pid > 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("kill process %d of the store: %v", pid, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
	defer cancel()
	_ = launched.Close(ctx) // there may be nothing left that could be closed in order
}
