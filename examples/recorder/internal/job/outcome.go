// SPDX-License-Identifier: Apache-2.0

package job

import (
	"fmt"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
)

// Reason says in a word why a call was set aside.
type Reason string

// The reasons.
const (
	Missing     Reason = "missing"      // the call was answered, but there is no recording
	Unanswered  Reason = "unanswered"   // nobody answered, so there is no recording
	Damaged     Reason = "damaged"      // the recording is not a whole WAV file
	WrongLength Reason = "wrong length" // the recording is not as long as the call
	Changed     Reason = "changed"      // the recording changed while it was processed
	Occupied    Reason = "occupied"     // another recording stands at its place in the archive
	ListedTwice Reason = "listed twice" // an earlier line lists the same call; that one counts
	Unreadable  Reason = "unreadable"   // the line of the call-detail file cannot be read
)

// Rejection is the error of a call that can never be processed; to repeat it is pointless.
type Rejection struct {
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`

	cause error
}

// Error reads "damaged: call.wav: truncated WAV file …".
func (r *Rejection) Error() string { return string(r.Reason) + ": " + r.Detail }

// Unwrap returns what was found, if it was an error.
func (r *Rejection) Unwrap() error { return r.cause }

func reject(reason Reason, cause error, format string, args ...any) error {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...), cause: cause}
}

// IndexLine is a call's line in the index. It holds nothing that differs from one try to the next.
type IndexLine struct {
	UniqueID   string    `json:"uniqueid"`
	Src        string    `json:"src"`
	Dst        string    `json:"dst"`
	Start      time.Time `json:"start"`
	BillSec    int       `json:"billsec"`
	DurationMS int64     `json:"duration_ms"`
	Format     string    `json:"format"`
	Bytes      int64     `json:"bytes"`
	SHA256     string    `json:"sha256"`
	Path       string    `json:"path"` // below the archive, with slashes
}

func newIndexLine(c *cdr.Call, s *State) IndexLine {
	return IndexLine{
		UniqueID: c.UniqueID, Src: c.Src, Dst: c.Dst, Start: c.Start, BillSec: c.BillSec,
		DurationMS: s.DurationMS, Format: s.Format, Bytes: s.Bytes, SHA256: s.SHA256, Path: s.Path,
	}
}

// SetAsideLine is the line of a call in the set-aside file.
type SetAsideLine struct {
	ID       string `json:"id"`   // of the workflow
	Line     int    `json:"line"` // in the call-detail file
	UniqueID string `json:"uniqueid,omitempty"`
	Reason   Reason `json:"reason"`
	Detail   string `json:"detail"`
	Text     string `json:"text,omitempty"` // the line itself, when it was rejected as it stands
}

func newSetAsideLine(e Entry, r *Rejection) SetAsideLine {
	return SetAsideLine{ID: e.ID(), Line: e.Line, UniqueID: e.Call.UniqueID, Reason: r.Reason, Detail: r.Detail, Text: e.Text}
}
