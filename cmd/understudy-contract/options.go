// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"

	contracttest "github.com/understudy-dev/understudy/contract_test"
)

// options is what the command line says.
type options struct {
	plugin   string
	config   string
	report   string
	cases    []contracttest.Case
	parallel int
	verbose  bool
}

const usage = `usage: understudy-contract -plugin FILE [flags]

Checks a driver, built as a plugin, against the contract suite.

`

// parse reads the command line. No options and no error mean that there is
// nothing left to do.
func parse(args []string, stdout io.Writer) (*options, error) {
	var o options
	flags := flag.NewFlagSet("understudy-contract", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.plugin, "plugin", "", "the plugin `binary` to check")
	flags.StringVar(&o.config, "config", "", "a YAML `file` with config (the driver's own section), declares, excuse and timeout")
	flags.StringVar(&o.report, "report", "", "write the outcome of every case to this JSON `file`")
	flags.IntVar(&o.parallel, "parallel", max(4, runtime.GOMAXPROCS(0)), "how many cases run at once")
	flags.BoolVar(&o.verbose, "v", false, "print every case, and the lines of the plugin")
	pattern := flags.String("run", "", "run only the cases that match `Area/Case`, two regular expressions")
	list := flags.Bool("list", false, "print the cases, each with the sentence it checks, and end")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: see understudy-contract -h", err)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q: all options are flags, see understudy-contract -h", flags.Arg(0))
	}
	var err error
	if o.cases, err = choose(*pattern); err != nil {
		return nil, err
	}
	if *list {
		for _, c := range o.cases {
			_, _ = fmt.Fprintf(stdout, "%s\n    %s\n", c.FullName(), c.Sentence)
		}
		return nil, nil
	}
	switch {
	case o.plugin == "":
		return nil, errors.New("-plugin is missing: want the plugin binary to check, see understudy-contract -h")
	case o.parallel < 1:
		return nil, fmt.Errorf("-parallel is %d: want 1 or more", o.parallel)
	}
	return &o, nil
}

// choose returns the cases that match the pattern, as go test -run would.
func choose(pattern string) ([]contracttest.Case, error) {
	cases := contracttest.Cases()
	area, name, _ := strings.Cut(pattern, "/")
	inArea, err := regexp.Compile(area)
	if err != nil {
		return nil, fmt.Errorf("-run %q: %w", pattern, err)
	}
	named, err := regexp.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("-run %q: %w", pattern, err)
	}
	cases = slices.DeleteFunc(cases, func(c contracttest.Case) bool {
		return !inArea.MatchString(c.Area) || !named.MatchString(c.Name)
	})
	if len(cases) == 0 {
		return nil, fmt.Errorf("-run %q matches no case: -list prints them", pattern)
	}
	return cases, nil
}

// complain prints an error in one sentence; nil is none.
func complain(stderr io.Writer, err error) int {
	if err == nil {
		return exitPassed
	}
	_, _ = fmt.Fprintf(stderr, "understudy-contract: %s\n", strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", " "))
	return exitUsage
}
