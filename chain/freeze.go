// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"time"

	"go.uber.org/zap"
)

// Frozen tells that somebody has frozen this host; see [Chain.Freeze].
type Frozen struct {
	At     time.Time
	Reason string
}

// Thawed tells that this host is no longer frozen.
type Thawed struct {
	At     time.Time
	Reason string // for which it was frozen
	For    time.Duration
}

func (Frozen) event() {}
func (Thawed) event() {}

// Freeze is for maintenance: from now on this host does not fail over, fail back
// or bring links back by itself; a resync that it is at goes on in another host.
// When the active link fails, callers wait to
// their own deadlines, and go on when it serves again. Freezing a frozen host
// replaces the reason, which should say who has done it and why.
//
// Everything else goes on: a standby that fails is dropped, as callers would wait
// for it otherwise; the decisions of other hosts are followed, so a maintenance
// that nobody may react to freezes each host; [Chain.SwitchTo] works while the
// active link answers. A frozen host that restarts is not frozen.
func (c *Chain) Freeze(reason string) {
	reason = cmp.Or(reason, "no reason given") // what is shown as empty is not frozen
	f := &Frozen{At: now(), Reason: reason}
	c.frozen.Store(f)
	c.log.Warn("frozen: no failover, failback or repair by this host", zap.String("reason", reason))
	c.events.emit(*f)
	nudge(c.rises) // a resync of this host ends, and another host goes on with it
}

// Thaw ends what [Chain.Freeze] began. If the active link has used up its budget
// meanwhile, the next attempt that fails leads to the failover. Thawing a host
// that is not frozen changes nothing.
func (c *Chain) Thaw() {
	f := c.frozen.Swap(nil)
	if f == nil {
		return
	}
	c.log.Warn("thawed", zap.String("reason", f.Reason), zap.Duration("for", time.Since(f.At)))
	c.events.emit(Thawed{At: now(), Reason: f.Reason, For: time.Since(f.At)})
	nudge(c.rises)
}

// isFrozen reports whether the host must not change the chain by itself.
func (c *Chain) isFrozen() bool { return c.frozen.Load() != nil }

// heldBack tells, once for each freeze, that a failover would begin now.
func (c *Chain) heldBack(v *view, i incident) {
	f := c.frozen.Load()
	if f == nil || c.told.Swap(f) == f {
		return
	}
	c.log.Error("frozen: no failover, callers wait", zap.String("link", v.active.name), zap.String("reason", f.Reason),
		zap.NamedError("cause", i.last), zap.Int("attempts", i.attempts))
}
