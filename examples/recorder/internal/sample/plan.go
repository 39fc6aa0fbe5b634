// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
)

// row is one line of Master.csv and its recording.
type row struct {
	call  cdr.Call
	voice voice
	fault *fault // nil: none
}

// firstCall is when the first call comes in. The rest follow within a few days, so that several folders are used.
var firstCall = time.Date(2026, time.March, 2, 8, 0, 0, 0, time.UTC)

var callers = []string{"Reception", "O'Neill, Pat", "Support", "Zoë Lang", "Billing"}

// plan gives each call a voice file, the numbers and times of a small office, and some of them a fault.
func plan(voices []voice, calls int, seed uint64) []row {
	random := rand.New(rand.NewPCG(seed, 0))
	order := random.Perm(len(voices))
	rows := make([]row, 0, calls+twice.count)
	start := firstCall
	for i := range calls {
		start = start.Add(time.Duration(20+random.IntN(700)) * time.Second)
		v := voices[order[i%len(voices)]]
		rows = append(rows, row{call: newCall(random, i, start, v), voice: v})
	}

	unlucky := random.Perm(calls)
	for _, f := range spoilt {
		for range f.count {
			rows[unlucky[0]].spoil(f)
			unlucky = unlucky[1:]
		}
	}
	return listTwice(random, rows)
}

// listTwice adds second lines for calls without a fault, some way after the first ones.
func listTwice(random *rand.Rand, rows []row) []row {
	for range twice.count {
		at := random.IntN(len(rows))
		for rows[at].fault != nil {
			at = (at + 1) % len(rows)
		}
		again := rows[at]
		again.fault = twice
		rows = slices.Insert(rows, min(len(rows), at+1+random.IntN(20)), again)
	}
	return rows
}

func newCall(random *rand.Rand, i int, start time.Time, v voice) cdr.Call {
	src, dst := fmt.Sprint(1000+random.IntN(40)), fmt.Sprintf("0%09d", random.IntN(1_000_000_000))
	rings := time.Duration(2+random.IntN(12)) * time.Second
	billed := v.length.Truncate(time.Second)
	answer := start.Add(rings)
	return cdr.Call{
		AccountCode: fmt.Sprint("office-", 1+random.IntN(3)), Src: src, Dst: dst, DContext: "from-internal",
		CLID:    fmt.Sprintf("%q <%s>", callers[random.IntN(len(callers))], src),
		Channel: fmt.Sprintf("PJSIP/%s-%08x", src, 2*i), DstChannel: fmt.Sprintf("PJSIP/trunk-%08x", 2*i+1),
		LastApp: "Dial", LastData: "PJSIP/" + dst + "@trunk,60,tT",
		Start: start, Answer: answer, End: answer.Add(billed),
		Duration: int((rings + billed) / time.Second), BillSec: int(billed / time.Second),
		Disposition: cdr.Answered, AMAFlags: "DOCUMENTATION", UniqueID: fmt.Sprintf("%d.%d", start.Unix(), 2*i),
		UserField: "recorded from " + v.name,
	}
}

// spoil changes the call as the fault asks; lines and recordings are spoilt when they are written.
func (r *row) spoil(f *fault) {
	r.fault = f
	c := &r.call
	switch f {
	case wrongBill:
		c.BillSec += 7
		c.Duration += 7
		c.End = c.End.Add(7 * time.Second)
	case unanswered:
		c.Answer, c.Disposition = time.Time{}, "NO ANSWER"
		c.Duration, c.BillSec = c.Duration-c.BillSec, 0
		c.End = c.Start.Add(time.Duration(c.Duration) * time.Second)
	}
}
