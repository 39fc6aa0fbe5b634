// SPDX-License-Identifier: Apache-2.0

// Command understudy-eventstore is the EventStoreDB driver as a plugin.
package main

import (
	"fmt"
	"os"

	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/plugins"
)

func main() {
	if err := plugins.Serve(eventstore.Driver()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
