// SPDX-License-Identifier: Apache-2.0

//go:build faults

package chain_test

import (
	"testing"
	"time"
)

// TestSuiteOverPluginsInEveryArea is TestSuiteOverPlugins with all cases.
func TestSuiteOverPluginsInEveryArea(t *testing.T) {
	t.Parallel()
	runOverPlugins(t, 2*time.Minute, 100)
}
