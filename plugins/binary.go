// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// checkBinary returns the file to execute for a plugin at path: that it is a
// program which nobody but its owner can change, and has the checksum sum if
// that is not empty. The file and its folder are checked, and where path is a
// symbolic link, the link's folder too.
func checkBinary(path, sum string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", refused("%w", err)
	}
	file, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", refused("%s does not exist: build or install the plugin, or correct the path", path)
	}
	if err != nil {
		return "", refused("%w", err)
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return "", refused("%w", err)
	case !info.Mode().IsRegular():
		return "", refused("%s is not a file: want the path of a plugin binary", file)
	case info.Mode()&0o111 == 0:
		return "", refused("%s is not executable: is it a plugin? if so, chmod +x it", file)
	}
	for _, p := range [...]string{filepath.Dir(path), filepath.Dir(file), file} {
		info, err := os.Stat(p)
		if err != nil {
			return "", refused("%w", err)
		}
		if changeable(info) {
			return "", refused("%s can be changed by others (%s): chmod go-w it, or move the plugin", p, info.Mode())
		}
	}
	if sum == "" {
		return file, nil
	}
	return file, checkSum(file, sum)
}

// changeable reports whether others than its owner may write to a file or folder.
// A group with the number of the owner is the owner's own, as most systems set
// users up.
func changeable(info fs.FileInfo) bool {
	const group, others = 0o020, 0o002
	return info.Mode()&others != 0 || info.Mode()&group != 0 && !privateGroup(info)
}

func checkSum(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return refused("%w", err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return refused("read %s: %w", file, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); !strings.EqualFold(got, want) {
		return refused("%s has sha256 %s, expected %s: if the change was meant, pin the new one", file, got, strings.ToLower(want))
	}
	return nil
}

// refused is the error of a plugin that cannot work as it is configured or
// installed: to try again is of no use.
func refused(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &driver.Error{Class: driver.Invalid, Cause: err}
}

// failed is the error of a plugin that did not start and may the next time.
func failed(format string, args ...any) error {
	return &driver.Error{Class: driver.Unavailable, Cause: fmt.Errorf(format, args...)}
}

// permanent reports whether err is of the kind that trying again does not mend.
func permanent(err error) bool {
	switch driver.ClassOf(err) {
	case driver.Invalid, driver.Unsupported, driver.TooLarge:
		return true
	default:
		return false
	}
}
