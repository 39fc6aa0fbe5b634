// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// ErrClosed is what calls on a closed chain return, wrapped in a
// driver.Unavailable or, for a mutation that was under way, driver.Unknown
// error.
var ErrClosed = errors.New("the chain is closed")

// errMoved says that a call was under way in an epoch that is over. It never
// reaches callers.
var errMoved = errors.New("the chain has moved to another epoch")

// permanent marks an error after which there is no further attempt.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent returns err so marked that a [Handler] which returns it ends the
// workflow as failed at once, whatever the retry policy says. It returns nil for
// nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// missing is the error of a call without a function that it needs.
func missing(name string) error {
	return &driver.Error{Class: driver.Invalid, Detail: name + " is nil: want a function"}
}

// causes joins errors in one line.
type causes []error

func (c causes) Error() string {
	texts := make([]string, len(c))
	for i, err := range c {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (c causes) Unwrap() []error { return c }

// enter counts a call in, which leaves by c.inFlight.Add(-1). The error is
// driver.Unavailable if there are too many already and it is not exempt: what
// workers do is, as their number is limited, and leases must not be lost; and so is
// what brings links back, which the others may wait for.
func (c *Chain) enter(exempt bool, op string, ids ...string) error {
	limit := c.policy().MaxWaiting
	if n := c.inFlight.Add(1); exempt || n <= int64(limit) {
		return nil
	}
	c.inFlight.Add(-1)
	e := &driver.Error{Class: driver.Unavailable, Store: c.config.Name, Op: op, IDs: ids,
		Detail: fmt.Sprintf("%d calls wait already (Policy.MaxWaiting): nothing was done; try again later", limit)}
	if failures := c.failures(); len(failures) > 0 {
		e.Cause = failures
	}
	return e
}

// failures returns the last failure of every link, while the chain is in trouble.
func (c *Chain) failures() (all causes) {
	if !c.troubled() {
		return nil
	}
	for _, l := range c.links {
		if latest := l.evidence(); latest != nil {
			all = append(all, latest)
		}
	}
	return all
}

// ended returns the error of a call that ends because ctx is done, or because
// the chain is closed: the reason, joined with the last failure of every link
// while the chain is in trouble. The class is Unknown if the call may have had
// an effect, else Unavailable.
func (c *Chain) ended(ctx context.Context, op string, mayHaveEffect bool, ids ...string) error {
	e := &driver.Error{Class: driver.Unavailable, Store: c.config.Name, Op: op, IDs: ids, Detail: "gave up waiting"}
	if mayHaveEffect {
		e.Class = driver.Unknown
	}
	reason := context.Cause(ctx)
	if c.ctx.Err() != nil {
		reason = ErrClosed
	}
	e.Cause = append(causes{reason}, c.failures()...)
	return e
}
