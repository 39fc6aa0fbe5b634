// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// ResyncStarted tells that this host begins to bring a link up to date, or goes
// on with it from a save point.
type ResyncStarted struct {
	At          time.Time
	Link, From  string // From is the active link
	Epoch       driver.Epoch
	Step        string // compare, copy or follow
	Done, About int64  // records of the step; About -1: not known
}

// ResyncProgress tells, every 10 s, how far a resync has come.
type ResyncProgress struct {
	At          time.Time
	Link        string
	Step        string // compare, copy or follow
	Done, About int64  // records of the step; About -1: not known
}

// DivergenceFound tells what a link that comes back holds that the chain has
// since decided otherwise. It comes before anything of it is replaced.
type DivergenceFound struct {
	At     time.Time
	Link   string
	Epoch  driver.Epoch
	Counts map[Divergence]int
	First  []Diverged // up to 10
	Report string     // path of the file with all of them; empty without Config.ReportDir
}

// Resynced tells that a link holds what the active link holds, but for what is
// being written: it is about to join.
type Resynced struct {
	At     time.Time
	Link   string
	Copied int64 // records that it lacked
	Took   time.Duration
}

// ResyncFailed tells that a link could not be brought up to date. It is tried
// again.
type ResyncFailed struct {
	At    time.Time
	Link  string
	Step  string // compare, copy or follow
	Cause error
}

// HoldDown tells that a link which stands before the active one is in step, and
// that the chain goes back to it when it has stayed healthy for that long.
type HoldDown struct {
	At    time.Time
	Link  string
	For   time.Duration
	Flaps int // failbacks in a row, up to now, that did not last
}

func (ResyncStarted) event()   {}
func (ResyncProgress) event()  {}
func (DivergenceFound) event() {}
func (Resynced) event()        {}
func (ResyncFailed) event()    {}
func (HoldDown) event()        {}
