// SPDX-License-Identifier: Apache-2.0

package cdr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Positions of the columns that are more than text.
const (
	colStart = iota + 9
	colAnswer
	colEnd
	colDuration
	colBillSec
	colDisposition
	colAMAFlags
	colUniqueID
)

// parser turns the fields of one line into a Call and keeps the first thing that is wrong.
type parser struct {
	record []string
	loc    *time.Location
	field  int
	reason string
}

func (p *parser) call() Call {
	c := Call{
		AccountCode: p.text(0), Src: p.text(1), Dst: p.text(2), DContext: p.text(3), CLID: p.text(4),
		Channel: p.text(5), DstChannel: p.text(6), LastApp: p.text(7), LastData: p.text(8),
		Start:       p.time(colStart, true),
		Answer:      p.time(colAnswer, false),
		End:         p.time(colEnd, true),
		Duration:    p.seconds(colDuration),
		BillSec:     p.seconds(colBillSec),
		Disposition: p.oneOf(colDisposition, dispositions),
		AMAFlags:    p.oneOf(colAMAFlags, amaFlags),
		UniqueID:    p.text(colUniqueID),
		UserField:   p.text(colUniqueID + 1),
	}
	p.check(colUniqueID, validUniqueID(c.UniqueID),
		"%q is not a unique id: 1 to %d letters, digits, dots, hyphens and underscores", c.UniqueID, maxUniqueID)
	p.check(colEnd, !c.End.Before(c.Start), "the end lies before the start")
	p.check(colAnswer, c.Answer.IsZero() || !c.Answer.Before(c.Start) && !c.Answer.After(c.End), "not between start and end")
	p.check(colAnswer, !c.Answer.IsZero() || c.Disposition != Answered, "empty, but the disposition is %s", Answered)
	p.check(colBillSec, c.BillSec <= c.Duration, "%d s are more than the duration of %d s", c.BillSec, c.Duration)
	return c
}

func (p *parser) check(field int, ok bool, format string, args ...any) {
	if !ok && p.reason == "" {
		p.field, p.reason = field, fmt.Sprintf(format, args...)
	}
}

func (p *parser) text(i int) string { return strings.ToValidUTF8(p.record[i], "\uFFFD") }

func (p *parser) time(i int, required bool) time.Time {
	if p.record[i] == "" && !required {
		return time.Time{}
	}
	t, err := time.ParseInLocation(TimeFormat, p.record[i], p.loc)
	p.check(i, err == nil, "%q is not a time of the form %s", p.record[i], TimeFormat)
	return t
}

func (p *parser) seconds(i int) int {
	n, err := strconv.ParseInt(p.record[i], 10, 32)
	p.check(i, err == nil && n >= 0, "%q is not a number of seconds", p.record[i])
	return int(n)
}

func (p *parser) oneOf(i int, allowed []string) string {
	p.check(i, slices.Contains(allowed, p.record[i]), "%q is none of %s", p.record[i], strings.Join(allowed, ", "))
	return p.record[i]
}
