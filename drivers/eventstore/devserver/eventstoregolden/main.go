// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes of the program.
const (
	exitEqual = 0
	exitDiffs = 1
	exitError = 2
)

const usage = `usage: eventstoregolden [flags] record  [-out golden.json]
       eventstoregolden [flags] compare [-golden golden.json] [-ignore-messages] [-out new.json]
       eventstoregolden [flags] bench   [-out bench.json] [-part 5s] [-events 100000] [-parts 12345678]
       eventstoregolden [flags] list
flags (before or after the subcommand):
`

// options are the command line.
type options struct {
	cfg            Config
	golden, out    string
	ignoreMessages bool
	bench          BenchOptions
}

func (o *options) flags(stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("eventstoregolden", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.cfg.URL, "url", "127.0.0.1:2113", "host:port of the server (a leading esdb:// and a query are ignored)")
	fs.StringVar(&o.cfg.CA, "tls-ca", "", "PEM file of the CA; its presence turns TLS on")
	fs.StringVar(&o.cfg.User, "user", "", "user for basic authentication")
	fs.StringVar(&o.cfg.PasswordFile, "password-file", "", "file that holds the password for basic authentication")
	fs.DurationVar(&o.cfg.Idle, "idle", 700*time.Millisecond, "a subscription is taken as quiet after this long; raise it for a slow server")
	fs.IntVar(&o.cfg.Parallel, "parallel", 4, "cases run at a time (cases about the whole log always run alone)")
	fs.StringVar(&o.cfg.Only, "only", "", "run only the cases whose area/name matches this expression")
	fs.StringVar(&o.cfg.Skip, "skip", "", "leave out the cases whose area/name matches this expression")
	fs.BoolVar(&o.cfg.Verbose, "v", false, "print each case as it runs")
	fs.StringVar(&o.out, "out", "", "file to write; compare writes none without it")
	fs.StringVar(&o.golden, "golden", "golden.json", "file to compare with")
	fs.BoolVar(&o.ignoreMessages, "ignore-messages", false, "do not compare the human-readable texts of errors")
	fs.DurationVar(&o.bench.Part, "part", 5*time.Second, "time for each measurement")
	fs.IntVar(&o.bench.Events, "events", 100000, "events in the stream that is read back")
	fs.StringVar(&o.bench.Parts, "parts", "12345678", "which of the eight parts to run")
	return fs
}

// run is the program: it returns 0, or 1 when a case differs, or 2 after an error.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	fs := o.flags(stderr)
	if fs.Parse(args) != nil {
		return exitError
	}
	command := fs.Arg(0)
	if fs.NArg() > 0 && fs.Parse(fs.Args()[1:]) != nil {
		return exitError
	}
	if err := o.cfg.prepare(); err != nil {
		return fail(stderr, err)
	}
	switch command {
	case "list":
		return list(&o, stdout, stderr)
	case "record":
		return recordTo(ctx, &o, stdout, stderr)
	case "compare":
		return compareWith(ctx, &o, stdout, stderr)
	case "bench":
		if err := bench(ctx, &o.cfg, o.bench, or(o.out, "bench.json"), stdout); err != nil {
			return fail(stderr, err)
		}
		return exitEqual
	}
	fs.Usage()
	return exitError
}

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "eventstoregolden:", err)
	return exitError
}

func list(o *options, stdout, stderr io.Writer) int {
	chosen, err := selected(&o.cfg)
	if err != nil {
		return fail(stderr, err)
	}
	for _, c := range chosen {
		fmt.Fprintln(stdout, c.Area+"/"+c.Name)
	}
	return exitEqual
}

func recordTo(ctx context.Context, o *options, stdout, stderr io.Writer) int {
	out := or(o.out, "golden.json")
	g, err := record(ctx, &o.cfg, out, stderr)
	if err == nil {
		err = save(out, g)
	}
	if err != nil {
		return fail(stderr, err)
	}
	fmt.Fprintf(stdout, "%d cases written to %s\n", len(g.Cases), out)
	return exitEqual
}

func compareWith(ctx context.Context, o *options, stdout, stderr io.Writer) int {
	old, err := load(o.golden)
	if err != nil {
		return fail(stderr, err)
	}
	now, err := record(ctx, &o.cfg, o.out, stderr)
	if err == nil && o.out != "" {
		err = save(o.out, now)
	}
	if err != nil {
		return fail(stderr, err)
	}
	c := compare(old, now, o.ignoreMessages)
	c.print(stdout)
	if len(c.different) > 0 {
		return exitDiffs
	}
	return exitEqual
}

func load(path string) (Golden, error) {
	var g Golden
	b, err := os.ReadFile(path)
	if err != nil {
		return g, fmt.Errorf("golden file: %w", err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		return g, fmt.Errorf("golden file %s: %w", path, err)
	}
	return g, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
