// SPDX-License-Identifier: Apache-2.0

package chain

import "go.uber.org/zap"

// Option sets what a chain reports to.
type Option func(*Chain)

// WithLogger makes the chain log to logger. Changes of state are one line each
// and must not be sampled. Default: no log.
func WithLogger(logger *zap.Logger) Option {
	return func(c *Chain) { c.log = logger }
}

// WithEvents makes the chain call handler for each [Event], in order, from one
// goroutine. A slow handler delays later events and nothing else.
func WithEvents(handler func(Event)) Option {
	return func(c *Chain) { c.events.handler = handler }
}
