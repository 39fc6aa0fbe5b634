// SPDX-License-Identifier: Apache-2.0

// Package ledger keeps files of one JSON object per line (NDJSON) in which each id stands exactly once, whoever appends
// it, how often, and wherever a writer was killed.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Points at which a writer may die; see [Options].
const (
	Locked  = "locked"  // the file is locked, read and repaired, nothing is written yet
	Written = "written" // the line is written, but may be lost with the machine
	Synced  = "synced"  // the line is on the disk, nobody was told so
)

// Options of a ledger. The zero value has no hooks.
type Options struct {
	// At is called at each of the points Locked, Written and Synced, while the file is locked. Tests die there.
	At func(point string)
	// Repaired is called after a torn last line was cut off, with its length in bytes.
	Repaired func(path string, torn int)
}

// Ledger is one process's handle of a file. Any number of processes, handles and goroutines may use one file at once:
// writers are kept apart by flock(2), which ends with the process that holds it. File systems without flock (some network
// file systems) are not supported.
type Ledger struct {
	path string
	key  string
	opt  Options

	slot  chan struct{} // one token: the right to use what follows
	file  *os.File
	seen  map[string]struct{} // ids on the lines before end
	lines int
	end   int64 // bytes read so far; always behind a line end
	dirty bool  // something before end may not be on the disk
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("ledger is closed")

// Open opens or creates the file at path, whose lines are told apart by their string field key. Lines are read at the first Append.
func Open(path, key string, opt Options) (*Ledger, error) {
	l := &Ledger{path: path, key: key, opt: opt, slot: make(chan struct{}, 1)}
	if err := l.reopen(); err != nil {
		return nil, err
	}
	l.slot <- struct{}{}
	return l, nil
}

// Append adds v, encoded as one JSON object that has the key field, unless a line with its id is there already; written tells
// which. When it returns nil the line is on the disk, whoever wrote it. After an error nothing is known: append again.
//
// A torn last line, left by a writer that was killed, is cut off first. A line in the middle that is no JSON object
// with the key is an error that only an operator can repair, as it hides which call it stood for.
func (l *Ledger) Append(ctx context.Context, v any) (written bool, err error) {
	line, err := json.Marshal(v)
	if err != nil {
		return false, fmt.Errorf("encode a line of %s: %w", l.path, err)
	}
	id, err := idOf(line, l.key)
	if err != nil {
		return false, fmt.Errorf("append to %s: %w", l.path, err)
	}

	select {
	case _, open := <-l.slot:
		if !open {
			return false, fmt.Errorf("append %s to %s: %w", id, l.path, ErrClosed)
		}
	case <-ctx.Done():
		return false, fmt.Errorf("append %s to %s: %w", id, l.path, context.Cause(ctx))
	}
	defer func() { l.slot <- struct{}{} }()

	written, err = l.append(ctx, id, append(line, '\n'))
	if err != nil {
		return false, fmt.Errorf("append %s to %s: %w", id, l.path, err)
	}
	return written, nil
}

// Close waits for an Append at work and closes the file. A second Close returns ErrClosed.
func (l *Ledger) Close() error {
	if _, open := <-l.slot; !open {
		return ErrClosed
	}
	close(l.slot)
	return l.file.Close()
}

func (l *Ledger) append(ctx context.Context, id string, line []byte) (written bool, err error) {
	if err := l.lock(ctx); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unlock(l.file)) }()

	if err := l.catchUp(); err != nil {
		return false, err
	}
	l.at(Locked)
	if _, ok := l.seen[id]; !ok {
		if err := l.write(line); err != nil {
			return false, err
		}
		l.seen[id], written = struct{}{}, true
		l.at(Written)
	}
	if l.dirty {
		if err := l.file.Sync(); err != nil {
			return false, errors.Join(err, l.undo(written, len(line)))
		}
		l.dirty = false
	}
	l.at(Synced)
	return written, nil
}

// write adds the line at the end, or nothing.
func (l *Ledger) write(line []byte) error {
	l.dirty = true
	if _, err := l.file.WriteAt(line, l.end); err != nil {
		return errors.Join(err, l.file.Truncate(l.end))
	}
	l.end += int64(len(line))
	l.lines++
	return nil
}

// undo takes back a line that may not be on the disk: the system forgets that writing it failed, so it must be written
// anew to be tried again.
func (l *Ledger) undo(written bool, n int) error {
	end := l.end - int64(n)
	l.forget()
	if !written {
		return nil
	}
	return l.file.Truncate(end)
}

func (l *Ledger) at(point string) {
	if l.opt.At != nil {
		l.opt.At(point)
	}
}

// forget makes the next Append read the file from its beginning.
func (l *Ledger) forget() {
	l.seen, l.lines, l.end, l.dirty = map[string]struct{}{}, 0, 0, true
}

// reopen opens the file that now stands at the path.
func (l *Ledger) reopen() error {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(l.path)); err != nil {
		return errors.Join(err, file.Close())
	}
	if l.file != nil {
		err = l.file.Close()
	}
	l.file = file
	l.forget()
	return err
}

// current reports whether the open file is still the one at the path.
func (l *Ledger) current() (bool, error) {
	open, err := l.file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// syncFolder makes a new name in the folder last.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
