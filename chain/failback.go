// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// holding is the save point of a failback.
type holding struct {
	Since time.Time // from when on the link has been healthy
	// Switching is when the chain was about to be switched; zero: it was not. It stands
	// there before the switch, since a steward that dies right after it can tell
	// nobody.
	Switching time.Time `json:",omitzero"`
}

// failBack waits until l, a standby that stands before the active link, has been
// healthy for the hold-down, and then makes it active. The hold-down applies to
// this switch alone: a failover to l, or its way back into the set, never waits
// for it.
func (c *Chain) failBack(ctx context.Context, h *Handle, v *view, l *link, flaps int) ([]byte, error) {
	point := holding{}
	if json.Unmarshal(h.State(), &point) != nil || point.Since.IsZero() {
		point = holding{Since: h.snapshot().Created} // when it had come into the set
	}
	save := func() error {
		state, err := json.Marshal(point)
		if err != nil {
			return err
		}
		return h.Save(ctx, "hold", state)
	}
	told := time.Duration(-1)
	for {
		cur, p := c.view.Load(), c.policy()
		if cur.epoch.Number != v.epoch.Number || !cur.holds(l) {
			return outdated, nil
		}
		hold := holdDown(p, flaps)
		if told != hold && p.Failback == FailbackAuto {
			told = hold
			c.log.Info("hold-down before the failback", zap.String("link", l.name), zap.Duration("hold_down", hold), zap.Int("flaps", flaps))
			c.events.emit(HoldDown{At: now(), Link: l.name, For: hold, Flaps: flaps})
		}
		at := v.active.clock.now()
		if p.Failback != FailbackAuto || preferred(c.links, cur) != l || !l.healthy() {
			late := at.Sub(point.Since) > saveEvery
			point.Since = at
			if late { // every steward after this one counts anew too
				if err := save(); err != nil {
					return nil, err
				}
			}
		}
		left := point.Since.Add(hold).Sub(at)
		if left <= 0 && l.risen(p) {
			break
		}
		if pause(ctx, v.ctx, min(max(left, p.Check.Interval/4), p.Check.Interval)); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	c.passing(stepStable)
	point.Switching = v.active.clock.now()
	if err := save(); err != nil {
		return nil, err
	}
	// The change of the epoch ends ctx, the duty of a steward of the old one; the
	// switch must be seen through and told all the same.
	limit, cancel := context.WithTimeout(c.ctx, c.policy().Timeout)
	defer cancel()
	if err := c.switchTo(limit, l); err != nil {
		return nil, fmt.Errorf("fail back to %q: %w", l.name, err)
	}
	c.passing(stepSwitched)
	return done, nil
}

// healthy reports whether the latest status check of l found nothing wrong.
func (l *link) healthy() bool { return l.checked().Rises > 0 }

// holdDown returns the hold-down after a number of failbacks in a row that did not
// last.
func holdDown(p *Policy, flaps int) time.Duration {
	return time.Duration(min(math.Ldexp(float64(p.HoldDown), flaps), float64(p.MaxHoldDown)))
}

// flaps counts the failbacks in a row, up to now, to the named link that did not
// last: after which it stood ready for another one before the longest hold-down
// had passed. One that was about to be made counts as made. They stand in the
// store, so that every host, also one that has just started, comes to the same.
func (c *Chain) flaps(ctx context.Context, name string) (int, error) {
	own, err := c.listOwn(ctx)
	if err != nil {
		return 0, err
	}
	var last duty
	var switched time.Time
	for i := range own {
		var d duty
		var p holding
		if json.Unmarshal(own[i].Input, &d) != nil || d.Do != doFailback || d.Link != name || json.Unmarshal(own[i].State, &p) != nil {
			continue
		}
		if p.Switching.After(switched) {
			last, switched = d, p.Switching
		}
	}
	if switched.IsZero() || c.view.Load().active.clock.now().Sub(switched) > c.policy().MaxHoldDown {
		return 0, nil
	}
	return last.Flaps + 1, nil
}

// listOwn returns the workflows of the chain itself.
func (c *Chain) listOwn(ctx context.Context) ([]driver.Record, error) {
	var all []driver.Record
	req := driver.ListRequest{Kinds: []string{stewardKind}, Limit: driver.MaxBatch}
	for {
		resp, _, err := answered(ctx, c, opRead, "list", nil, func(ctx context.Context, v *view) (driver.ListResponse, error) {
			return v.active.list(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, resp.Records...)
		if req.Cursor = resp.Next; req.Cursor == "" {
			return all, nil
		}
	}
}
