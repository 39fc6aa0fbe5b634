// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// nextDue is when a store has more to claim, by its own clock.
type nextDue struct {
	link *link
	at   time.Time
}

// claimed is what a claim has leased.
type claimed struct {
	records []driver.Record
	since   time.Time // the leases cannot have begun before
	next    nextDue
}

// claim leases due records, and returns them once they are leased in every
// standby of the in-sync set too, so that the leases survive a failover.
func (c *Chain) claim(ctx context.Context, req driver.ClaimRequest) (claimed, error) {
	own := reserved(req.Kinds[0]) // pools claim one kind
	if !own && c.awaitProtection(ctx) != nil {
		return claimed{}, c.ended(ctx, "claim", false)
	}
	var sent firstCall
	resp, v, err := onActive(ctx, c, opClaim, "claim", nil, func(ctx context.Context, v *view) (driver.ClaimResponse, error) {
		req := req
		req.Epoch = v.epoch.Number
		at := sent.begin()
		resp, err := v.active.claim(ctx, req)
		sent.end(at, err)
		return resp, err
	})
	if err != nil {
		return claimed{}, err
	}
	records := resp.Records
	mine := func(r *driver.Record) bool { return r.Status == driver.Leased && r.Token == req.Token }
	at := v // in which the records are in the active link
	for err = c.mirror(v, records); ; records, err = c.carry(ctx, records, v.epoch.Number+onwards, mine) {
		moved := err == errMoved //nolint:errorlint // it is never wrapped
		if !moved && err != nil {
			return claimed{}, err // they would not survive a failover: the leases run out
		}
		if !moved && (len(records) == 0 || own || c.protected(c.view.Load())) && c.rememberAll(at, records) {
			return claimed{records, sent.at(), nextDue{v.active, resp.Next}}, nil
		}
		if !own && c.awaitProtection(ctx) != nil {
			return claimed{}, c.ended(ctx, "claim", true)
		}
		at = c.view.Load()
	}
}

// onwards is how much later an epoch may be for a claim to be brought into it: one
// failover. Between two of them another host can have claimed the same, in a link
// that this claim never came to, and bring that claim too, which counts more.
const onwards = 2

// rememberAll is remember for several records.
func (c *Chain) rememberAll(v *view, records []driver.Record) bool {
	for i := range records {
		if !c.remember(v, &records[i]) {
			return false
		}
	}
	return true
}

// firstCall notes when the first call was sent that may have had an effect, of
// several that repeat one another: a repeat returns the leases of the first one,
// with what time has left of them. Calls may overlap, as one that belongs to an
// epoch that is over is not waited for.
type firstCall struct {
	mu   sync.Mutex
	sent []time.Time // of the calls that may have had an effect
}

func (f *firstCall) begin() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.sent = append(f.sent, now)
	return now
}

func (f *firstCall) end(sent time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && driver.ClassOf(err) != driver.Unknown {
		i := slices.Index(f.sent, sent)
		f.sent = slices.Delete(f.sent, i, i+1) // it certainly had none
	}
}

// at returns when the first of them was sent, after one has succeeded.
func (f *firstCall) at() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.MinFunc(f.sent, time.Time.Compare)
}

// carry brings records, which were applied in an epoch that is over, into the
// present one and returns those that count there, as they stand. It decides
// nothing: whatever the store holds that is newer stays. Into an epoch after latest
// nothing is brought, and nothing counts.
func (c *Chain) carry(ctx context.Context, records []driver.Record, latest uint64, counts func(*driver.Record) bool) ([]driver.Record, error) {
	if len(records) == 0 {
		return nil, nil
	}
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].ID
	}
	held, v, err := onActive(ctx, c, opCarry, "carry over", nil, func(ctx context.Context, v *view) ([]driver.Record, error) {
		if v.epoch.Number > latest {
			return nil, nil
		}
		if err := mergeActive(ctx, v, records); err != nil {
			return nil, err
		}
		return v.active.get(ctx, ids...)
	})
	if err != nil {
		return nil, err
	}
	held = slices.DeleteFunc(held, func(r driver.Record) bool { return !counts(&r) })
	return held, c.mirror(v, held)
}

// carryAll is carry for records that all count, over any number of failovers; err is
// how their mirror in v has ended. It goes on while a standby of the set can neither
// take them nor be dropped: it must not take over without them.
func (c *Chain) carryAll(v *view, records []driver.Record, err error) error {
	for n := 0; ; {
		switch {
		case err == nil && c.rememberAll(v, records):
			return nil
		case err == nil, err == errMoved: //nolint:errorlint // it is never wrapped
		case driver.ClassOf(err) == driver.Unknown && c.ctx.Err() == nil:
			if n == 0 {
				c.log.Error("records are on the active link only, and a standby in step lacks them: they are brought there again and again",
					zap.Int("records", len(records)), zap.Error(err))
			}
			pause(c.ctx, c.ctx, c.policy().pause(n))
			n++
		default:
			return err
		}
		v = c.view.Load()
		records, err = c.carry(c.ctx, records, math.MaxUint64, func(*driver.Record) bool { return true })
	}
}

// mergeActive merges records into the active link of v. The error is also that of
// any record which the link does not take. A merge goes on during a handover, and
// may then be missing in the link that joins: that is Fenced.
func mergeActive(ctx context.Context, v *view, records []driver.Record) error {
	verdicts, err := v.active.merge(ctx, v.epoch.Number, records)
	if err != nil {
		return err
	}
	for i := range verdicts {
		if verdicts[i].Err != nil {
			return driver.In(verdicts[i].Err, v.active.name, "merge", records[i].ID)
		}
	}
	if e, err := v.active.epoch(ctx); err != nil || !e.Equal(v.epoch) {
		return cmp.Or(err, error(&driver.Error{Class: driver.Fenced, Epoch: &e}))
	}
	return nil
}
