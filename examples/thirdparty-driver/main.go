// SPDX-License-Identifier: Apache-2.0

// Command understudy-jsonfile is the jsonfile driver as a plugin.
package main

import (
	"fmt"
	"os"

	"example.com/understudy-jsonfile/jsonfile"
	"github.com/understudy-dev/understudy/plugins"
)

func main() {
	if err := plugins.Serve(jsonfile.Driver()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
