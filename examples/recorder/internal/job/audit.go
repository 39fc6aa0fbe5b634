// SPDX-License-Identifier: Apache-2.0

package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/understudy-dev/understudy/examples/recorder/internal/archive"
	"github.com/understudy-dev/understudy/examples/recorder/internal/ledger"
)

// Report is what an audit has found. Nothing was lost or done twice if Lost, Twice and Wrong are empty.
type Report struct {
	Lines    int            `json:"lines"` // of the call-detail file
	Archived int            `json:"archived"`
	SetAside map[Reason]int `json:"set_aside"`
	Lost     []string       `json:"lost"`  // ids that are neither in the index nor set aside
	Twice    []string       `json:"twice"` // ids that are there more than once, or recordings at two places
	Wrong    []string       `json:"wrong"` // what does not agree: index and archive, index and call-detail file
}

// OK reports whether every line was dealt with exactly once and everything agrees.
func (r *Report) OK() bool { return len(r.Lost)+len(r.Twice)+len(r.Wrong) == 0 }

// Audit compares the call-detail file with what stands in the index, the set-aside file and the archive, and reads every
// archived recording again. It relies on nothing that the steps have remembered. Run it when no Run is at work.
func Audit(ctx context.Context, cfg Config, entries iter.Seq2[Entry, error]) (Report, error) {
	a := audit{cfg: cfg, report: Report{SetAside: map[Reason]int{}}, listed: map[string]bool{}}
	index, err := readLines[IndexLine](cfg.Index, "uniqueid", a.twice)
	if err != nil {
		return Report{}, err
	}
	setAside, err := readLines[SetAsideLine](cfg.SetAside, "id", a.twice)
	if err != nil {
		return Report{}, err
	}

	for entry, err := range entries {
		if err != nil {
			return Report{}, err
		}
		a.report.Lines++
		a.entry(&entry, index, setAside)
	}
	for id := range setAside {
		a.known(id, "set aside")
	}
	for id, line := range index {
		a.known(id, "in the index")
		if err := a.recording(ctx, line); err != nil {
			return Report{}, err
		}
	}
	return a.report, a.strays(index)
}

type audit struct {
	cfg    Config
	report Report
	listed map[string]bool // ids of the call-detail file
}

func (a *audit) twice(id, file string) {
	a.report.Twice = append(a.report.Twice, fmt.Sprintf("%s: twice in %s", id, filepath.Base(file)))
}

func (a *audit) wrong(format string, args ...any) {
	a.report.Wrong = append(a.report.Wrong, fmt.Sprintf(format, args...))
}

// entry looks for one line of the call-detail file.
func (a *audit) entry(e *Entry, index map[string]IndexLine, setAside map[string]SetAsideLine) {
	id := e.ID()
	a.listed[id] = true
	_, archived := index[id]
	aside, rejected := setAside[id]
	switch {
	case archived && rejected:
		a.report.Twice = append(a.report.Twice, id+": archived and set aside")
	case archived:
		a.report.Archived++
	case rejected:
		a.report.SetAside[aside.Reason]++
	default:
		a.report.Lost = append(a.report.Lost, id)
	}
}

func (a *audit) known(id, where string) {
	if !a.listed[id] {
		a.wrong("%s: %s, but not in the call-detail file", id, where)
	}
}

// recording checks that what the index says of a recording is true, and that it stands nowhere else.
func (a *audit) recording(ctx context.Context, l IndexLine) error {
	sum, size, err := archive.Sum(ctx, filepath.Join(a.cfg.Archive, filepath.FromSlash(l.Path)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.wrong("%s: in the index, but %s is not in the archive", l.UniqueID, l.Path)
		return nil
	case err != nil:
		return err
	case sum != l.SHA256 || size != l.Bytes:
		a.wrong("%s: %s is not the recording that the index describes", l.UniqueID, l.Path)
	}
	for _, path := range []string{filepath.FromSlash(l.Path), l.UniqueID + ".wav"} {
		if _, err := os.Stat(filepath.Join(a.cfg.Monitor, path)); !errors.Is(err, fs.ErrNotExist) {
			a.report.Twice = append(a.report.Twice, l.UniqueID+": archived, but still among the recordings")
		}
	}
	return nil
}

// strays looks for files in the archive that the index does not name.
func (a *audit) strays(index map[string]IndexLine) error {
	named := make(map[string]bool, len(index))
	for _, l := range index {
		named[l.Path] = true
	}
	return filepath.WalkDir(a.cfg.Archive, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		below, err := filepath.Rel(a.cfg.Archive, path)
		if err == nil && !named[filepath.ToSlash(below)] {
			a.wrong("%s: in the archive, but not in the index", below)
		}
		return err
	})
}

// readLines returns the lines of a ledger by id and reports ids that stand there more than once.
func readLines[T any](path, key string, twice func(id, path string)) (map[string]T, error) {
	all := map[string]T{}
	for line, err := range ledger.Read(path, key) {
		if err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal(line.Text, &v); err != nil {
			return nil, fmt.Errorf("read %s, line %d: %w", path, line.Number, err)
		}
		if _, ok := all[line.ID]; ok {
			twice(line.ID, path)
		}
		all[line.ID] = v
	}
	return all, nil
}
