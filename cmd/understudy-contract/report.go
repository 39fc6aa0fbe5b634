// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// report is the JSON file that -report asks for: what was checked, and what
// became of each case.
type report struct {
	Plugin       string              `json:"plugin"`
	Driver       string              `json:"driver"`
	Version      string              `json:"version"`
	Contract     int                 `json:"contract"`
	Capabilities []driver.Capability `json:"capabilities"` // as the driver declares them
	Began        time.Time           `json:"began"`
	ElapsedMS    int64               `json:"elapsed_ms"`
	Interrupted  bool                `json:"interrupted"` // some cases are missing
	Passed       int                 `json:"passed"`
	Failed       int                 `json:"failed"`
	Excused      int                 `json:"excused"`
	Cases        []reported          `json:"cases"` // in the order of the suite
}

// reported is one case.
type reported struct {
	contracttest.Result

	Sentence string `json:"sentence"` // of the contract
	place    int
}

func newReport(o *options, about driver.DescribeResponse) *report {
	return &report{Plugin: o.plugin, Driver: about.Driver, Version: about.Version, Contract: about.Contract,
		Capabilities: about.Capabilities, Began: time.Now().UTC(), Cases: []reported{}}
}

// add notes the outcome of a case.
func (r *report) add(c contracttest.Case, result contracttest.Result) {
	place := slices.IndexFunc(contracttest.Cases(), func(other contracttest.Case) bool { return other.FullName() == c.FullName() })
	r.Cases = append(r.Cases, reported{Result: result, Sentence: c.Sentence, place: place})
	switch result.Outcome {
	case contracttest.Passed:
		r.Passed++
	case contracttest.Failed:
		r.Failed++
	case contracttest.Excused:
		r.Excused++
	}
}

func (r *report) end(elapsed time.Duration, interrupted bool) {
	r.ElapsedMS, r.Interrupted = elapsed.Milliseconds(), interrupted
	slices.SortFunc(r.Cases, func(a, b reported) int { return cmp.Compare(a.place, b.place) })
}

func (r *report) elapsed() time.Duration { return time.Duration(r.ElapsedMS) * time.Millisecond }

// write writes the report and closes the file.
func (r *report) write(f *os.File) error {
	enc := json.NewEncoder(f)
	enc.SetIndent("", "  ")
	if err := errors.Join(enc.Encode(r), f.Close()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
