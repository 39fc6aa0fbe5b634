// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	firstWait = time.Millisecond
	maxWait   = 20 * time.Millisecond
)

// lock takes the exclusive lock of the file that stands at the path, waiting for other holders no longer than ctx: a
// holder that is stopped must not stop us.
func (l *Ledger) lock(ctx context.Context) error {
	wait := firstWait
	for {
		err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			same, err := l.current()
			if same && err == nil {
				return nil
			}
			// The file was moved away, or is a new one: lock that instead. Closing the old one unlocks it.
			if err := errors.Join(err, l.reopen()); err != nil {
				return err
			}
		case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the lock, which another writer holds: %w", context.Cause(ctx))
			case <-time.After(wait):
				wait = min(2*wait, maxWait)
			}
		default:
			return fmt.Errorf("lock: %w", err)
		}
	}
}

func unlock(file *os.File) error {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_UN); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}
