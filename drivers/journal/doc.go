// SPDX-License-Identifier: Apache-2.0

// Package journal makes a store of a log: it is the one replicated state machine
// that all log-backed drivers share. It is for authors of such drivers, who
// supply a [Log]; applications use package chain.
//
// Every [Machine] follows the log and applies its events in order to a table in
// memory. A verdict is a function of the position: to commit, a machine appends,
// waits until it has applied its own events, and reads the verdict that every
// replica computes alike. There is no expected revision, no lock and no election.
//
// # Replicas that start in the middle
//
// The head of the log is truncated now and then, so replicas start at different
// positions and must come to equal tables all the same. A replica that starts at
// position s knows nothing of what stood before, so it cannot decide every event
// at or after s. Four rules make the tables equal from the truncation on:
//
//   - Each event that is decided by what is not there (a first revision, say)
//     names the position up to which its author knew the log: [Origin.After]. It
//     counts only if nothing that matters was written between After and the event
//     itself, and only if that stretch is at most [Window] long. A replica that
//     started later than After does not decide it.
//   - A [Checkpointed] event repeats what is known of the log as a whole (the epoch
//     record, the incarnation); before the first one a replica decides nothing.
//     [Compacted] events repeat one record each. Both count only if what they
//     repeat was not touched between After and the event, so that they never undo
//     anything, and a replica may take them for the truth.
//   - Each record carries the highest position from which a replica can start and
//     still come to know it: the lower of After and the start of the checkpoint
//     under which it was created or repeated.
//   - A [Truncated] event counts if all records can be known from its position.
//     Only then is the log cut there.
//
// Whatever stands twice in the log, as after a resend, is recognised by its
// tokens or lies outside its stretch, and changes nothing.
package journal
