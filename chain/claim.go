// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// nextDue is when a store has more to claim, by its own clock.
type nextDue struct {
	link *link
	at   time.Time
}

// claim leases due records, and returns them once they are leased in every
// standby of the in-sync set too, so that the leases survive a failover.
func (c *Chain) claim(ctx context.Context, req driver.ClaimRequest) ([]driver.Record, nextDue, error) {
	req.Token = driver.NewToken()
	resp, v, err := onActive(ctx, c, opClaim, "claim", nil, func(ctx context.Context, v *view) (driver.ClaimResponse, error) {
		req := req
		req.Epoch = v.epoch.Number
		return v.active.claim(ctx, req)
	})
	if err != nil {
		return nil, nextDue{}, err
	}
	records := resp.Records
	err = c.mirror(v, records)
	for err == errMoved { //nolint:errorlint // it is never wrapped
		records, err = c.carry(ctx, records, req.Token)
	}
	if err != nil {
		return nil, nextDue{}, err // they would not survive a failover: the leases run out
	}
	return records, nextDue{v.active, resp.Next}, nil
}

// carry brings records, claimed under a token in an epoch that is over, into the
// present one and returns those whose leases hold there. It decides nothing:
// whatever the store holds that is newer stays.
func (c *Chain) carry(ctx context.Context, records []driver.Record, token driver.Token) ([]driver.Record, error) {
	if len(records) == 0 {
		return nil, nil
	}
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].ID
	}
	held, v, err := onActive(ctx, c, opClaim, "carry over", nil, func(ctx context.Context, v *view) ([]driver.Record, error) {
		if _, err := v.active.merge(ctx, v.epoch.Number, records); err != nil {
			return nil, err
		}
		return v.active.get(ctx, ids...)
	})
	if err != nil {
		return nil, err
	}
	held = slices.DeleteFunc(held, func(r driver.Record) bool { return r.Status != driver.Leased || r.Token != token })
	return held, c.mirror(v, held)
}
