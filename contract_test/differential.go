// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// Differential plays the same random histories on two drivers and fails t at the
// first answer, or final state, in which they differ; the history is printed as a
// Go test for [ReplayBoth]. Both harnesses must be valid. Histories hold only what
// both can do, and nothing of what the contract leaves to a store: claims take all
// that is due, no record expires, the order of lists is not looked at.
func Differential(t *testing.T, a, b Harness) {
	t.Helper()
	require.NoError(t, a.Validate())
	require.NoError(t, b.Validate())
	e := newEnv(t, a)
	other := newEnv(t, b)
	t.Cleanup(func() { e.closeAll(e.closeTime()); other.closeAll(other.closeTime()) })
	both := pair{newStage(e), newStage(other), a.Advance != nil && b.Advance != nil}
	p := profile{
		alike: true, pass: both.moves,
		reopen: a.Has(driver.CapShared) && b.Has(driver.CapShared),
	}
	if history, err := search(e, p, both.check); err != nil {
		require.NoError(t, err, "the shortest such history found:\n\n%s", strings.Replace(goTest(history), "Replay(t, harness,", "ReplayBoth(t, one, other,", 1))
	}
}

// ReplayBoth plays one history on two drivers and fails t at the first answer in
// which they differ. It is what a failure of [Differential] prints.
func ReplayBoth(t T, a, b Harness, history []Step) {
	t.Helper()
	e, other := newEnv(t, a), newEnv(t, b)
	t.Cleanup(func() { e.closeAll(e.closeTime()); other.closeAll(other.closeTime()) })
	both := pair{newStage(e), newStage(other), a.Advance != nil && b.Advance != nil}
	require.NoError(t, both.check(history), "replay of %d steps", len(history))
}

// pair is two drivers on which the same is played.
type pair struct {
	one, other *stage
	moves      bool // both clocks can be moved
}

func (both *pair) check(history []Step) error {
	one, err := newPlayer(both.one)
	if err != nil {
		return fmt.Errorf("the first driver: %w", err)
	}
	other, err := newPlayer(both.other)
	if err != nil {
		return fmt.Errorf("the second driver: %w", err)
	}
	for i, step := range slices.Concat(history, lastLook()) {
		if step.Op == OpPass && !both.moves {
			continue
		}
		first, err := one.play(i, step)
		if err != nil {
			return fmt.Errorf("step %d, %s: the first driver: %w", i, step, err)
		}
		second, err := other.play(i, step)
		if err != nil {
			return fmt.Errorf("step %d, %s: the second driver: %w", i, step, err)
		}
		if first != second {
			return fmt.Errorf("step %d, %s:\n  the first driver: %s\n  the second driver: %s", i, step, first, second)
		}
	}
	return nil
}

// play takes a step and returns the answer in a form that is the same for all
// stores: without scope, with instants in ticks from the begin.
func (p *player) play(i int, step Step) (string, error) {
	req, err := p.take(i, step)
	if req == nil || err != nil {
		return "", err
	}
	got := p.send(step.Host, req)
	if err := p.checkReceipt(got); err != nil {
		return "", err
	}
	told := p.tell(req, got)
	p.learn(i, step.Host, req, got)
	return told, nil
}

func (p *player) tell(request any, a answer) string {
	if a.err != nil {
		return p.tellError(a.err)
	}
	var b strings.Builder
	for i, v := range a.verdicts {
		fmt.Fprintf(&b, "\n    verdict %s", p.tellError(v.Err))
		if !mergedTwice(request, writtenAt(request, i).ID) {
			fmt.Fprintf(&b, ", applied %t", v.Applied)
		}
	}
	records := slices.Clone(a.records)
	if _, inOrder := request.(driver.GetRequest); !inOrder {
		slices.SortFunc(records, func(x, y driver.Record) int { return cmp.Compare(x.ID, y.ID) })
	}
	for i := range records {
		if strings.HasPrefix(records[i].ID, p.scope) {
			fmt.Fprintf(&b, "\n    record %s", p.tellRecord(&records[i]))
		}
	}
	if _, isClaim := request.(driver.ClaimRequest); isClaim {
		fmt.Fprintf(&b, "\n    next due %s", p.tellTime(a.next))
	}
	fmt.Fprintf(&b, "\n    epoch %s", p.tellEpoch(&a.epoch))
	return b.String()
}

func (p *player) tellError(err error) string {
	if err == nil {
		return "nil"
	}
	e, class := details(err), driver.ClassOf(err)
	told := class.String()
	if e.Epoch != nil && (class == driver.Fenced || class == driver.Conflict) {
		told += " with epoch " + p.tellEpoch(e.Epoch)
	}
	if e.Stored != nil && (class == driver.Exists || class == driver.Conflict) {
		told += " with record " + p.tellRecord(e.Stored)
	}
	return told
}

// tellEpoch leaves out the number, which depends on what was played before, but
// for how far it is from that at the begin.
func (p *player) tellEpoch(e *driver.Epoch) string {
	return fmt.Sprintf("%+d.%d token %s %s %s %q %v", int64(e.Number)-int64(p.base.Number), e.Version, p.tellToken(e.Token), e.Active, e.State, e.InSync, e.Incarnations)
}

func (p *player) tellRecord(r *driver.Record) string {
	c := r.Clone()
	id, _ := strings.CutPrefix(c.ID, p.scope)
	c.ID, c.Kind, c.Token, c.Lease.Token, c.Epoch = "", "", driver.Token{}, driver.Token{}, 0
	c.Due, c.Created, c.Updated, c.Expires, c.State = time.Time{}, time.Time{}, time.Time{}, time.Time{}, nil
	return fmt.Sprintf("%s epoch %+d token %s lease %s due %s created %s updated %s expires %s state of %d bytes %x %s",
		id, int64(r.Epoch)-int64(p.base.Number), p.tellToken(r.Token), p.tellToken(r.Lease.Token),
		p.tellTime(r.Due), p.tellTime(r.Created), p.tellTime(r.Updated), p.tellTime(r.Expires), len(r.State), sha256.Sum256(r.State), show(&c))
}

// tellToken returns the part of a token that does not depend on the scope.
func (p *player) tellToken(t driver.Token) string { return t.String()[:16] }

// tellTime returns t in halves of a tick.
func (p *player) tellTime(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprint(t.Sub(p.began).Round(tick / 2))
}
