// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	socketPrefix = "understudy-sockets-"
	socketLock   = "lock"
	// A socket's path has at most 107 bytes. go-plugin puts a folder and a socket
	// with random names of up to 20 and 16 bytes into ours.
	maxSocketDir = 107 - len("/plugin-dir") - 10 - len("/plugin") - 10
	// A folder without a lock is being made, unless it is older than this.
	socketDirGrace = time.Minute
)

// socketDir is a private folder for the sockets of one store's plugins. As long
// as its host lives it is locked, so that others can tell what was left behind.
type socketDir struct {
	path string
	lock *os.File
}

// newSocketDir makes a folder and removes those that hosts of this user have
// left behind.
func newSocketDir() (*socketDir, error) {
	base := os.TempDir()
	if len(filepath.Join(base, socketPrefix))+10 > maxSocketDir {
		base = "/tmp" // the path of a socket is bounded
	}
	sweepSockets(base)
	path, err := os.MkdirTemp(base, socketPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a folder for the plugin's socket: %w", err)
	}
	lock, err := newLock(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the folder of the plugin's socket: %w", err), os.RemoveAll(path))
	}
	return &socketDir{path: path, lock: lock}, nil
}

func (d *socketDir) remove() error {
	return errors.Join(os.RemoveAll(d.path), d.lock.Close())
}

// newLock makes the lock of a new folder. It appears there locked, so that nobody
// takes the folder for one that was left behind.
func newLock(path string) (*os.File, error) {
	const unnamed = socketLock + ".new"
	lock, err := lockFile(path, unnamed, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(path, unnamed), filepath.Join(path, socketLock)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// lockFile takes the lock of a folder, which is free once its host has gone.
func lockFile(path, name string, flags int) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(path, name), os.O_RDWR|unix.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// sweepSockets removes the folders in base whose hosts have gone. What cannot be
// removed stays.
func sweepSockets(base string) {
	stale, _ := filepath.Glob(filepath.Join(base, socketPrefix+"*")) // the pattern is well-formed
	for _, path := range stale {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || !ownedByUs(info) {
			continue
		}
		lock, err := lockFile(path, socketLock, 0)
		switch {
		case err == nil:
			_ = os.RemoveAll(path)
			_ = lock.Close()
		case errors.Is(err, os.ErrNotExist) && time.Since(info.ModTime()) > socketDirGrace: // it is empty, or somebody else's
			_ = os.Remove(path)
		}
	}
}

func ownedByUs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

func privateGroup(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == stat.Gid
}
