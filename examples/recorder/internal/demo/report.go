// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
)

// Report is what came of it.
type Report struct {
	Lines         int            `json:"lines"`     // of Master.csv
	Archived      int            `json:"archived"`  // calls in the index
	SetAside      map[string]int `json:"set_aside"` // lines by reason
	Lost          int            `json:"lost"`      // lines of which nothing is known
	DoneTwice     int            `json:"done_twice"`
	LongestWaitMS float64        `json:"longest_wait_ms"` // of any call to the chain
	Failovers     []Failover     `json:"failovers"`
	ElapsedMS     float64        `json:"elapsed_ms"`
	Problems      []string       `json:"problems"` // empty: everything is as it must be
}

// OK reports whether everything is as it must be.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *Report) addWaits(intake *host.Intake, pools ...*pool) {
	_, longest := intake.Progress()
	for _, p := range pools {
		waited, _ := p.seen()
		longest = max(longest, waited)
	}
	r.LongestWaitMS = ms(longest)
}

// addFailovers adds the failovers that the intake and the pools decided. The story has exactly one.
func (r *Report) addFailovers(intake []Failover, pools ...*pool) {
	r.Failovers = intake
	for _, p := range pools {
		_, decided := p.seen()
		r.Failovers = append(r.Failovers, decided...)
	}
	if len(r.Failovers) != 1 {
		r.problem("%d failovers, want 1", len(r.Failovers))
	}
}

func (r *Report) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o644)
}

// Print prints the report as a table.
func (r *Report) Print(out io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteString("\n")
	row("calls", "%d", r.Lines)
	row("archived", "%d", r.Archived)
	aside := 0
	for _, n := range r.SetAside {
		aside += n
	}
	row("set aside", "%d", aside)
	for _, reason := range slices.Sorted(maps.Keys(r.SetAside)) {
		row("", "%3d %s", r.SetAside[reason], reason)
	}
	row("lost", "%d", r.Lost)
	row("done twice", "%d", r.DoneTwice)
	row("longest wait", "%s of any call to the chain", span(r.LongestWaitMS))
	for _, f := range r.Failovers {
		row("failover", "%s → %s, decided by %s after %s and %d failed attempts, %d calls waiting", f.From, f.To, f.Host, span(f.ElapsedMS), f.Attempts, f.InFlight)
		row("", "cause: %s", f.Cause)
	}
	row("took", "%s", span(r.ElapsedMS))
	for _, problem := range r.Problems {
		row("WRONG", "%s", problem)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func span(ms float64) string {
	return (time.Duration(ms*1000) * time.Microsecond).Round(time.Millisecond).String()
}
