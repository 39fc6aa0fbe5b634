// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// Name is the name of the driver.
const Name = "memory"

// Version is the version of the driver.
const Version = "1"

// Driver returns the driver. Its configuration has the form of [Config].
func Driver() driver.Driver {
	return driver.Driver{Name: Name, Version: Version, Open: open, Validate: validate}
}

// Config is the configuration of a store. The zero value is valid.
type Config struct {
	// Name of the data. Stores of one name and chain in one process share them, and
	// find them again after a Close, until [Forget]. Empty: the store's own, which
	// end with it.
	Name string `json:"name"`
	// MaxRecords is how many records the store takes before it answers Full; 0: as
	// many as fit into the memory. Concurrent calls may exceed it by what is under way.
	MaxRecords int `json:"max_records"`
	// Feed is how many changes the change feed reaches back; 0: 131072. A cursor that
	// is older is lost.
	Feed int `json:"feed"`
}

// decode decodes and checks a configuration.
func decode(config json.RawMessage) (Config, error) {
	var c Config
	if err := driver.DecodeConfig(config, &c); err != nil {
		return Config{}, driver.In(err, Name, "configure")
	}
	var err error
	switch {
	case c.Name != "":
		err = driver.ValidateName("name", c.Name)
	case c.MaxRecords < 0:
		err = negative("max_records", c.MaxRecords)
	case c.Feed < 0:
		err = negative("feed", c.Feed)
	}
	return c, driver.In(err, Name, "configure")
}

func negative(key string, value int) error {
	return &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf("%s is %d: want 0 or more", key, value)}
}

func validate(config json.RawMessage) error {
	_, err := decode(config)
	return err
}

func open(ctx context.Context, req driver.OpenRequest) (driver.Store, error) {
	c, err := decode(req.Config)
	if err != nil {
		return nil, err
	}
	if err := driver.ValidateName("chain", req.Chain); err != nil {
		return nil, driver.In(err, Name, "open")
	}
	return Open(ctx, Options{Config: c, Chain: req.Chain, Logger: req.Logger})
}

// Options is what [Open] makes a store of.
type Options struct {
	Config
	Chain  string
	Logger *slog.Logger  // nil: none
	Clock  journal.Clock // nil: the system's
	// Tidy is as in journal.Options.
	Tidy time.Duration
	// Slack is as in journal.Options.
	Slack int
}

// Open opens a store and waits within ctx until it has applied what is there.
func Open(ctx context.Context, o Options) (*journal.Machine, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	capabilities := []driver.Capability{driver.CapChanges}
	if o.Name != "" {
		capabilities = append(capabilities, driver.CapShared)
	}
	m := journal.Open(journal.Options{
		Log:    log{find(o.Chain, o.Name)},
		Logger: logger,
		Clock:  o.Clock,
		Describe: driver.DescribeResponse{
			Driver: Name, Version: Version, Contract: driver.Contract,
			Capabilities: capabilities,
			Protection:   driver.Local,
			Details:      map[string]string{"name": o.Name},
		},
		MaxRecords: o.MaxRecords,
		Feed:       o.Feed,
		Tidy:       o.Tidy,
		Slack:      o.Slack,
	})
	if err := m.Ready(ctx); err != nil {
		_ = m.Close(ctx) // nothing is under way yet
		return nil, err
	}
	return m, nil
}

// named holds the data that stores share.
var named = struct {
	sync.Mutex
	data map[[2]string]*data
}{data: map[[2]string]*data{}}

// find returns the data of a chain and name.
func find(chain, name string) *data {
	if name == "" {
		return newData()
	}
	named.Lock()
	defer named.Unlock()
	key := [2]string{chain, name}
	d := named.data[key]
	if d == nil {
		d = newData()
		named.data[key] = d
	}
	return d
}

// Forget lets go of the data of a chain and name. Stores that are open keep what
// they have; those opened later begin empty.
func Forget(chain, name string) {
	named.Lock()
	defer named.Unlock()
	delete(named.data, [2]string{chain, name})
}
