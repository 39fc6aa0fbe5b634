// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// Spec says which plugin to run, and how.
type Spec struct {
	// Path of the plugin's binary. Neither it nor its folder may be writable by
	// others than its owner.
	Path string
	// Args are its arguments. Secrets do not belong here: see Config.
	Args []string
	// SHA256 is the checksum that the binary must have, in hexadecimal digits.
	// Empty: any.
	SHA256 string

	// Driver is the name of the driver that the plugin must have. Empty: any.
	Driver string
	// Chain and Link are the names that the store is opened with.
	Chain, Link string
	// Config is the driver's section of the configuration, as JSON. It may hold
	// secrets, and reaches the plugin over the mutually authenticated connection
	// only.
	Config json.RawMessage

	// Logger takes the lines of the plugin and those about it, named by driver and
	// link. Nil: none are written.
	Logger *zap.Logger
	// OnStatus is called with each new status, one at a time and in order. It must
	// return soon, since the plugin is not looked after meanwhile, and must not close
	// the store. May be nil.
	OnStatus func(Status)

	// Patient makes Launch return the store also when the plugin could not be
	// started for a reason that may pass.
	Patient bool

	// StartTimeout bounds the start of a process, from the check of the binary until
	// its store is open. Zero: 10 s, and for the first start, if the context of Launch
	// or Validate has a deadline, that deadline in its place.
	StartTimeout time.Duration
	// WaitTimeout is how long a call waits for a process while there is none.
	// Zero: 1 s.
	WaitTimeout time.Duration
	// PingInterval is how often a process is asked whether it is alive. Zero: 1 s.
	PingInterval time.Duration
	// PingTimeout is how long it may take to answer; a process that leaves two pings
	// in a row unanswered is replaced. Zero: 1 s.
	PingTimeout time.Duration
	// StopTimeout is how long a process may take to end by itself before it is
	// killed. Zero: 2 s.
	StopTimeout time.Duration
}

// Defaults of [Spec].
const (
	DefaultStartTimeout = 10 * time.Second
	DefaultWaitTimeout  = time.Second
	DefaultPingInterval = time.Second
	DefaultPingTimeout  = time.Second
	DefaultStopTimeout  = 2 * time.Second
)

// complete returns s with its defaults, or all that is wrong with it.
func (s Spec) complete() (Spec, error) {
	var wrong []string
	if s.Path == "" {
		wrong = append(wrong, "path is empty: want that of the plugin's binary")
	}
	if sum, err := hex.DecodeString(s.SHA256); err != nil || len(sum) != 0 && len(sum) != 32 {
		wrong = append(wrong, fmt.Sprintf("sha256 %q: want 64 hexadecimal digits", s.SHA256))
	}
	for _, name := range [...]struct{ what, name string }{{"chain", s.Chain}, {"link", s.Link}, {"driver", s.Driver}} {
		if name.what == "driver" && name.name == "" {
			continue
		}
		if e, bad := errors.AsType[*driver.Error](driver.ValidateName(name.what, name.name)); bad {
			wrong = append(wrong, e.Detail)
		}
	}
	for _, d := range [...]struct {
		name    string
		value   *time.Duration
		initial time.Duration
	}{
		{"start timeout", &s.StartTimeout, DefaultStartTimeout},
		{"wait timeout", &s.WaitTimeout, DefaultWaitTimeout},
		{"ping interval", &s.PingInterval, DefaultPingInterval},
		{"ping timeout", &s.PingTimeout, DefaultPingTimeout},
		{"stop timeout", &s.StopTimeout, DefaultStopTimeout},
	} {
		if *d.value < 0 {
			wrong = append(wrong, fmt.Sprintf("%s is %s: want more than 0, or 0 for %s", d.name, *d.value, d.initial))
		}
		if *d.value == 0 {
			*d.value = d.initial
		}
	}
	if s.Logger == nil {
		s.Logger = zap.NewNop()
	}
	s.Args, s.Config = slices.Clone(s.Args), slices.Clone(s.Config)
	s.Logger = s.Logger.With(zap.String("driver", s.driverName()), zap.String("link", s.Link))
	if len(wrong) > 0 {
		return s, refused("%s", strings.Join(wrong, "; "))
	}
	return s, nil
}

// firstStart returns how long the first start of a process may take, of a spec that
// is not complete yet.
func (s *Spec) firstStart(ctx context.Context) time.Duration {
	if s.StartTimeout != 0 {
		return s.StartTimeout
	}
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return DefaultStartTimeout
}

// driverName returns what the driver is called before it can be asked.
func (s *Spec) driverName() string {
	if s.Driver != "" {
		return s.Driver
	}
	return strings.TrimPrefix(filepath.Base(s.Path), "understudy-")
}
