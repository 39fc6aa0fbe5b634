// SPDX-License-Identifier: Apache-2.0

package sample

import "github.com/understudy-dev/understudy/examples/recorder/internal/job"

// fault is something done to a call on purpose.
type fault struct {
	name   string
	count  int // how many calls get it
	reason job.Reason
	detail string
}

var (
	truncated  = &fault{"truncated", 3, job.Damaged, "the recording is cut off in the middle"}
	unclosed   = &fault{"unclosed", 1, job.Damaged, "the header was never completed: it promises no samples"}
	notRIFF    = &fault{"not RIFF", 2, job.Damaged, "the recording's first bytes are overwritten"}
	missing    = &fault{"missing", 3, job.Missing, "there is no recording"}
	wrongBill  = &fault{"wrong billsec", 2, job.WrongLength, "billsec is 7 s more than the recording is long"}
	unanswered = &fault{"unanswered", 4, job.Unanswered, "nobody answered, so nothing was recorded"}
	unreadable = &fault{"unreadable", 1, job.Unreadable, "the line breaks off in the middle"}
	twice      = &fault{"listed twice", 3, job.ListedTwice, "an earlier line lists the same call"}
)

// spoilt are the faults of a call's only line; twice adds a line.
var spoilt = []*fault{truncated, unclosed, notRIFF, missing, wrongBill, unanswered, unreadable}

// minCalls leaves enough calls for every fault, and as many without one.
const minCalls = 40
