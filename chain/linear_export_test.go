// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Take claims one workflow of a kind, as a pool does, and returns its handle; nil
// if nothing can be claimed. Nobody extends the lease.
func (c *Chain) Take(ctx context.Context, kind string, lease time.Duration) (*Handle, error) {
	got, err := c.claim(ctx, driver.ClaimRequest{Owner: c.config.Host, Token: driver.NewToken(), Kinds: []string{kind}, Limit: 1, Lease: lease})
	if err != nil || len(got.records) == 0 {
		return nil, err
	}
	h := c.newHandle(got.records[0], got.since, lease, func(error) {})
	h.expiry.Stop()
	return h, nil
}

// Succeed ends the workflow, as a pool does when its handler has returned.
func (h *Handle) Succeed(ctx context.Context, output []byte) error {
	return h.apply(ctx, driver.VerbSucceed, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		return driver.Succeed(s, r, output, time.Time{})
	})
}

// Fail ends the workflow for good, as a pool does when its handler has failed.
func (h *Handle) Fail(ctx context.Context) error {
	return h.apply(ctx, driver.VerbFail, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		return driver.Fail(s, r, driver.Failure{Reason: "test"})
	})
}
