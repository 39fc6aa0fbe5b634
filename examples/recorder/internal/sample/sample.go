// SPDX-License-Identifier: Apache-2.0

// Package sample lays out voice files as the recorder of a telephone system would leave them, with the call-detail file that
// describes them, some of them spoilt on purpose, and a list of what must come of each line.
package sample

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
)

// Names within the output folder.
const (
	MonitorDir   = "monitor"
	MasterFile   = "Master.csv"
	ExpectedFile = "expected.json"
)

// Options say what to make of what. The same options and voice files give the same bytes.
type Options struct {
	Sounds string // folder with voice files, also in folders below it; files that are not whole WAV files are refused
	Out    string // folder to fill; must be empty, missing, or filled by an earlier Generate, whose files are replaced
	Calls  int    // number of answered calls; zero: one for each voice file; more: voice files are used several times
	Seed   uint64 // of the choice of numbers, times and faults
}

// Fault is a line that must be set aside.
type Fault struct {
	Line     int        `json:"line"` // of Master.csv, counted from 1
	UniqueID string     `json:"uniqueid"`
	Reason   job.Reason `json:"reason"`
	Detail   string     `json:"detail"` // what was done to it
}

// Expected is what a recorder must make of the data.
type Expected struct {
	Seed     uint64  `json:"seed"`
	Lines    int     `json:"lines"`    // of Master.csv; each is archived or set aside
	Archived int     `json:"archived"` // calls
	SetAside []Fault `json:"set_aside"`
}

// ReadExpected reads the list in a folder that Generate has filled.
func ReadExpected(dir string) (Expected, error) {
	var e Expected
	text, err := os.ReadFile(filepath.Join(dir, ExpectedFile))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("read %s: %w", filepath.Join(dir, ExpectedFile), err)
	}
	return e, nil
}

// Generate fills the folder. On an error the folder may be half filled; Generate fills it again.
func Generate(o Options) (Expected, error) {
	voices, err := findVoices(o.Sounds)
	if err != nil {
		return Expected{}, err
	}
	if o.Calls < 0 {
		return Expected{}, fmt.Errorf("a number of %d calls; it must not be negative", o.Calls)
	}
	calls := cmp.Or(o.Calls, len(voices))
	if calls < minCalls {
		return Expected{}, fmt.Errorf("%d calls are too few for every kind of fault; at least %d are needed", calls, minCalls)
	}
	if err := empty(o.Out); err != nil {
		return Expected{}, err
	}

	rows := plan(voices, calls, o.Seed)
	expected := Expected{Seed: o.Seed, Lines: len(rows)}
	// The list goes first: it is what marks the folder as ours.
	for i, r := range rows {
		if r.fault == nil {
			expected.Archived++
			continue
		}
		expected.SetAside = append(expected.SetAside, Fault{
			Line: i + 1, UniqueID: r.call.UniqueID, Reason: r.fault.reason, Detail: r.fault.detail,
		})
	}
	if err := writeJSON(filepath.Join(o.Out, ExpectedFile), expected); err != nil {
		return Expected{}, err
	}
	for _, r := range rows {
		if err := r.record(o.Out); err != nil {
			return Expected{}, err
		}
	}
	return expected, writeMaster(filepath.Join(o.Out, MasterFile), rows)
}

// empty makes the folder, or removes from it what an earlier Generate has left. It touches no other folder's files.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(dir, 0o755)
	case err != nil:
		return err
	case len(entries) == 0:
		return nil
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ExpectedFile }) {
		return fmt.Errorf("%s holds other files and no %s; give a new or empty folder", dir, ExpectedFile)
	}
	for _, name := range []string{MonitorDir, MasterFile} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func writeMaster(path string, rows []row) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	for _, r := range rows {
		if err := r.write(out); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return errors.Join(out.Flush(), file.Close())
}
