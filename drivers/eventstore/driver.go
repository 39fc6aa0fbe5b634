// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// Name is the name of the driver.
const Name = "eventstore"

// Version is the version of the driver.
const Version = "1"

// Driver returns the driver, to be registered or served. Its configuration has the
// form of [Config].
func Driver() driver.Driver {
	return driver.Driver{
		Name:    Name,
		Version: Version,
		Open: func(_ context.Context, req driver.OpenRequest) (driver.Store, error) {
			config, err := ParseConfig(req.Config)
			if err != nil {
				return nil, err
			}
			return Open(Options{Config: config, Chain: req.Chain, Logger: req.Logger})
		},
		Validate: func(section json.RawMessage) error {
			_, err := ParseConfig(section)
			return err
		},
	}
}

// Options is what [Open] makes a store of.
type Options struct {
	Config Config // by ParseConfig, or DefaultConfig with changes
	Chain  string
	Logger *slog.Logger // nil: none
	// Clock, Tidy and Slack are as in journal.Options.
	Clock journal.Clock
	Tidy  time.Duration
	Slack int
}

// Open makes a store and begins to follow the journal; it does not wait for the
// server. Errors: [driver.Invalid].
func Open(o Options) (*journal.Machine, error) {
	if err := o.Config.resolve(); err != nil {
		return nil, err
	}
	if err := driver.ValidateName("chain", o.Chain); err != nil {
		return nil, driver.In(err, Name, "open")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &o.Config
	l := newLog(c, c.StreamPrefix+o.Chain, o.Logger)
	return journal.Open(journal.Options{
		Log:    l,
		Logger: o.Logger,
		Clock:  o.Clock,
		Describe: driver.DescribeResponse{
			Driver: Name, Version: Version, Contract: driver.Contract,
			Capabilities: []driver.Capability{driver.CapChanges, driver.CapDurable, driver.CapShared},
			Protection:   c.protection(),
			Details:      map[string]string{"stream": l.stream, "hosts": strings.Join(c.Hosts, ",")},
		},
		MaxRecords: c.MaxRecords,
		Feed:       c.Feed,
		Tidy:       o.Tidy,
		Slack:      o.Slack,
	}), nil
}
