// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// shy is a store that does not say at first what it is.
type shy struct {
	driver.Store
	silent atomic.Int64 // calls of Describe yet to fail
}

func (s *shy) Describe(ctx context.Context, req driver.DescribeRequest) (driver.DescribeResponse, error) {
	if s.silent.Add(-1) >= 0 {
		return driver.DescribeResponse{}, &driver.Error{Class: driver.Unavailable, Detail: "no process yet"}
	}
	return s.Store.Describe(ctx, req)
}

// TestOpenHasPatience: with a driver that needs another moment, and not for ever.
func TestOpenHasPatience(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		silent   int64
		degraded bool
		opens    bool
	}{"AMoment": {5, false, true}, "ForEver": {1 << 40, false, false}, "ForEverDegraded": {1 << 40, true, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &shy{Store: newFaulty(nil)}
				s.silent.Store(tc.silent)
				config := chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Store: newFaulty(nil)}, {Name: "b", Store: s}}, StartDegraded: tc.degraded}
				began := time.Now()
				c, err := chain.Open(t.Context(), config)
				if tc.opens {
					require.NoError(t, err)
					require.NoError(t, c.Close(t.Context()))
					return
				}
				require.ErrorIs(t, err, driver.Unavailable)
				require.ErrorContains(t, err, "no process yet")
				require.InDelta(t, 10, time.Since(began).Seconds(), 1.5)
			})
		})
	}
}

// TestPluginThatFailsAtFirst: the process ends twice before it serves.
func TestPluginThatFailsAtFirst(t *testing.T) {
	t.Parallel()
	binary, err := memoryPlugin()
	require.NoError(t, err)
	dir := t.TempDir()
	script := filepath.Join(dir, "plugin")
	require.NoError(t, os.WriteFile(script, []byte(`#!/bin/sh
for n in 1 2; do
	if mkdir "`+dir+`/tried$n" 2>/dev/null; then exit 3; fi
done
exec "`+binary+`" "$@"
`), 0o700)) //nolint:gosec // it is to be executed
	c, err := chain.Open(t.Context(), chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Plugin: script}}})
	require.NoError(t, err)
	_, err = c.Start(t.Context(), chain.Workflow{ID: "w", Kind: "call"})
	require.NoError(t, err)
	require.NoError(t, c.Close(t.Context()))
}
