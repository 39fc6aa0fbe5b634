// SPDX-License-Identifier: Apache-2.0

package chain

// WithSteps makes the chain call f at each step of bringing a link back, before it
// goes on.
func WithSteps(f func(step string)) Option {
	return func(c *Chain) { c.atStep = f }
}

// StewardKind is the kind of the stewards' workflows.
const StewardKind = stewardKind
