// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func TestClassNumbersAreFixed(t *testing.T) {
	t.Parallel()
	want := map[driver.Class]uint8{driver.NotFound: 1, driver.Exists: 2, driver.Conflict: 3, driver.LeaseLost: 4, driver.Invalid: 5,
		driver.TooLarge: 6, driver.Unsupported: 7, driver.Denied: 8, driver.Fenced: 9, driver.Lost: 10, driver.CursorLost: 11,
		driver.Full: 12, driver.ReadOnly: 13, driver.Unavailable: 14, driver.Unknown: 15, driver.Internal: 16}
	require.Len(t, driver.Classes(), len(want))
	names := map[string]bool{}
	for _, c := range driver.Classes() {
		require.Equal(t, want[c], uint8(c))
		names[c.String()] = true
	}
	require.Len(t, names, len(want), "each has a name of its own")
	require.Equal(t, "class(99)", driver.Class(99).String())
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	require.Equal(t, driver.Class(0), driver.ClassOf(nil))
	require.Equal(t, driver.Unknown, driver.ClassOf(io.EOF), "what is not understood may have been done")
	require.Equal(t, driver.Full, driver.ClassOf(fmt.Errorf("x: %w", driver.Full)))
	require.Equal(t, driver.Denied, driver.ClassOf(fmt.Errorf("x: %w", &driver.Error{Class: driver.Denied, Cause: driver.Full})))
}

func TestErrorSaysWhatWasAttemptedOnWhat(t *testing.T) {
	t.Parallel()
	err := &driver.Error{Class: driver.Conflict, Op: "commit", Store: "redis", IDs: []string{"c1", "c2"}, Detail: "revision 3 is stored", Cause: io.EOF}
	require.EqualError(t, err, `redis: commit "c1" "c2": conflict: revision 3 is stored: EOF`)
	require.ErrorIs(t, err, driver.Conflict)
	require.NotErrorIs(t, err, driver.Exists)
	require.ErrorIs(t, err, io.EOF)
}

func TestIn(t *testing.T) {
	t.Parallel()
	require.NoError(t, driver.In(nil, "s", "op"))
	require.EqualError(t, driver.In(&driver.Error{Class: driver.Full}, "s", "op", "a"), `s: op "a": full`)
	require.EqualError(t, driver.In(&driver.Error{Class: driver.Full, Store: "x", Op: "y", IDs: []string{"b"}}, "s", "op", "a"), `x: y "b": full`)
	require.EqualError(t, driver.In(driver.ReadOnly, "s", "op"), "s: op: read-only")
	got := driver.In(io.EOF, "s", "op")
	require.ErrorIs(t, got, driver.Unknown)
	require.ErrorIs(t, got, io.EOF)
}

func TestContextError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("shutting down: %w", context.Canceled))
	require.ErrorIs(t, driver.ContextError(ctx, true), driver.Unknown)
	require.ErrorIs(t, driver.ContextError(ctx, false), driver.Unavailable)
	require.ErrorIs(t, driver.ContextError(ctx, false), context.Canceled)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	a, b := driver.NewToken(), driver.NewToken()
	require.NotEqual(t, a, b)
	parsed, err := driver.ParseToken(a.String())
	require.NoError(t, err)
	require.Equal(t, a, parsed)
	for _, bad := range []string{"", "00", a.String() + "0", "z" + a.String()[1:]} {
		_, err := driver.ParseToken(bad)
		require.ErrorContains(t, err, "32 hexadecimal digits")
	}
	text, err := a.MarshalText()
	require.NoError(t, err)
	require.NoError(t, b.UnmarshalText(text))
	require.Equal(t, a, b)
	require.Error(t, b.UnmarshalText([]byte("no")))
	require.True(t, driver.Token{}.IsZero())
}
