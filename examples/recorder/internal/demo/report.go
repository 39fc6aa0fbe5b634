// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// reportFile is the name of the report in its folder.
const reportFile = "report.json"

// Report is what came of it.
type Report struct {
	Lines         int            `json:"lines"`     // of Master.csv
	Started       int            `json:"started"`   // workflows
	Completed     int            `json:"completed"` // workflows that have ended
	Archived      int            `json:"archived"`  // calls in the index
	SetAside      map[string]int `json:"set_aside"` // lines by reason
	Lost          int            `json:"lost"`      // lines of which nothing is known
	DoneTwice     int            `json:"done_twice"`
	LeftBehind    int            `json:"left_behind"`     // workflows that have not ended
	LongestWaitMS float64        `json:"longest_wait_ms"` // of any call to the chain
	Failovers     []Failover     `json:"failovers"`
	Failbacks     []Failback     `json:"failbacks"`
	ElapsedMS     float64        `json:"elapsed_ms"`
	Problems      []string       `json:"problems"` // empty: everything is as it must be
}

// Failover is a failover as the report has it.
type Failover struct {
	AtMS      float64 `json:"at_ms"` // since the first call was due
	Epoch     uint64  `json:"epoch"`
	From      string  `json:"from"`
	To        string  `json:"to"`
	Host      string  `json:"host"` // that decided it
	Cause     string  `json:"cause"`
	Attempts  int     `json:"attempts"`
	ElapsedMS float64 `json:"elapsed_ms"` // from the start of the first attempt that failed
	InFlight  int     `json:"in_flight"`
}

// Failback is a planned switch as the report has it.
type Failback struct {
	AtMS    float64 `json:"at_ms"` // since the first call was due
	Epoch   uint64  `json:"epoch"`
	From    string  `json:"from"`
	To      string  `json:"to"`
	Host    string  `json:"host"`     // that decided it
	PauseMS float64 `json:"pause_ms"` // in which nothing was committed
}

// OK reports whether everything is as it must be.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// addHeard adds what the hosts have told. The story has two failovers and two failbacks.
func (r *Report) addHeard(hosts []*hostProcess, began time.Time) {
	for _, h := range hosts {
		waited, events := h.heard()
		r.LongestWaitMS = max(r.LongestWaitMS, ms(waited))
		for _, e := range events {
			if e.Failover != nil {
				e.Failover.Host, e.Failover.AtMS = e.Host, ms(e.At.Sub(began))
				r.Failovers = append(r.Failovers, *e.Failover)
			}
			if e.Failback != nil {
				e.Failback.Host, e.Failback.AtMS = e.Host, ms(e.At.Sub(began))
				r.Failbacks = append(r.Failbacks, *e.Failback)
			}
		}
	}
	slices.SortFunc(r.Failovers, func(a, b Failover) int { return cmp.Compare(a.Epoch, b.Epoch) })
	slices.SortFunc(r.Failbacks, func(a, b Failback) int { return cmp.Compare(a.Epoch, b.Epoch) })
	if len(r.Failovers) < 2 || len(r.Failbacks) < 2 {
		r.problem("%d failovers and %d failbacks, want 2 of each", len(r.Failovers), len(r.Failbacks))
	}
}

func (r *Report) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, reportFile), append(text, '\n'), 0o644)
}

// Print prints the report as a table.
func (r *Report) Print(out io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteString("\n")
	row("calls", "%d", r.Lines)
	row("started", "%d", r.Started)
	row("completed", "%d", r.Completed)
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
	row("left behind", "%d", r.LeftBehind)
	row("longest wait", "%s of any call to the chain", span(r.LongestWaitMS))
	for _, f := range r.Failovers {
		row("failover", "at %.1f s: %s → %s by %s, %s after the first failure; %d failed attempts, %d calls waited",
			f.AtMS/1000, f.From, f.To, f.Host, span(f.ElapsedMS), f.Attempts, f.InFlight)
		row("", "cause: %s", f.Cause)
	}
	for _, f := range r.Failbacks {
		row("failback", "at %.1f s: %s → %s by %s, with a pause of %s", f.AtMS/1000, f.From, f.To, f.Host, span(f.PauseMS))
	}
	row("took", "%s", span(r.ElapsedMS))
	const most = 20
	for _, problem := range r.Problems[:min(most, len(r.Problems))] {
		row("WRONG", "%s", problem)
	}
	if more := len(r.Problems) - most; more > 0 {
		row("", "and %d more: see %s", more, reportFile)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func span(ms float64) string {
	return (time.Duration(ms*1000) * time.Microsecond).Round(time.Millisecond).String()
}
