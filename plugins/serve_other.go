// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package plugins

import (
	"os"
	"time"
)

// hostGone returns a channel that is closed when this process has another
// parent than the one that started it. It is left open once done is closed.
func hostGone(parent int, done <-chan struct{}) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		for os.Getppid() == parent {
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
		}
		close(gone)
	}()
	return gone
}
