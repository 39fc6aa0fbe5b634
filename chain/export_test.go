// SPDX-License-Identifier: Apache-2.0

package chain

import "context"

// WithSteps makes the chain call f at each step of bringing a link back, before it
// goes on.
func WithSteps(f func(step string)) Option {
	return func(c *Chain) { c.atStep = f }
}

// StewardKind is the kind of the stewards' workflows.
const StewardKind = stewardKind

// Rejoin brings a link back into the in-sync set: a full copy, and a handover in
// which drain, if not nil, is called before the rest is copied.
func (c *Chain) Rejoin(ctx context.Context, name string, drain func(context.Context) error) error {
	l := c.linkNamed(name)
	l.recall(nil)
	if err := copyAll(ctx, c.view.Load(), []*link{l}); err != nil {
		return err
	}
	return c.join(ctx, l, func(ctx context.Context) error {
		if drain != nil {
			if err := drain(ctx); err != nil {
				return err
			}
		}
		return copyAll(ctx, c.view.Load(), []*link{l})
	})
}

// BeginDuty starts the workflow of a steward as a host does that has heard more of
// the present number than this one, and returns whether it is there.
func (c *Chain) BeginDuty(do, link string) bool {
	v := c.view.Load()
	return c.beginDuty(v, duty{Do: do, Link: link, Epoch: v.epoch.Number})
}

// Parked returns how many mutations wait for standbys.
func (c *Chain) Parked() int {
	c.parked.mu.Lock()
	defer c.parked.mu.Unlock()
	return len(c.parked.items)
}
