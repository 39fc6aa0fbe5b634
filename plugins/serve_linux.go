// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchInterval is how often a plugin looks for its host.
const watchInterval = time.Second

// hostGone returns a channel that is closed when the host that started this
// process, parent, has gone: its end of standard output is closed, or the
// process has another parent. It is left open once done is closed.
func hostGone(parent int, done <-chan struct{}) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		// Standard output by number: os.Stdout is replaced while serving. A pipe nobody
		// reads from any more is an error condition, which cannot be masked out.
		stdout := []unix.PollFd{{Fd: 1}}
		for {
			n, err := unix.Poll(stdout, int(watchInterval.Milliseconds()))
			closed := err == nil && n > 0 && stdout[0].Revents&unix.POLLERR != 0
			if closed || os.Getppid() != parent {
				close(gone)
				return
			}
			select {
			case <-done:
				return
			default:
			}
			if err != nil && !errors.Is(err, unix.EINTR) || n > 0 {
				<-time.After(watchInterval) // standard output cannot be watched; the parent can
			}
		}
	}()
	return gone
}
