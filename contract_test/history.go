// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// A history is a list of steps that several hosts take one after the other on
// one chain. Steps are symbolic: they say "the host's next revision of a" or "due
// in three ticks", and become requests from what the host knows when it is its
// turn, so that a history means the same on every driver and stays meaningful
// when steps are taken out of it.
//
// A host knows what stores have answered to it and nothing else; what it builds
// on may be stale.

// Op is what a [Step] does.
type Op string

// The operations.
const (
	OpCommit  Op = "commit"
	OpClaim   Op = "claim"
	OpGet     Op = "get"
	OpList    Op = "list" // all pages
	OpMerge   Op = "merge"
	OpEpoch   Op = "epoch"
	OpAdvance Op = "advance"
	OpProbe   Op = "probe"
	OpRepeat  Op = "repeat" // sends the mutation of an earlier step again
	OpPass    Op = "pass"   // the clock of the store moves on by Ticks; needs Harness.Advance
	OpReopen  Op = "reopen" // the host closes its connection and opens another; needs CapShared
)

// Step is one step of a history. The zero value of each field means "as it should
// be": no fault, the present epoch, nothing seen.
type Step struct {
	Op       Op
	Host     int             // who takes it: 0–2
	Clock    int             // minutes that the host's clock is off
	Epoch    int             // added to the number of the epoch that the host believes in
	Seen     string          // what the host says it has seen: nothing, "all", "ahead" or "other" (of another incarnation)
	Writes   []Write         // commit, merge
	IDs      []string        // get
	Kinds    []string        // claim, list
	Statuses []driver.Status // list
	Limit    int             // claim, list
	Ticks    int             // claim: the lease; pass: how far
	State    driver.EpochState
	Number   int      // advance: added to the number that the host knows; 0 is the next version of it
	InSync   []string // advance
	Back     int      // repeat: how many steps back
	Restamp  bool     // repeat: in the epoch that the host believes in now
	Fault    string   // how the request breaks a rule; see faultRequest
}

// Write is one record of a commit or a merge: the successor of what the host
// knows of the id, or the first revision if it knows nothing.
type Write struct {
	ID      string
	To      driver.Status
	Skip    int    // added to the revision; it stays at least 1
	Stale   bool   // the base is not the token the host knows
	Epoch   int    // added to the epoch of the request
	Due     int    // in ticks from the begin of the history; 0 is past
	Idle    bool   // Waiting without a due time
	Expires int    // in ticks from the begin; 0: never
	Size    int    // bytes of state
	Fault   string // how the record breaks a rule; see faultRecord
}

const (
	historyHosts = 3
	// A tick is long against the time a history takes, and every instant that a
	// history names lies in the middle between two ticks. So it is the same for
	// all that comes to pass whether the clock of a store stands still or runs.
	tick = 10 * time.Minute
	// Who stays within this of the expected time has the right time.
	clockTolerance = 2 * time.Minute
)

// Replay plays one history on the driver of h and fails t at the first step whose
// outcome is not that of the reference model. It is what a failure of the
// model-based cases prints, to be kept as a test.
func Replay(t T, h Harness, history []Step) {
	t.Helper()
	e := newEnv(t, h)
	t.Cleanup(func() { e.closeAll(e.closeTime()) })
	s := newStage(e)
	if err := s.check(history); err != nil {
		require.NoError(t, err, "replay of %d steps", len(history))
	}
}

// stage is a chain with its hosts' connections, on which histories are played one
// after the other.
type stage struct {
	e      *env
	stores [historyHosts]driver.Store
	marks  driver.Marks // all that was ever seen of the chain
	played int
}

func newStage(e *env) *stage {
	e.Helper()
	s := &stage{e: e}
	first := e.open()
	s.stores[0] = first.Store
	for i := 1; i < historyHosts; i++ {
		s.stores[i] = e.share(first).Store
	}
	return s
}

// check plays a history against the reference model.
func (s *stage) check(history []Step) error {
	s.e.Helper()
	p, err := newPlayer(s)
	if err != nil {
		return err
	}
	ref := newReference(p)
	feed, err := p.feedBegins()
	if err != nil {
		return err
	}
	for i, step := range slices.Concat(history, lastLook()) {
		req, err := p.take(i, step)
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i, step, err)
		}
		if req == nil {
			continue
		}
		got := p.send(step.Host, req)
		if err := ref.compare(p, req, got); err != nil {
			return fmt.Errorf("step %d, %s:\n%w", i, step, err)
		}
		p.learn(i, step.Host, req, got)
	}
	if feed != "" {
		return p.feedEnds(feed, ref)
	}
	return nil
}

// lastLook is what ends every history: the final state, seen from all sides.
func lastLook() []Step {
	return []Step{
		{Op: OpList, Host: 0, Limit: driver.MaxBatch, Kinds: []string{"x", "y"}},
		{Op: OpGet, Host: historyHosts - 1, IDs: historyIDs},
		{Op: OpEpoch, Host: 1},
	}
}

// kindOf returns the kind of an id: a store may rely on it that the kind of a
// record never changes.
func kindOf(id string) string {
	if id <= "c" {
		return "x"
	}
	return "y"
}
