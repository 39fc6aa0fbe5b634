// SPDX-License-Identifier: Apache-2.0

// Command recorder archives call recordings over a chain of stores: for each line of an Asterisk Master.csv it verifies
// the recording, computes its checksum, archives it and adds the call to an index. It is the example of a host program,
// and its demo shows what happens when a store and a worker die.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is a subcommand. It returns errUsage for wrong flags, which are then already reported.
type command struct {
	name, about string
	run         func(ctx context.Context, flags *flag.FlagSet, args []string, stdin io.Reader, stdout io.Writer) error
}

var errUsage = errors.New("usage")

var commands = []command{
	{"run", "archive the calls of a folder", runAll},
	{"demo", "the same with failures on purpose, and a check of what came of it", runDemo},
	{"host", "one host of the demo, in a process of its own", runHost},
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				return c.start(ctx, args[1:], stdin, stdout, stderr)
			}
		}
	}
	fmt.Fprintln(stderr, "usage: recorder COMMAND [flags]; flags are listed by recorder COMMAND -help")
	for _, c := range commands {
		fmt.Fprintf(stderr, "  %-5s %s\n", c.name, c.about)
	}
	if len(args) == 1 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help") {
		return 0
	}
	return 2
}

func (c *command) start(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("recorder "+c.name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	err := c.run(ctx, flags, args, stdin, stdout)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintf(stderr, "recorder %s: %v\n", c.name, err)
	return 1
}

// parse parses flags and checks that those named are given.
func parse(flags *flag.FlagSet, args []string, required ...string) error {
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	for _, name := range required {
		if flags.Lookup(name).Value.String() == "" {
			fmt.Fprintf(flags.Output(), "%s: give -%s; see -help\n", flags.Name(), name)
			return errUsage
		}
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(flags.Output(), "%s: unexpected argument %q: there are only flags\n", flags.Name(), flags.Arg(0))
		return errUsage
	}
	return nil
}
