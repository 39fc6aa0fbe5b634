// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
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
	joined := causes{reason}
	if c.troubled() {
		for _, l := range c.links {
			if latest := l.evidence(); latest != nil {
				joined = append(joined, latest)
			}
		}
	}
	e.Cause = joined
	return e
}
