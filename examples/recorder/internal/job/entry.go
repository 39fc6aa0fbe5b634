// SPDX-License-Identifier: Apache-2.0

package job

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
)

// Entry is one line of the call-detail file, the input of one workflow. It is encoded as JSON.
type Entry struct {
	Line     int        `json:"line"` // counted from 1
	Call     cdr.Call   `json:"call,omitzero"`
	Text     string     `json:"text,omitempty"`     // the line itself, if it is rejected
	Rejected *Rejection `json:"rejected,omitempty"` // why it cannot be processed, if that is known from the file
}

// ID names the line's workflow: the call's unique id, or, for a line that is rejected, an id that is the same whenever the same line
// is read at the same place.
func (e *Entry) ID() string {
	if e.Rejected == nil {
		return e.Call.UniqueID
	}
	sum := sha256.Sum256([]byte(e.Text))
	name := "unreadable"
	if e.Call.UniqueID != "" {
		name = e.Call.UniqueID
	}
	return fmt.Sprintf("%s@line-%d-%s", name, e.Line, hex.EncodeToString(sum[:4]))
}

// Entries yields one entry for each line of a call-detail file whose times are in loc, and at most one error, as the last.
// A line that cannot be read, or that lists a call again, is an entry with a rejection. It remembers the unique ids it has seen.
func Entries(r io.Reader, loc *time.Location) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		rows := cdr.NewReader(r, loc)
		first := map[string]int{} // unique id to line
		for {
			row, err := rows.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			entry := Entry{Line: row.Line, Call: row.Call}
			if bad, ok := errors.AsType[*cdr.RowError](err); ok {
				entry = Entry{Line: bad.Line, Text: bad.Text, Rejected: &Rejection{Reason: Unreadable, Detail: bad.Error()}}
			} else if err != nil {
				yield(Entry{}, err)
				return
			} else if line, listed := first[row.Call.UniqueID]; listed {
				entry.Text = row.Text
				entry.Rejected = &Rejection{Reason: ListedTwice, Detail: fmt.Sprintf("line %d lists the call as well", line)}
			} else {
				first[row.Call.UniqueID] = row.Line
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}
