// SPDX-License-Identifier: Apache-2.0

// Command understudy-contract checks any driver that is built as a plugin against
// the whole contract suite:
//
//	understudy-contract -plugin ./my-driver [-config my.yaml] [-run Area/Case] [-report report.json] [-v]
//
// The exit status is 0 if every case passed or is excused in the configuration
// file, 1 if one failed, and 2 for bad use.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/understudy-dev/understudy/plugins"
)

// Exit statuses.
const (
	exitPassed = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	status := max(run(ctx, os.Args[1:], os.Stdout, os.Stderr), end(os.Stderr))
	stop()
	os.Exit(status)
}

// closeTimeout bounds how long plugins may take to end.
const closeTimeout = 10 * time.Second

// end ends every plugin that a case has left behind. Its context is its own: it
// has to work after a Ctrl-C.
func end(stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := plugins.CloseAll(ctx); err != nil {
		_, _ = fmt.Fprintf(stderr, "understudy-contract: end the plugins: %v\n", err)
		return exitFailed
	}
	return exitPassed
}

// run is the program; it returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout)
	if err != nil || o == nil {
		return complain(stderr, err)
	}
	c, err := newCheck(ctx, o, stdout, stderr)
	if err != nil {
		return complain(stderr, err)
	}
	return c.run(ctx)
}
