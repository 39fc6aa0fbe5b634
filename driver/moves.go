// SPDX-License-Identifier: Apache-2.0

package driver

import "slices"

// Verb names a transition.
type Verb string

// The verbs, one per transition function.
const (
	VerbStart   Verb = "start"
	VerbClaim   Verb = "claim"
	VerbExtend  Verb = "extend"
	VerbSave    Verb = "save"
	VerbYield   Verb = "yield"
	VerbWait    Verb = "wait"
	VerbSucceed Verb = "succeed"
	VerbFail    Verb = "fail"
	VerbRelease Verb = "release"
	VerbCancel  Verb = "cancel"
	VerbRequeue Verb = "requeue"
)

// Move is one allowed change of status.
type Move struct {
	Verb     Verb
	From, To Status
}

// moves is the table of allowed moves; nothing else is allowed.
var moves = []Move{
	{VerbStart, Absent, Ready},
	{VerbClaim, Ready, Leased},
	{VerbClaim, Leased, Leased}, // once the lease has expired
	{VerbClaim, Waiting, Leased},
	{VerbExtend, Leased, Leased},
	{VerbSave, Leased, Leased},
	{VerbYield, Leased, Ready},
	{VerbWait, Leased, Waiting},
	{VerbSucceed, Leased, Succeeded},
	{VerbFail, Leased, Ready},  // while attempts are left
	{VerbFail, Leased, Failed}, // permanent, or attempts exhausted
	{VerbRelease, Leased, Ready},
	{VerbCancel, Ready, Cancelled},
	{VerbCancel, Leased, Cancelled},
	{VerbCancel, Waiting, Cancelled},
	{VerbRequeue, Failed, Ready},
	{VerbRequeue, Cancelled, Ready},
	{VerbRequeue, Waiting, Ready},
}

// Moves returns the table of allowed moves.
func Moves() []Move { return slices.Clone(moves) }

func allowed(verb Verb, from, to Status) bool {
	return slices.Contains(moves, Move{verb, from, to})
}
