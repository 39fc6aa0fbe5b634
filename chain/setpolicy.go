// SPDX-License-Identifier: Apache-2.0

package chain

// policy returns the policy in force. It is never changed in place: a call that
// has loaded it goes on with it.
func (c *Chain) policy() *Policy { return c.live.Load() }

// Policy returns the policy in force, without zero fields.
func (c *Chain) Policy() Policy { return *c.policy() }

// SetPolicy replaces the policy as a whole: zero fields mean the defaults, not
// what was in force. It is checked together with the configuration that the
// chain was opened with, as by [Config.Validate]; with an error the former policy
// stays in force. It is of this host alone: give all hosts the same.
//
// Attempts, pauses and incidents that begin afterwards follow the new policy. An
// incident that is open goes on with its count of failures, against the new
// limits. What waits for standbys goes on at once if MinInSync allows it now.
func (c *Chain) SetPolicy(p Policy) error {
	config := c.config
	config.Policy = p
	config = config.WithDefaults()
	if err := config.validate(); err != nil {
		return err
	}
	c.live.Store(&config.Policy)
	c.moved.send() // what waits for standbys need not any more
	return nil
}
