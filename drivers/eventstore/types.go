// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

// mirrored begins the type of an event that brings a transition made in another
// store.
const mirrored = "Mirrored"

// unnamed is the type of a transition that is none of the verbs, or that cannot be
// told from the record alone.
const unnamed = "WorkflowChanged"

// verbTypes are the types of transitions by what was done.
var verbTypes = map[driver.Verb]string{
	driver.VerbStart:   "WorkflowStarted",
	driver.VerbClaim:   "WorkflowClaimed",
	driver.VerbExtend:  "LeaseExtended",
	driver.VerbSave:    "SavePointReached",
	driver.VerbYield:   "WorkflowYielded",
	driver.VerbWait:    "WorkflowWaiting",
	driver.VerbSucceed: "WorkflowSucceeded",
	driver.VerbFail:    "WorkflowFailed",
	driver.VerbRelease: "WorkflowReleased",
	driver.VerbCancel:  "WorkflowCancelled",
	driver.VerbRequeue: "WorkflowRequeued",
}

// attemptFailed is the type of a failure after which the workflow is tried again.
const attemptFailed = "AttemptFailed"

// kindTypes are the types of the other events.
var kindTypes = map[journal.Kind]string{
	journal.Created:       "JournalCreated",
	journal.Expired:       "WorkflowExpired",
	journal.EpochAdvanced: "EpochAdvanced",
	journal.Checkpointed:  "CompactionStarted",
	journal.Compacted:     "WorkflowCompacted",
	journal.ClaimsKept:    "ClaimsKept",
	journal.Truncated:     "JournalTruncated",
	journal.Probed:        "JournalProbed",
}

// typeOf returns the type of an event, which is for people: nothing depends on it.
// rec is its record if it has one.
func typeOf(e *journal.Event, rec *driver.Record) string {
	switch e.Kind {
	case journal.Committed, journal.Claimed:
		return verbType(e.Verb, rec)
	case journal.Merged:
		return mirrored + verbType(journal.VerbOf(nil, rec), rec)
	}
	return kindTypes[e.Kind]
}

func verbType(verb journal.Verb, rec *driver.Record) string {
	name := verb.Name()
	if name == driver.VerbFail && rec.Status != driver.Failed {
		return attemptFailed
	}
	if t, ok := verbTypes[name]; ok {
		return t
	}
	return unnamed
}
