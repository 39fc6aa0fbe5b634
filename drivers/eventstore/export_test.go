// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/journal"
)

// NewLog returns the log of a stream, which ends with the test.
func NewLog(t testing.TB, host, stream string) journal.Log {
	t.Helper()
	c := DefaultConfig()
	c.Hosts = []string{host}
	require.NoError(t, c.Validate())
	l := newLog(&c, stream, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { require.NoError(t, l.Close(context.WithoutCancel(t.Context()))) })
	return l
}
