// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"errors"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A failing history is printed as a test. Files in testdata would be a second and
// poorer form of the same, so they have to be asked for.
func init() { _ = flag.Set("rapid.nofailfile", "true") }

// searchRounds times a hundred histories are played, if the time is enough.
const searchRounds = 4

func historyCases() []Case {
	const area = "History"
	return []Case{
		{Area: area, Name: "MatchesTheModel", run: historyMatchesTheModel,
			Sentence: "Whatever several hosts with clocks of their own do, each answer and the final state are those of the reference model."},
		{Area: area, Name: "IsLinearizable", run: historyIsLinearizable,
			Sentence: "Calls that run at once take effect one after the other, each between its begin and its end: one winner per revision, one holder per lease."},
	}
}

func historyMatchesTheModel(e *env) {
	s := newStage(e)
	history, err := search(e, profileOf(e.h), s.check)
	if err == nil {
		return
	}
	note := "it fails also alone on fresh data"
	alone := newStage(newEnv(e.T, e.h))
	defer alone.e.closeAll(alone.e.closeTime())
	if again := alone.check(history); again == nil {
		note = "alone on fresh data it passes: it needs what the histories before have left in the store"
	}
	e.Errorf("%v\n\nthe shortest such history found, %s:\n\n%s", err, note, goTest(history))
}

// search plays random histories until check fails one, and then looks for a
// shorter one that fails too. Both are bounded by a part of the case's time.
func search(e *env, p profile, check func([]Step) error) ([]Step, error) {
	e.Helper()
	var (
		best  []Step
		fault error
		plays int
		limit = time.Now().Add(e.h.timeout() / 4)
	)
	check = recovering(check)
	run := func(t *rapid.T) {
		switch late := time.Now().After(limit); {
		case late && fault != nil:
			runtime.Goexit() // rapid would try many more; the shortest so far is good enough
		case late:
			return
		}
		history := p.histories().Draw(t, "history")
		plays++
		err := check(history)
		if err == nil {
			return
		}
		if fault == nil {
			limit = time.Now().Add(e.h.timeout() / 6)
		}
		if fault == nil || len(goTest(history)) <= len(goTest(best)) {
			best, fault = history, err
		}
		t.Fatal("the history fails") // always the same words: other ones would be another fault for rapid
	}
	rounds := searchRounds
	if p.chain {
		rounds = 1 // a call of a chain is many of its links
	}
	readyForRapid()
	over := make(chan bool, 1)
	go func() {
		complete := false
		defer func() { over <- complete }()
		defer func() { complete = complete || fault != nil }()
		for range rounds {
			rapid.Check(&quiet{T: e.T}, run) // it ends the goroutine when it has failed
		}
		complete = true
	}()
	if !<-over {
		e.FailNow()
	}
	if plays == 0 {
		return nil, errors.New("no history was played within the time")
	}
	e.Logf("played %d histories", plays)
	if fault == nil {
		return nil, nil
	}
	limit = time.Now().Add(e.h.timeout() / 6)
	for i := len(best) - 1; i >= 0 && time.Now().Before(limit); i-- {
		shorter := without(best, i)
		if err := check(shorter); err != nil {
			best, fault = shorter, err
		}
	}
	return best, fault
}

// recovering returns check with a panic as an error.
func recovering(check func([]Step) error) func([]Step) error {
	return func(history []Step) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("a panic: %v\n%s", p, debug.Stack())
			}
		}()
		return check(history)
	}
}

// without returns the history without step i. Rapid cannot take out what stands
// between a step and its repeat.
func without(history []Step, i int) []Step {
	shorter := slices.Delete(slices.Clone(history), i, i+1)
	for j := i; j < len(shorter); j++ {
		if s := &shorter[j]; s.Op == OpRepeat && j+1-s.Back <= i {
			s.Back--
		}
	}
	return shorter
}

// readyForRapid lets rapid ask for the flags of tests, in programs that are none.
var readyForRapid = sync.OnceFunc(func() {
	if testing.Testing() {
		return
	}
	testing.Init()
	if !flag.Parsed() {
		_ = flag.CommandLine.Parse(nil)
	}
})

// quiet is what rapid sees of a T: what it has to say goes nowhere, since the
// case itself reports what was found.
type quiet struct {
	T
	failed bool
}

var _ rapid.TB = (*quiet)(nil)

func (q *quiet) Logf(string, ...any)   {}
func (q *quiet) Log(...any)            {}
func (q *quiet) Errorf(string, ...any) { q.failed = true }
func (q *quiet) Error(...any)          { q.failed = true }
func (q *quiet) Fail()                 { q.failed = true }
func (q *quiet) Failed() bool          { return q.failed }
func (q *quiet) FailNow()              { q.failed = true; runtime.Goexit() }
func (q *quiet) Fatal(...any)          { q.FailNow() }
func (q *quiet) Fatalf(string, ...any) { q.FailNow() }
func (q *quiet) SkipNow()              { runtime.Goexit() }
func (q *quiet) Skip(...any)           { q.SkipNow() }
func (q *quiet) Skipf(string, ...any)  { q.SkipNow() }
