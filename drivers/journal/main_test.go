// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A history takes a millisecond, and the rarest faults need many; -rapid.checks
	// on the command line comes later and so prevails.
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}
