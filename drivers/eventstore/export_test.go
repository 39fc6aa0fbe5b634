// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/journal"
)

// NewLog returns the log of a stream, which ends with the test.
func NewLog(t testing.TB, section json.RawMessage, stream string) journal.Log {
	t.Helper()
	return newTestLog(t, section, stream)
}

// NewLogOf is NewLog where every name has the addresses.
func NewLogOf(t testing.TB, section json.RawMessage, stream string, addresses ...string) journal.Log {
	t.Helper()
	l := newTestLog(t, section, stream)
	l.handle.lookup = func(context.Context, string) ([]string, error) { return addresses, nil }
	return l
}

func newTestLog(t testing.TB, section json.RawMessage, stream string) *log {
	t.Helper()
	c, err := ParseConfig(section)
	require.NoError(t, err)
	l := newLog(&c, stream, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { require.NoError(t, l.Close(context.WithoutCancel(t.Context()))) })
	return l
}
