// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/chain"
)

// What an entry of a journal tells.
const (
	meant    = "meant"    // a start is about to be made
	started  = "started"  // and was acknowledged
	claimed  = "claimed"  // a handler begins
	saved    = "saved"    // a save point was acknowledged
	ended    = "ended"    // the end was acknowledged
	refused  = "refused"  // a call ended with an error that no caller should see
	leftOff  = "left off" // a handler stopped since its lease was lost
	happened = "happened" // an event of the chain
	quiet    = "quiet"    // nothing more is started
)

// entry is one line of a journal.
type entry struct {
	Tell     string        `json:"tell"`
	At       time.Time     `json:"at"`
	ID       string        `json:"id,omitempty"`
	Revision uint64        `json:"revision,omitempty"`
	Epoch    uint64        `json:"epoch,omitempty"`
	Lease    string        `json:"lease,omitempty"`
	Step     int           `json:"step,omitempty"`
	Waited   time.Duration `json:"waited,omitempty"` // by the caller
	Event    string        `json:"event,omitempty"`  // type
	To       string        `json:"to,omitempty"`     // active link of the event's epoch
	Text     string        `json:"text,omitempty"`   // cause or error

	host string
}

// journal appends entries to a file, each with one write, so that what a host was
// told before it was killed is there.
type journal struct {
	mu   sync.Mutex
	file *os.File
	fail error
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return &journal{file: file}, err
}

func (j *journal) add(e entry) {
	e.At = time.Now()
	text, err := json.Marshal(e)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		_, err = j.file.Write(append(text, '\n'))
	}
	if err != nil {
		j.fail = err
	}
}

// about is an entry for a record.
func about(tell string, r *chain.Record, lease string) entry {
	return entry{Tell: tell, ID: r.ID, Revision: r.Revision, Epoch: r.Epoch, Lease: lease, Step: stepNumber(r.Step)}
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.file.Close(); err != nil {
		return err
	}
	return j.fail
}
