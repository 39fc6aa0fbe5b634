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
// at or after s. These rules make the tables equal from the truncation on:
//
//   - Each event that is decided by what is not there (a first revision, say)
//     names the position up to which its author knew the log: [Origin.After]. It
//     counts only if nothing that matters was written in the stretch between After
//     and the event itself, and only if that stretch is at most [Window] long. A
//     replica that started later than After does not decide it. An After beyond the
//     event, as in a log that was restored from a backup, is no stretch: the event
//     does not count.
//   - A [Checkpointed] event repeats what is known of the log as a whole (the epoch
//     record, the incarnation); before the first one a replica decides nothing.
//     [Compacted] events repeat one record each. Both count only if what they
//     repeat was not named in their stretch, not even by an event that was refused,
//     so that they never undo anything, and a replica may take them for the truth.
//   - Each record carries the highest position from which a replica can start and
//     still come to know it: the lower of After and the start of the checkpoint
//     under which it was created or repeated. A claim or a merge of a record that is
//     there is decided by its stretch as well, so it lowers that position to its
//     After.
//   - A [Truncated] event counts if all records and all claims that are remembered
//     can be known from its position, which is the start of a checkpoint, and if
//     that lies more than a window back. Only then is the log cut there.
//
// # What is remembered of events
//
// Three things outlive the events that said them, and each is forgotten by a rule
// that does not depend on where a replica started:
//
//   - For a window: which ids events named while no record of them was there, and
//     where the last [Expired] event of an id stands, whether that counted or not. A
//     first revision or a merge whose stretch holds such an expiry does not count, so
//     an old event cannot bring back a record that left.
//   - For a window: which append last used the token of a claim. Of several claims
//     with one token that did not know of each other, only the first append counts,
//     also where it won nothing.
//   - Until the leases have ended: the token of each claim with the latest end that a
//     [Claimed] event has said, also one that was refused, by which a repeat of the
//     call is recognised. A [Checkpointed] event makes all replicas forget the claims
//     whose leases had ended by the clock of its author, also if it does not count
//     otherwise. A [ClaimsKept] event repeats the others before a truncation. It
//     counts only if no Checkpointed event stands in its stretch, so that nothing
//     forgotten comes back, and it only ever adds tokens or prolongs.
//
// # Events that stand twice
//
// What counted once does not count again where it stands a second time: it is
// recognised by its tokens, or lies outside its stretch. What was refused stays
// refused if the stretch decides (a claim, a first revision, an expiry, a repeat).
// But a [Committed] event above the first revision, and an [EpochAdvanced] one, are
// decided by their base alone. One that was refused because its base was not there
// yet counts where it stands again behind its base, after its author was told that
// it was not done. Therefore a [Log] makes one attempt for each append, and who
// tries again does so with a new one.
package journal
