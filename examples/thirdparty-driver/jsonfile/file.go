// SPDX-License-Identifier: Apache-2.0

package jsonfile

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/understudy-dev/understudy/driver"
)

// file is the file of a chain, with a lock beside it.
type file struct {
	path string
	lock *os.File
}

// acquire takes the lock: without CapShared, a second Open is refused with
// Unsupported. The lock ends with the process, however that ends.
func (f *file) acquire() error {
	lock, err := os.OpenFile(f.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return ioError(err, "open")
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return &driver.Error{Class: driver.Unsupported, Store: name, Op: "open", Cause: err,
			Detail: f.path + " is open elsewhere: this driver serves one process at a time"}
	}
	f.lock = lock
	return nil
}

func (f *file) release() { _ = f.lock.Close() }

// load reads what the file holds; a chain that has none begins anew.
func (f *file) load() (*content, error) {
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		c := newContent()
		return c, f.save(c) // its incarnation has to stay
	}
	if err != nil {
		return nil, ioError(err, "open")
	}
	c := newContent()
	if err := json.Unmarshal(text, c); err != nil {
		return nil, &driver.Error{Class: driver.Internal, Store: name, Op: "open", Detail: f.path + " is damaged: restore it", Cause: err}
	}
	return c, nil
}

// save replaces the file. A crash leaves the old file or the new one, never a
// part. The error says whether the change may have come about.
func (f *file) save(c *content) error {
	text, err := json.Marshal(c)
	if err != nil {
		return &driver.Error{Class: driver.Internal, Cause: err}
	}
	next := f.path + ".next"
	if err := writeSynced(next, text); err != nil {
		return ioError(err, "") // certainly not done: the old file is in its place
	}
	if err := os.Rename(next, f.path); err != nil {
		return ioError(err, "")
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return &driver.Error{Class: driver.Unknown, Cause: err} // the new file is there, and may be lost in a crash
	}
	return nil
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ioError gives an error of the file system its class.
func ioError(err error, op string) error {
	class := driver.Unavailable
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		class = driver.Full
	case errors.Is(err, syscall.EROFS):
		class = driver.ReadOnly
	case errors.Is(err, fs.ErrPermission):
		class = driver.Denied
	}
	return &driver.Error{Class: class, Store: name, Op: op, Cause: err}
}
