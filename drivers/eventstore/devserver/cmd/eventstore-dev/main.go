// SPDX-License-Identifier: Apache-2.0

// Command eventstore-dev runs the EventStoreDB development server. It is for development and tests, not for
// production.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := devserver.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
