// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"github.com/understudy-dev/understudy/driver"
)

// operation is a kind of call to a store, as far as policy tells them apart.
type operation uint8

const (
	opRead    operation = iota // Get and List on the active link
	opCommit                   // Commit on the active link, the call as a whole
	opVerdict                  // one record of a Commit
	opClaim                    // Claim on the active link
	opCarry                    // Merge into the active link of what an epoch that is over has acknowledged
	opAdvance                  // Advance on the active link: a change of the in-sync set
	opMerge                    // Merge into a standby
	operations
)

func (o operation) String() string {
	return [operations]string{"read", "commit", "verdict", "claim", "carry", "advance", "merge"}[o]
}

// mutates reports whether a lost answer leaves the outcome open.
func (o operation) mutates() bool { return o != opRead }

// action is what follows an error.
type action uint8

const (
	giveBack action = iota // to the caller: another store would say the same
	again                  // retry here within the incident budget, then as moveOn
	moveOn                 // fail over to the next link at once
	follow                 // another host has decided: take over its epoch
	leave                  // the standby leaves the in-sync set at once
)

func (a action) String() string {
	return [...]string{"give back", "retry", "next link", "follow", "drop standby"}[a]
}

// decisions is the whole policy: class of the error × kind of operation. A class
// that is not in it counts as Unknown.
//
// Poison, a request that every store would refuse, never fails over. Merge has
// no caller to give anything back to: the active link has taken the record, so a
// standby that cannot is no longer in step.
var decisions = [...][operations]action{
	//                     read      commit    verdict   claim     carry     advance   merge
	driver.NotFound:    {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
	driver.Exists:      {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
	driver.Conflict:    {giveBack, giveBack, giveBack, giveBack, giveBack, follow, leave},
	driver.LeaseLost:   {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
	driver.Invalid:     {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
	driver.TooLarge:    {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
	driver.Unsupported: {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
	driver.Denied:      {moveOn, moveOn, giveBack, moveOn, moveOn, moveOn, leave},
	driver.Fenced:      {follow, follow, follow, follow, follow, follow, follow},
	driver.Lost:        {moveOn, moveOn, moveOn, moveOn, moveOn, moveOn, leave},
	driver.CursorLost:  {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
	driver.Full:        {again, moveOn, moveOn, moveOn, moveOn, moveOn, leave},
	driver.ReadOnly:    {again, again, again, again, again, again, again},
	driver.Unavailable: {again, again, again, again, again, again, again},
	driver.Unknown:     {again, again, again, again, again, again, again},
	driver.Internal:    {giveBack, giveBack, giveBack, giveBack, giveBack, giveBack, leave},
}

func decide(op operation, err error) action {
	class := driver.ClassOf(err)
	if int(class) >= len(decisions) {
		class = driver.Unknown
	}
	return decisions[class][op]
}
