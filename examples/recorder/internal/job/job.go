// SPDX-License-Identifier: Apache-2.0

// Package job is what the recorder does with one call, in four steps: verify the recording, checksum it, archive it, and
// add the call to the index. Each step may be repeated after a death at any point, by any process, and is done once all
// the same. A call that cannot be processed is set aside with a reason.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/archive"
	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
	"github.com/understudy-dev/understudy/examples/recorder/internal/ledger"
)

// DefaultTolerance is by how much a recording may be longer or shorter than the call's billsec: one second because
// billsec is rounded down, and one for what passes between the answer and the first recorded sample.
const DefaultTolerance = 2 * time.Second

// Config says where things are. All folders are created but Monitor.
type Config struct {
	Monitor  string // folder with the recordings: YYYY/MM/DD/<uniqueid>.wav or <uniqueid>.wav
	Archive  string // folder to archive to: YYYY/MM/DD/<uniqueid>.wav, by the start of the call
	Index    string // file with one JSON line per archived call
	SetAside string // file with one JSON line per call that cannot be processed

	Tolerance time.Duration               // zero: DefaultTolerance
	At        func(point string)          // nil, or called at each of the Points; tests die there
	Repaired  func(path string, torn int) // nil, or called when a torn line was cut off the index or the set-aside file
}

// State is what a save point holds.
type State struct {
	Bytes      int64  `json:"bytes,omitempty"`
	DurationMS int64  `json:"duration_ms,omitempty"`
	Format     string `json:"format,omitempty"`
	SHA256     string `json:"sha256,omitempty"`
	Path       string `json:"path,omitempty"` // below Config.Archive, with slashes
}

// SaveFunc stores a save point: the name of the step that is done, and the state after it.
type SaveFunc func(ctx context.Context, step string, state []byte) error

// Job does the steps. It is safe for concurrent use.
type Job struct {
	cfg      Config
	index    *ledger.Ledger
	setAside *ledger.Ledger
}

type step struct {
	name string
	do   func(*Job, context.Context, *cdr.Call, *State) error
}

var steps = []step{
	{"verify", (*Job).verify},
	{"checksum", (*Job).checksum},
	{"archive", (*Job).archive},
	{"index", (*Job).addToIndex},
}

// Steps returns the names of the steps in their order.
func Steps() []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.name
	}
	return names
}

// Points returns the names of the points at which [Config.At] is called, in their order.
func Points() []string {
	points := []string{pointVerified, pointSummed}
	for _, p := range []string{archive.FolderMade, archive.Copied, archive.Moved, archive.Settled} {
		points = append(points, "archive: "+p)
	}
	for _, file := range []string{"index: ", "set aside: "} {
		for _, p := range []string{ledger.Locked, ledger.Written, ledger.Synced} {
			points = append(points, file+p)
		}
	}
	return points
}

const (
	pointVerified = "verify: verified"
	pointSummed   = "checksum: summed"
)

// New opens the index and the set-aside file. Close the job after the last Run has returned.
func New(cfg Config) (*Job, error) {
	if cfg.Tolerance < 0 {
		return nil, fmt.Errorf("recorder: a tolerance of %s; it must not be negative", cfg.Tolerance)
	}
	if cfg.Tolerance == 0 {
		cfg.Tolerance = DefaultTolerance
	}
	if err := os.MkdirAll(cfg.Archive, 0o755); err != nil {
		return nil, fmt.Errorf("recorder: create the archive: %w", err)
	}
	j := &Job{cfg: cfg}
	var err error
	if j.index, err = j.open(cfg.Index, "uniqueid", "index: "); err != nil {
		return nil, fmt.Errorf("recorder: open the index: %w", err)
	}
	if j.setAside, err = j.open(cfg.SetAside, "id", "set aside: "); err != nil {
		return nil, errors.Join(fmt.Errorf("recorder: open the set-aside file: %w", err), j.index.Close())
	}
	return j, nil
}

func (j *Job) open(path, key, prefix string) (*ledger.Ledger, error) {
	return ledger.Open(path, key, ledger.Options{At: j.points(prefix), Repaired: j.cfg.Repaired})
}

// points passes the points of a part on under its name.
func (j *Job) points(prefix string) func(string) {
	return func(point string) { j.at(prefix + point) }
}

func (j *Job) at(point string) {
	if j.cfg.At != nil {
		j.cfg.At(point)
	}
}

// Close closes the index and the set-aside file.
func (j *Job) Close() error { return errors.Join(j.index.Close(), j.setAside.Close()) }

// Run does what is left to do for a call whose last save point is done with the given state (both empty: none), and calls
// save after each step. It returns the call's index line.
//
// It returns a [*Rejection] for a call that can never be processed, after writing it to the set-aside file: do not repeat it.
// Any other error is one of the moment (the disk, ctx, save): repeat Run from the last save point.
func (j *Job) Run(ctx context.Context, e Entry, done string, state []byte, save SaveFunc) (output []byte, err error) {
	output, err = j.run(ctx, e, done, state, save)
	if rejection, ok := errors.AsType[*Rejection](err); ok {
		if _, err := j.setAside.Append(ctx, newSetAsideLine(e, rejection)); err != nil {
			return nil, fmt.Errorf("set aside %s (%s): %w", e.ID(), rejection.Reason, err)
		}
	}
	return output, err
}

func (j *Job) run(ctx context.Context, e Entry, done string, saved []byte, save SaveFunc) ([]byte, error) {
	if e.Rejected != nil {
		return nil, e.Rejected
	}
	left, state, err := resume(done, saved)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", e.ID(), err)
	}
	for _, s := range left {
		if err := s.do(j, ctx, &e.Call, &state); err != nil {
			return nil, fmt.Errorf("%s %s: %w", s.name, e.ID(), err)
		}
		encoded, err := json.Marshal(state)
		if err != nil {
			return nil, fmt.Errorf("encode the state of %s after %s: %w", e.ID(), s.name, err)
		}
		if err := save(ctx, s.name, encoded); err != nil {
			return nil, fmt.Errorf("save %s after %s: %w", e.ID(), s.name, err)
		}
	}
	return json.Marshal(newIndexLine(&e.Call, &state))
}

// resume returns the steps after the one that is done.
func resume(done string, saved []byte) (left []step, state State, err error) {
	if done == "" {
		return steps, State{}, nil
	}
	i := slices.IndexFunc(steps, func(s step) bool { return s.name == done })
	if i < 0 {
		return nil, State{}, fmt.Errorf("unknown save point %q; the steps are %v", done, Steps())
	}
	if err := json.Unmarshal(saved, &state); err != nil {
		return nil, State{}, fmt.Errorf("state of save point %q: %w", done, err)
	}
	return steps[i+1:], state, nil
}
