// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"

	"github.com/understudy-dev/understudy/driver"
)

// Verb is the number of a [driver.Verb]: 0 for none.
type Verb uint8

var verbs = [...]driver.Verb{"", driver.VerbStart, driver.VerbClaim, driver.VerbExtend, driver.VerbSave, driver.VerbYield,
	driver.VerbWait, driver.VerbSucceed, driver.VerbFail, driver.VerbRelease, driver.VerbCancel, driver.VerbRequeue}

// Name returns the verb, empty for none.
func (v Verb) Name() driver.Verb {
	if int(v) < len(verbs) {
		return verbs[v]
	}
	return ""
}

// VerbOf returns the transition that most likely made next from base (nil: not
// known), judging by what differs; 0 if base is needed and not known. It is for
// people who read a log.
func VerbOf(base, next *driver.Record) Verb {
	name := verbTo(next)
	if name == "" && base != nil {
		name = verbBetween(base, next)
	}
	for i, v := range verbs {
		if v == name {
			return Verb(i)
		}
	}
	return 0
}

// verbTo returns the verb if next alone tells it.
func verbTo(next *driver.Record) driver.Verb {
	switch {
	case next.Revision == 1:
		return driver.VerbStart
	case next.Status == driver.Waiting:
		return driver.VerbWait
	case next.Status == driver.Succeeded:
		return driver.VerbSucceed
	case next.Status == driver.Failed:
		return driver.VerbFail
	case next.Status == driver.Cancelled:
		return driver.VerbCancel
	case next.Status == driver.Leased && next.Lease.Token == next.Token:
		return driver.VerbClaim
	}
	return ""
}

func verbBetween(base, next *driver.Record) driver.Verb {
	saved := base.Step != next.Step || !bytes.Equal(base.State, next.State)
	switch {
	case next.Status == driver.Leased && (saved || base.Attempt != next.Attempt):
		return driver.VerbSave
	case next.Status == driver.Leased:
		return driver.VerbExtend
	case next.Status != driver.Ready:
		return ""
	case base.Status != driver.Leased:
		return driver.VerbRequeue
	case base.Failure != next.Failure || base.Attempt == next.Attempt && !saved:
		return driver.VerbFail
	case !saved && base.Attempt == next.Attempt+1 && next.Attempt > 0:
		return driver.VerbRelease
	case !saved && base.Attempt == 1 && next.Attempt == 0 && base.Step == "":
		return driver.VerbRelease
	}
	return driver.VerbYield
}
