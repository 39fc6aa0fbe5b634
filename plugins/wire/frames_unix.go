// SPDX-License-Identifier: Apache-2.0

//go:build unix

package wire

import (
	"errors"
	"syscall"
)

// writeAtOnce writes as much of b as the connection takes without waiting. raw may
// be nil.
func writeAtOnce(raw syscall.RawConn, b []byte) (written int, err error) {
	if raw == nil {
		return 0, nil
	}
	done := raw.Write(func(fd uintptr) bool {
		written, err = syscall.Write(int(fd), b)
		return true
	})
	switch {
	case done != nil:
		return 0, done
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return 0, nil
	}
	return max(written, 0), err
}
