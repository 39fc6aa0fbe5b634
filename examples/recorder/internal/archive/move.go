// SPDX-License-Identifier: Apache-2.0

// Package archive moves a file to its place in an archive so that at every moment, also after the process or the machine
// has died, the whole file stands at its old place, its new place, or both; and so that moving it again ends what was begun.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Points at which a mover may die; see [Move].
const (
	FolderMade = "folder made" // the folder for the file exists
	Copied     = "copied"      // on another file system: a copy is on the disk under a temporary name
	Moved      = "moved"       // the file stands at its new place, but may do so only until the machine dies
	Settled    = "settled"     // its new name is on the disk; a copied file still stands at its old place as well
)

// ErrOccupied is returned when another file stands at the new place. Nothing was changed.
var ErrOccupied = errors.New("the place in the archive is taken by another file")

// ErrChanged is returned when the file at the old place is not the one that was described. Nothing was changed.
var ErrChanged = errors.New("the file has changed")

// Move says what to move where.
type Move struct {
	From   string // the file
	To     string // its new place, below Root
	Root   string // the folder of the archive; it must exist
	Size   int64  // of the file in bytes
	SHA256 string // of the file, in hexadecimal
	// At, if set, is called at each of the points FolderMade, Copied, Moved and Settled that is reached. Tests die there.
	At func(point string)

	rename func(from, to string) error // os.Rename, but in tests
}

// Do moves the file. It may be repeated, also by several processes at once: when the file with this checksum already stands at the
// new place, Do makes sure that it lasts, removes what is left at the old place, and returns nil.
//
// It returns [fs.ErrNotExist] when the file is at neither place, [ErrOccupied], [ErrChanged], or what the system said. After an error or
// a death at any point, repeat it.
func (m Move) Do(ctx context.Context) error {
	if m.rename == nil {
		m.rename = os.Rename
	}
	if err := m.do(ctx); err != nil {
		return fmt.Errorf("move %s to %s: %w", m.From, m.To, err)
	}
	return nil
}

func (m *Move) do(ctx context.Context) error {
	there, err := m.arrived(ctx)
	if err != nil {
		return err
	}
	if !there {
		if err := m.bring(ctx); err != nil {
			return err
		}
		m.at(Moved)
	}
	if err := m.settle(); err != nil {
		return err
	}
	m.at(Settled)
	return m.removeLeftover(ctx)
}

// arrived reports whether the very file stands at the new place.
func (m *Move) arrived(ctx context.Context) (bool, error) {
	sum, _, err := Sum(ctx, m.To)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case sum != m.SHA256:
		return false, fmt.Errorf("%w: its sha256 is %s instead of %s", ErrOccupied, sum, m.SHA256)
	default:
		return true, nil
	}
}

func (m *Move) bring(ctx context.Context) error {
	if err := m.syncSource(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.To), 0o755); err != nil {
		return err
	}
	m.at(FolderMade)
	err := m.rename(m.From, m.To)
	switch {
	case errors.Is(err, syscall.EXDEV):
		return m.copyOver(ctx)
	case errors.Is(err, fs.ErrNotExist):
		// Somebody else, whose turn this call was before, may have moved it at this moment.
		if there, errThere := m.arrived(ctx); there || errThere != nil {
			return errThere
		}
		return err
	default:
		return err
	}
}

// syncSource checks the size and brings the contents to the disk, which a recorder need not have done.
func (m *Move) syncSource() error {
	file, err := os.Open(m.From)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != m.Size {
		err = fmt.Errorf("%w: %d bytes instead of %d", ErrChanged, info.Size(), m.Size)
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// settle brings the new name, and the names of the folders above it, to the disk. They may have been made by somebody who died
// before doing so.
func (m *Move) settle() error {
	root := filepath.Clean(m.Root)
	for dir := filepath.Dir(m.To); ; dir = filepath.Dir(dir) {
		if err := syncFolder(dir); err != nil {
			return err
		}
		if dir == root || dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// removeLeftover removes the file at the old place, where a copy or a death has left it, if it is the one that has arrived.
func (m *Move) removeLeftover(ctx context.Context) error {
	sum, _, err := Sum(ctx, m.From)
	if err == nil && sum != m.SHA256 {
		return fmt.Errorf("%w: it is in the archive, but at its old place stands another with sha256 %s", ErrChanged, sum)
	}
	if err == nil {
		err = os.Remove(m.From)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = syncFolder(filepath.Dir(m.From))
	if errors.Is(err, fs.ErrNotExist) { // the folder was tidied away after its last file
		return nil
	}
	return err
}

func (m *Move) at(point string) {
	if m.At != nil {
		m.At(point)
	}
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
