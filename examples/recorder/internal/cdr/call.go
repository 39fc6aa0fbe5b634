// SPDX-License-Identifier: Apache-2.0

// Package cdr reads and writes call-detail files as Asterisk's cdr_csv module makes them: Master.csv, one line per
// call, 18 columns, no header, written with loguniqueid and loguserfield switched on.
//
// The columns are described in Asterisk's documentation of the CDR fields and in its cdr_csv.c.
package cdr

import (
	"slices"
	"time"
)

// columns are the names of the columns of Master.csv in their order.
var columns = [...]string{
	"accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata",
	"start", "answer", "end", "duration", "billsec", "disposition", "amaflags", "uniqueid", "userfield",
}

// TimeFormat is how Master.csv writes times. It names no zone: Asterisk writes its local time, or UTC with usegmtime.
const TimeFormat = time.DateTime

// Answered is the disposition of a call that somebody took; only such calls have a recording.
const Answered = "ANSWERED"

var (
	dispositions = []string{Answered, "NO ANSWER", "BUSY", "FAILED", "CONGESTION"}
	amaFlags     = []string{"DOCUMENTATION", "BILLING", "OMIT", "DEFAULT", "Unknown"}
)

// Call is one line of Master.csv. Text that is not UTF-8 has its wrong bytes replaced by U+FFFD.
type Call struct {
	AccountCode string    `json:"accountcode,omitempty"`
	Src         string    `json:"src"`
	Dst         string    `json:"dst"`
	DContext    string    `json:"dcontext,omitempty"`
	CLID        string    `json:"clid,omitempty"`
	Channel     string    `json:"channel,omitempty"`
	DstChannel  string    `json:"dstchannel,omitempty"`
	LastApp     string    `json:"lastapp,omitempty"`
	LastData    string    `json:"lastdata,omitempty"`
	Start       time.Time `json:"start"`
	Answer      time.Time `json:"answer,omitzero"` // zero: nobody answered
	End         time.Time `json:"end"`
	Duration    int       `json:"duration"` // seconds from start to end
	BillSec     int       `json:"billsec"`  // seconds from answer to end, rounded down
	Disposition string    `json:"disposition"`
	AMAFlags    string    `json:"amaflags,omitempty"`
	UniqueID    string    `json:"uniqueid"` // 1–149 letters, digits, dots, hyphens and underscores: safe as a file name
	UserField   string    `json:"userfield,omitempty"`
}

// Billed is BillSec as a duration.
func (c *Call) Billed() time.Duration { return time.Duration(c.BillSec) * time.Second }

// maxUniqueID is the length of a unique id in Asterisk (AST_MAX_UNIQUEID).
const maxUniqueID = 149

// validUniqueID reports whether id can name a file without leaving its folder.
func validUniqueID(id string) bool {
	if id == "" || len(id) > maxUniqueID || id[0] == '.' || id[0] == '-' {
		return false
	}
	return !slices.ContainsFunc([]byte(id), func(c byte) bool {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '.', c == '-', c == '_':
			return false
		default:
			return true
		}
	})
}
