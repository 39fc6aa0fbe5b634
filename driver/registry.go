// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Driver is the code for one product: how to check a configuration and how to
// open a store.
type Driver struct {
	// Name is the product in lower case, a valid link name: "redis".
	Name string
	// Version of the driver, for people.
	Version string
	// Open makes a store. It checks the configuration ([Invalid]) but does not
	// wait for the product: a store whose product cannot be reached opens, answers
	// [Unavailable], and serves by itself once the product is back. It returns
	// within ctx; the store lives on when ctx ends.
	Open func(ctx context.Context, req OpenRequest) (Store, error)
	// Validate checks a configuration without opening anything: nil, or an
	// [Invalid] error that names every wrong key and the form expected.
	Validate func(config json.RawMessage) error
}

// Check returns what is missing from d for it to be linked or served, as an
// [Invalid] error: a name that can be one, Open, or Validate; nil if nothing is.
func (d Driver) Check() error {
	if err := ValidateName("driver", d.Name); err != nil {
		return err
	}
	if d.Open == nil || d.Validate == nil {
		return invalid("driver %q: Open and Validate must be set", d.Name)
	}
	return nil
}

// OpenRequest is what a driver opens a store with.
type OpenRequest struct {
	Chain string // name of the chain; stores of different chains share nothing
	Link  string // name of the link, for log lines
	// Config is the driver's own section of the configuration, as JSON; empty means
	// all defaults. It may hold secrets.
	Config json.RawMessage
	// Logger takes the driver's log lines. Never nil.
	Logger *slog.Logger
}

var registry = struct {
	sync.Mutex
	drivers map[string]Driver
}{drivers: map[string]Driver{}}

// Register makes d known by its name, to be linked into a program. It is called
// by the init functions of drivers/all; it panics if d is incomplete or its name
// is taken, since that is a fault of the build. Safe for concurrent use.
func Register(d Driver) {
	if err := d.Check(); err != nil {
		panic(err)
	}
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.drivers[d.Name]; taken {
		panic(fmt.Sprintf("driver %q is registered twice", d.Name))
	}
	registry.drivers[d.Name] = d
}

// Names returns the names of the linked drivers, sorted.
func Names() []string {
	registry.Lock()
	defer registry.Unlock()
	return slices.Sorted(maps.Keys(registry.drivers))
}

// Lookup returns the linked driver called name. The error is [Unsupported], and
// says which drivers are linked and how to get the one asked for.
func Lookup(name string) (Driver, error) {
	registry.Lock()
	d, ok := registry.drivers[name]
	registry.Unlock()
	if ok {
		return d, nil
	}
	linked := "none"
	if names := Names(); len(names) > 0 {
		linked = strings.Join(names, ", ")
	}
	return Driver{}, &Error{Class: Unsupported, Op: "look up driver", Detail: fmt.Sprintf(
		"%q is not linked into this program (linked: %s): build without the tag custom or with -tags custom,drivers.%s, "+
			"or run it as a plugin binary, understudy-%s", name, linked, name, name)}
}
