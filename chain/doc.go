// SPDX-License-Identifier: Apache-2.0

// Package chain keeps call workflows running when the store under them fails.
// It is for applications; authors of drivers read package driver.
//
// A [Chain] is an ordered list of links, each a store behind the contract of
// package driver, usually in a subprocess of its own. One link is active; the
// standbys behind it hold everything that was acknowledged, because every
// applied record is merged into them before the call returns. When the active
// link fails, the chain advances the epoch in the next link and goes on there;
// callers see a pause, not an error.
//
// # Limits of time
//
// Outermost first: the caller's deadline ⊃ the incident budget ([Policy] Retries
// or Timeout, whichever is sooner, from the start of the first attempt that
// failed) ⊃ retries with back-off and jitter ⊃ the limit of one attempt. No call
// outlives its context by more than 100 ms. What each class of error leads to,
// for each kind of operation, stands in one table; see docs/chain.md.
//
// # Outcomes
//
// A mutation that returned nil is on the active link and on every standby of the
// in-sync set; with [MirrorAsync] some are there only a moment later. One that returned driver.Unknown may have been done; repeating it
// is safe, as every transition is named by a token. Any other class means that
// it certainly was not done.
package chain
