// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/understudy-dev/understudy/driver"
)

// profile says what the generated histories may hold.
type profile struct {
	pass   bool // the clock can be moved
	reopen bool // connections can be opened anew
	// alike leaves out where the contract gives stores a choice that shows: claims
	// take all there is, nothing expires, and nobody has seen too much.
	alike bool
	// chain leaves out what Harness.Chain does, and what expires: the caller of a
	// chain cannot tell a repeat from what is done anew since it was forgotten.
	chain bool
}

func profileOf(h Harness) profile {
	return profile{pass: h.Advance != nil, reopen: h.Has(driver.CapShared), chain: h.Chain}
}

// histories generates histories of about 30 steps: a list of lists, since rapid
// takes out elements of both when it looks for a shorter one.
func (p profile) histories() *rapid.Generator[[]Step] {
	parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(p.step), 1, 12), 1, 12)
	return rapid.Map(parts, func(parts [][]Step) []Step { return slices.Concat(parts...) })
}

// The operations, each as often as its weight says.
var weighted = []Op{
	OpCommit, OpCommit, OpCommit, OpCommit, OpCommit, OpCommit, OpCommit, OpClaim, OpClaim, OpClaim, OpMerge, OpMerge, OpMerge,
	OpRepeat, OpRepeat, OpGet, OpList, OpAdvance, OpEpoch, OpProbe,
}

// What a chain does not offer, see Harness.Chain, and the end of its hosts, which
// would leave no time to bring a link back.
var notOfAChain = []Op{OpMerge, OpAdvance, OpProbe, OpReopen}

func (p profile) step(t *rapid.T) Step {
	ops := slices.Clip(weighted)
	if p.pass {
		ops = append(ops, OpPass)
	}
	if p.reopen {
		ops = append(ops, OpReopen)
	}
	if p.chain {
		ops = slices.DeleteFunc(ops, func(op Op) bool { return slices.Contains(notOfAChain, op) })
	}
	s := Step{Op: rapid.SampledFrom(ops).Draw(t, "op"), Host: rapid.IntRange(0, historyHosts-1).Draw(t, "host")}
	switch s.Op {
	case OpCommit, OpMerge:
		s.Clock = rapid.SampledFrom([]int{0, 0, -90, 15, 4000}).Draw(t, "clock")
		writes := rapid.Custom(func(t *rapid.T) Write { return p.write(t, s.Op) })
		if s.Writes = rapid.SliceOfN(writes, 1, 4).Draw(t, "writes"); p.chain {
			s.Writes = oncePerID(s.Writes)
		}
	case OpClaim:
		s.Kinds = someKinds(t, 1)
		s.Limit, s.Ticks = driver.MaxBatch, rapid.IntRange(1, 3).Draw(t, "lease")
		if !p.alike {
			s.Limit = rapid.IntRange(1, 4).Draw(t, "limit")
		}
		s.Fault = rarely(t, requestFaults)
	case OpGet:
		s.IDs = rapid.SliceOfN(rapid.SampledFrom(historyIDs), 1, 4).Draw(t, "ids")
		s.Fault = rarely(t, requestFaults)
	case OpList:
		s.Limit = rapid.IntRange(1, 4).Draw(t, "limit")
		if s.Kinds = someKinds(t, 0); len(s.Kinds) == 0 {
			s.Limit = driver.MaxBatch // other histories are in the list
		}
		s.Statuses = rapid.SliceOfN(rapid.SampledFrom(statuses), 0, 3).Draw(t, "statuses")
		s.Fault = rarely(t, requestFaults)
	case OpAdvance:
		s.Number = rapid.IntRange(0, 2).Draw(t, "number")
		s.State = driver.EpochState(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "state"))
		s.InSync = rapid.SampledFrom([][]string{nil, {"two"}, {"three", "two"}}).Draw(t, "in sync")
		s.Fault = rarely(t, requestFaults)
	case OpRepeat:
		s.Back = rapid.IntRange(1, 6).Draw(t, "back")
		s.Restamp = rapid.Bool().Draw(t, "restamp")
		return s
	case OpPass:
		s.Host, s.Ticks = 0, rapid.IntRange(1, 3).Draw(t, "ticks")
		return s
	case OpEpoch, OpProbe, OpReopen:
		return s
	}
	if p.chain {
		return s // nobody names its epochs, or has seen its marks
	}
	s.Epoch = rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 0, 1, -1}).Draw(t, "epoch")
	s.Seen = rapid.SampledFrom([]string{"", "all", "", "all", "", "all", "", "all", "ahead", "other"}).Draw(t, "seen")
	if p.alike && s.Seen != "all" {
		s.Seen = ""
	}
	return s
}

// oncePerID leaves out further writes of an id: the callers of a chain make one
// transition of a workflow after the other.
func oncePerID(writes []Write) []Write {
	byID := func(a, b Write) int { return strings.Compare(a.ID, b.ID) }
	return slices.CompactFunc(slices.SortedStableFunc(slices.Values(writes), byID), func(a, b Write) bool { return a.ID == b.ID })
}

var (
	historyIDs = []string{"a", "b", "c", "d", "e", "f"}
	statuses   = []driver.Status{driver.Ready, driver.Leased, driver.Waiting, driver.Succeeded, driver.Failed, driver.Cancelled, driver.Held}
)

func (p profile) write(t *rapid.T, op Op) Write {
	w := Write{
		ID:    rapid.SampledFrom(historyIDs).Draw(t, "id"),
		To:    rapid.SampledFrom(append(statuses, driver.Ready, driver.Ready, driver.Leased)).Draw(t, "to"),
		Due:   rapid.IntRange(-2, 3).Draw(t, "due"),
		Skip:  rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, -1, 1, -9}).Draw(t, "skip"),
		Stale: rapid.IntRange(0, 9).Draw(t, "stale") == 9,
		Size:  rapid.SampledFrom([]int{0, 0, 1, 40, 3000}).Draw(t, "size"),
		Fault: rarely(t, recordFaults),
	}
	switch {
	case op == OpMerge:
		w.Skip = rapid.IntRange(-2, 3).Draw(t, "jump")
		w.Epoch = rapid.SampledFrom([]int{0, 0, 0, -1, 1}).Draw(t, "record epoch")
	case w.Fault == "" && !p.chain && rapid.IntRange(0, 19).Draw(t, "other epoch") == 19:
		w.Epoch = -1
	}
	if w.To == driver.Waiting {
		w.Idle = rapid.Bool().Draw(t, "idle")
	}
	if w.To.Finished() {
		w.Expires = rapid.SampledFrom([]int{0, 1, 2, -1, 100}).Draw(t, "expires")
		if (p.alike || p.chain) && w.Expires < 100 {
			w.Expires = 0
		}
	}
	return w
}

// someKinds draws a list of kinds of at least least.
func someKinds(t *rapid.T, least int) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), least, 2, rapid.ID[string]).Draw(t, "kinds")
}

// rarely draws a fault, or mostly none.
func rarely(t *rapid.T, faults []string) string {
	if rapid.IntRange(0, 19).Draw(t, "faulty") < 19 {
		return ""
	}
	return rapid.SampledFrom(faults).Draw(t, "fault")
}
