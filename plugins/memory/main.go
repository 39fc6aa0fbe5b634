// SPDX-License-Identifier: Apache-2.0

// Command understudy-memory is the memory driver as a plugin. It is for tests and
// demonstrations, and the smallest example of a plugin there is.
package main

import (
	"fmt"
	"os"

	"github.com/understudy-dev/understudy/drivers/memory"
	"github.com/understudy-dev/understudy/plugins"
)

func main() {
	if err := plugins.Serve(memory.Driver()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
