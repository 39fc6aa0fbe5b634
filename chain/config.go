// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/understudy-dev/understudy/driver"
)

// Config describes a chain. All hosts that work on one chain use the same name
// and the same links in the same order.
type Config struct {
	// Name of the chain; stores of different chains share nothing. Required.
	Name string
	// Host names this instance in leases; it must be unique among the instances of
	// the chain: at most 256 bytes of printable UTF-8. Empty: host name, process id
	// and a random part.
	Host string
	// Links in order of preference, 1–16.
	Links []Link
	// Policy of retries and failover; zero fields mean the defaults.
	Policy Policy
	// AllowWeaker names the links that may be less protected than the first one.
	// Without it such a chain is refused, since a failover would weaken the
	// protection of the data unnoticed.
	AllowWeaker []string
	// Retention is how long stores keep finished workflows, and so how long their
	// ids stay taken. Zero: 7 days. Negative: for ever. It has to be longer than a
	// link takes to come back by a resync, or that link may keep, unfinished, what
	// was finished and forgotten within that time.
	Retention time.Duration
	// StartDegraded lets [Open] succeed while no epoch can be found, because links
	// do not answer: calls then wait, as when all links are down, until one is
	// found. It also lets Open succeed without a driver that cannot be started, hangs,
	// or does not say what it is within Policy.Timeout, such as a plugin that crashes
	// again and again: its link counts as down and is tried again, and is like any
	// other that comes back once its driver has said what it is. What another attempt
	// would not mend is refused all the same: a plugin that does not exist or must not
	// be executed, is no plugin, has another checksum or another version of the
	// contract, and whatever the driver says of its configuration. Should that only
	// show later, the link stays down, the log says why, and it is tried again. Until
	// the first link has said what it is, the others need only not be in plain text.
	//
	// Without it Open fails with driver.Unavailable.
	StartDegraded bool
	// ReportDir is the folder for the reports of what a returning link held that
	// the chain has since decided otherwise: a file for each resync that found any.
	// It must exist, and [Open] refuses one that it cannot write to, since a link whose
	// report cannot be written stays out. Empty: such records are told in events and the
	// log only.
	ReportDir string
}

// Link is one place in the chain. Exactly one of Plugin, Driver and Store says
// where its store comes from.
type Link struct {
	// Name of the link: 1–64 of a–z, 0–9, '-', '_', '.'. It stands in the epoch
	// record, so it must not change during the life of the data. Required.
	Name string
	// Plugin is the path of a plugin binary, run in a subprocess.
	Plugin string
	// Args are the arguments of a Plugin, such as "plugin" and "redis" for the
	// program understudy. Secrets belong into Config.
	Args []string
	// SHA256 pins the binary of a Plugin, in hexadecimal; empty: not pinned.
	SHA256 string
	// Driver is the name of a driver linked into this program.
	Driver string
	// Store is a ready-made store. It stays the caller's: [Chain.Close] does not
	// close it.
	Store driver.Store
	// Config is the driver's own section, for Plugin and Driver.
	Config json.RawMessage
}

const defaultRetention = 7 * 24 * time.Hour

// WithDefaults returns c with the defaults in the place of zero fields. [Open]
// does so itself.
func (c Config) WithDefaults() Config {
	c.Policy = c.Policy.WithDefaults()
	c.Retention = cmp.Or(c.Retention, defaultRetention)
	c.Links = slices.Clone(c.Links)
	return c
}

// Validate returns every problem of c, joined, each a driver.Invalid that begins
// with the name of its field; nil if there is none. It opens nothing, and [Open]
// does it itself.
func (c Config) Validate() error {
	c = c.WithDefaults()
	return c.validate()
}

func (c *Config) validate() error {
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf(format, args...)})
	}
	if err := driver.ValidateName("Name", c.Name); err != nil {
		problems = append(problems, err)
	}
	if len(c.Host) > driver.MaxOwnerBytes || !utf8.ValidString(c.Host) || strings.ContainsFunc(c.Host, func(r rune) bool { return !unicode.IsPrint(r) }) {
		bad("Host %.80q: want at most %d bytes of printable UTF-8", c.Host, driver.MaxOwnerBytes)
	}
	if n := len(c.Links); n < 1 || n > driver.MaxLinks {
		bad("Links has %d entries: want 1–%d", n, driver.MaxLinks)
	}
	names := make([]string, 0, len(c.Links))
	for i := range c.Links {
		l := &c.Links[i]
		if err := driver.ValidateName(fmt.Sprintf("Links[%d].Name", i), l.Name); err != nil {
			problems = append(problems, err)
		}
		if slices.Contains(names, l.Name) {
			bad("Links[%d].Name %q is taken by another link", i, l.Name)
		}
		names = append(names, l.Name)
		if sources := l.sources(); sources != 1 {
			bad("Links[%d] %q has %d of Plugin, Driver and Store: want exactly one", i, l.Name, sources)
		}
		if l.Plugin == "" && (l.SHA256 != "" || len(l.Args) > 0) {
			bad("Links[%d] %q has SHA256 or Args, which only a Plugin has", i, l.Name)
		}
		if l.Store != nil && len(l.Config) > 0 {
			bad("Links[%d] %q has a Config, which a ready-made Store does not take", i, l.Name)
		}
	}
	for _, name := range c.AllowWeaker {
		if !slices.Contains(names, name) {
			bad("AllowWeaker names %q, which is no link; links: %q", name, names)
		}
	}
	c.Policy.validate(len(c.Links), bad)
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("chain configuration: %w", err)
	}
	return nil
}

func (l *Link) sources() int {
	n := 0
	for _, set := range [...]bool{l.Plugin != "", l.Driver != "", l.Store != nil} {
		if set {
			n++
		}
	}
	return n
}
