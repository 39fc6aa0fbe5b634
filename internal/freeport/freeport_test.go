// SPDX-License-Identifier: Apache-2.0

package freeport

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReservedPortsAreNotReservedTwice(t *testing.T) {
	t.Parallel()
	ending := &test{T: t}
	first := Reserve(ending, 3)
	for port := first; port < first+3; port++ {
		require.False(t, reserve(t, port, 1), "%d", port)
	}
	require.False(t, reserve(t, first-1, 2), "one of them is taken")
	ending.end()
	require.Eventually(t, func() bool { return reserve(t, first, 3) }, time.Minute, time.Millisecond, "the test is over")
}

// test is a test that ends when it is told to.
type test struct {
	*testing.T
	end func()
}

func (t *test) Cleanup(f func()) { t.end = f }

func TestPortInUseIsNotReserved(t *testing.T) {
	t.Parallel()
	address := Address(t)
	_, text, err := net.SplitHostPort(address)
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	var config net.ListenConfig
	for free := port + 1; ; free++ { // one that nobody has reserved
		listener, err := config.Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(free)))
		if err != nil {
			continue
		}
		require.False(t, reserve(t, free, 1))
		require.NoError(t, listener.Close())
		return
	}
}
