// SPDX-License-Identifier: Apache-2.0

// Command understudy is the operator's program:
//
//	understudy version
//	understudy drivers
//	understudy plugin <driver>
//	understudy config check|show|defaults
//	understudy dev eventstore
//
// The exit status is 0 if all went well, 1 if something failed or was found
// wrong, and 2 for bad use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	_ "github.com/understudy-dev/understudy/drivers/all" // what the program can serve is chosen by build tags
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program; it returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := &program{stdout: stdout, stderr: stderr}
	return p.dispatch(ctx, "understudy", commands(), args)
}

// program is where the commands write to.
type program struct {
	stdout, stderr io.Writer
}

// command is one word of the command line. It has commands of its own, or runs.
type command struct {
	name, args, about string
	run               func(ctx context.Context, p *program, path string, args []string) int
	sub               []command
}

func commands() []command {
	return []command{
		{name: "version", about: "show the version of this program and of the contract", run: version},
		{name: "drivers", about: "list the drivers that are linked into this program", run: drivers},
		{name: "plugin", args: "<driver>", about: "serve a linked driver to the host that starts this program", run: plugin},
		{name: "config", about: "check, show and write configurations", sub: configCommands()},
		{name: "dev", about: "servers for development and tests", sub: devServers()},
	}
}

// dispatch runs the command of list that args name. path is what was typed before.
func (p *program) dispatch(ctx context.Context, path string, list []command, args []string) int {
	if len(list) == 0 {
		fmt.Fprintf(p.stderr, "%s: nothing of it is linked into this program: build without the tag custom\n", path)
		return exitUsage
	}
	if len(args) == 0 {
		p.listCommands(p.stderr, path, list)
		return exitUsage
	}
	word, rest := args[0], args[1:]
	if word == "help" && len(rest) > 0 {
		return p.dispatch(ctx, path, list, append(rest, "-h"))
	}
	if isHelp(word) {
		p.listCommands(p.stdout, path, list)
		return exitOK
	}
	names := make([]string, 0, len(list))
	for _, c := range list {
		if c.name == word && c.run != nil {
			return c.run(ctx, p, path+" "+word, rest)
		}
		if c.name == word {
			return p.dispatch(ctx, path+" "+word, c.sub, rest)
		}
		names = append(names, c.name)
	}
	return p.misuse(path, fmt.Errorf("unknown command %q: want one of %s", word, strings.Join(names, ", ")))
}

func isHelp(word string) bool {
	return word == "help" || word == "-h" || word == "-help" || word == "--help"
}

func (p *program) listCommands(w io.Writer, path string, list []command) {
	fmt.Fprintf(w, "Usage: %s <command>\n\nCommands:\n", path)
	for _, c := range list {
		fmt.Fprintf(w, "  %-18s %s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
	}
	fmt.Fprintf(w, "\n%s <command> -h tells more. Exit status: 0 all well, 1 something failed or is wrong, 2 bad use.\n", path)
}

// flags returns a set of flags for the command at path. Its help is synopsis, then
// the flags.
func flags(path, operands, about string) *flag.FlagSet {
	fs := flag.NewFlagSet(path, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors and help are written by parse
	fs.Usage = func() {
		synopsis := path
		fs.VisitAll(func(*flag.Flag) { synopsis = path + " [flags]" })
		if operands != "" {
			synopsis += " " + operands
		}
		fmt.Fprintf(fs.Output(), "Usage: %s\n\n%s\n", synopsis, about)
		if synopsis != path {
			fs.PrintDefaults()
		}
	}
	return fs
}

// parse reads args into fs, and returns the operands, of which there must be want.
// If done, the command is to end with the status.
func (p *program) parse(fs *flag.FlagSet, args []string, want int) (operands []string, status int, done bool) {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(p.stdout)
		fs.Usage()
		return nil, exitOK, true
	case err != nil:
	case fs.NArg() < want:
		err = errors.New("an argument is missing")
	case fs.NArg() > want:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(want))
	}
	if err != nil {
		return nil, p.misuse(fs.Name(), err), true
	}
	return fs.Args(), exitOK, false
}

// misuse tells of bad use of the command at path.
func (p *program) misuse(path string, err error) int {
	fmt.Fprintf(p.stderr, "%s: %v\n%s -h shows how to use it\n", path, err, path)
	return exitUsage
}

// fail tells that a command at path did not succeed.
func (p *program) fail(path string, err error) int {
	fmt.Fprintf(p.stderr, "%s: %v\n", path, err)
	return exitFailed
}
