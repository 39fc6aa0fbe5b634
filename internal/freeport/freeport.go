// SPDX-License-Identifier: Apache-2.0

// Package freeport finds ports for servers that tests stop and start again: ports
// that the system gives to nobody meanwhile, and that no other test takes.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// T is what is needed of a test; *testing.T and *testing.B are such.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	FailNow()
	Cleanup(f func())
}

// Below the ports that the system chooses for outgoing connections and for
// listeners on port 0.
const (
	lowest = 20000
	beyond = 32000
)

// Reserve returns the first of n consecutive loopback ports that nobody listens on.
// Until the end of the test no other call returns them, in whatever process.
func Reserve(t T, n int) int {
	t.Helper()
	for range 1000 {
		first := lowest + rand.N(beyond-lowest-n)
		if reserve(t, first, n) {
			return first
		}
	}
	t.Errorf("there are no %d free ports between %d and %d", n, lowest, beyond)
	t.FailNow()
	return 0
}

// Address returns host:port of a loopback port of [Reserve].
func Address(t T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Reserve(t, 1)))
}

// reserve takes n ports, or none. A reservation is a socket with a name of its own,
// which goes with the process at the latest.
func reserve(t T, first, n int) bool {
	t.Helper()
	var held []net.Listener
	release := func() {
		for _, l := range held {
			_ = l.Close() // it is in no file system
		}
	}
	for port := first; port < first+n; port++ {
		reservation, err := net.Listen("unix", fmt.Sprintf("@understudy-test-port-%d", port)) //nolint:noctx // at once
		if err != nil {
			release()
			return false
		}
		held = append(held, reservation)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // at once
		if err != nil {
			release()
			return false
		}
		if err := listener.Close(); err != nil {
			t.Errorf("let go of port %d: %v", port, err)
		}
	}
	t.Cleanup(release)
	return true
}
