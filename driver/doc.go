// SPDX-License-Identifier: Apache-2.0

// Package driver is the contract between a chain and the stores that hold its
// call workflows. It is for authors of drivers; applications use package chain.
//
// A driver is the code for one product; a [Store] is one opened connection of
// it. A store keeps one [Record] per workflow and moves it from revision to
// revision by compare-and-set. The transitions themselves are pure functions of
// this package ([Start], [Claim], [Save], …), so a store never has to know what
// a save point means; it decides which transition of a revision wins.
//
// # Rules every driver keeps
//
//   - Report, never decide: no retry, no back-off, no time limit of its own. The
//     host alone applies policy. A call makes at most one attempt at its effect.
//   - Tell the outcome apart: done (nil), certainly not done (any class but
//     [Unknown]), or [Unknown]. A mutation whose request may have reached the
//     store and whose answer is missing is Unknown, never [Unavailable].
//   - End with the context: every method returns within 100 ms after its ctx is
//     done, whatever state the product or its client library is in.
//   - Share nothing: the caller may change what it passed in as soon as the
//     method returns, and may change what it got back, at any time.
//   - Be safe for concurrent use: every method may be called from any number of
//     goroutines at once, [Store.Close] included.
//   - Log nothing secret: configuration, inputs, states and outputs never appear
//     in errors or log lines.
//
// The suite in package contracttest checks each sentence of this package on any
// driver.
package driver

// Contract is the version of this contract. A host refuses drivers of another
// one. It grows only when a store that kept the former version no longer keeps
// the present one.
const Contract = 1
