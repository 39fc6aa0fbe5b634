// SPDX-License-Identifier: Apache-2.0

// Command sampledata lays out voice files as the recorder of a telephone system would leave them: recordings by day, a Master.csv
// that describes them, some spoilt on purpose, and expected.json, which says what must come of each line.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var o sample.Options
	flags := flag.NewFlagSet("sampledata", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.Sounds, "sounds", "", "`folder` with voice files (.wav)")
	flags.StringVar(&o.Out, "out", "", "`folder` to fill: new, empty, or filled by this program before")
	flags.IntVar(&o.Calls, "calls", 0, "`number` of calls; 0: one for each voice file")
	flags.Uint64Var(&o.Seed, "seed", 1, "`seed` of the choice of times, numbers and faults; the same seed gives the same data")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if missing := cmp.Or(need("-sounds", o.Sounds), need("-out", o.Out), noArguments(flags)); missing != "" {
		fmt.Fprintln(stderr, "sampledata:", missing)
		return 2
	}
	expected, err := sample.Generate(o)
	if err != nil {
		fmt.Fprintln(stderr, "sampledata:", err)
		return 1
	}
	fmt.Fprintf(stdout, "%s: %d lines in Master.csv, %d calls to archive, %d lines to set aside (see %s)\n",
		o.Out, expected.Lines, expected.Archived, len(expected.SetAside), sample.ExpectedFile)
	return 0
}

func need(flag, value string) string {
	if value == "" {
		return "give " + flag + " FOLDER"
	}
	return ""
}

func noArguments(flags *flag.FlagSet) string {
	if flags.NArg() > 0 {
		return fmt.Sprintf("unexpected argument %q; there are only flags", flags.Arg(0))
	}
	return ""
}
