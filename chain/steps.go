// SPDX-License-Identifier: Apache-2.0

package chain

// The steps on the way of a link from its return to the failback, at each of
// which anything may die.
const (
	stepPrimarySeen   = "primary_seen"   // it is fit to be brought back
	stepResyncStarted = "resync_started" // nothing has been read yet
	stepResyncDone    = "resync_done"    // the handover is about to begin
	stepHandoverBegun = "handover_begun" // nobody writes
	stepDrained       = "drained"        // it holds everything
	stepJoined        = "joined"         // it is in the in-sync set
	stepStable        = "stable"         // the hold-down has passed
	stepSwitched      = "switched"       // it is active
)

// passing is called at each step; tests make something die there.
func (c *Chain) passing(step string) {
	if c.atStep != nil {
		c.atStep(step)
	}
}
