// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// raced makes the calls on one record of a history, each by a caller of its own.
type raced struct{ calls []porcupine.Operation }

func (r *raced) add(from, to int64, in raceCall, out raceAnswer) {
	in.again = true
	r.calls = append(r.calls, porcupine.Operation{ClientId: len(r.calls), Input: in, Call: from, Output: out, Return: to})
}

// commit adds one of a record that is claimable at once if the due time is past.
func (r *raced) commit(from, to int64, revision uint64, token, base byte, due time.Duration, out raceAnswer) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	record := driver.Record{Revision: revision, Token: driver.Token{token}, Updated: at, Due: at.Add(due)}
	r.add(from, to, raceCall{op: OpCommit, next: driver.Transition{Base: driver.Token{base}, Record: record}}, out)
}

func wrote(revision uint64, token byte) raceAnswer {
	return raceAnswer{applied: true, revision: revision, token: driver.Token{token}}
}

func saw(class driver.Class, revision uint64, token byte) raceAnswer {
	return raceAnswer{class: class, revision: revision, token: driver.Token{token}}
}

func TestWhatCallsMayHaveSeenBeforeAFailover(t *testing.T) {
	t.Parallel()
	const past, future = -time.Hour, time.Hour
	// A link takes a revision 2 with token 9 and dies with it; on the other one
	// another revision 2 is first.
	overtaken := func(r *raced) {
		r.commit(0, 10, 1, 1, 0, past, wrote(1, 1))
		r.commit(20, 90, 2, 9, 1, future, saw(driver.Conflict, 2, 2))
		r.commit(30, 80, 2, 2, 1, past, wrote(2, 2))
	}
	get := raceCall{op: OpGet}
	for name, tc := range map[string]struct {
		history                func(r *raced)
		explained, byFailovers bool
	}{
		"nobody saw it":   {func(r *raced) { overtaken(r) }, true, true},
		"a get saw it":    {func(r *raced) { overtaken(r); r.add(25, 35, get, saw(0, 2, 9)) }, false, true},
		"a commit saw it": {func(r *raced) { overtaken(r); r.commit(25, 35, 2, 7, 1, past, saw(driver.Conflict, 2, 9)) }, false, true},
		"a commit was overtaken by it, or had been done before": {func(r *raced) {
			r.commit(0, 10, 1, 1, 0, past, saw(driver.Conflict, 2, 9)) // nobody else has told of revision 1
			r.commit(5, 90, 2, 9, 1, future, saw(driver.Conflict, 2, 2))
			r.commit(30, 80, 2, 2, 1, past, wrote(2, 2))
		}, true, true},
		"a claim saw nothing due": {func(r *raced) {
			overtaken(r)
			r.add(25, 35, get, saw(0, 2, 9))
			r.add(26, 36, raceCall{op: OpClaim, who: driver.Token{7}}, raceAnswer{})
		}, false, true},
		"a get saw it when it was so": {func(r *raced) { overtaken(r); r.add(91, 95, get, saw(0, 2, 9)) }, false, false},
		"a get saw it too early":      {func(r *raced) { overtaken(r); r.add(11, 19, get, saw(0, 2, 9)) }, false, false},
		"a get saw what nobody made":  {func(r *raced) { overtaken(r); r.add(25, 35, get, saw(0, 2, 8)) }, false, false},
		"a get saw the past":          {func(r *raced) { overtaken(r); r.add(91, 95, get, saw(0, 1, 1)) }, false, false},
		"two have won": {func(r *raced) {
			r.commit(0, 10, 1, 1, 0, past, wrote(1, 1))
			r.commit(0, 10, 1, 2, 0, past, wrote(1, 2))
		}, false, false},
		"a claim saw nothing due afterwards": {func(r *raced) {
			overtaken(r)
			r.add(91, 95, raceCall{op: OpClaim, who: driver.Token{7}}, raceAnswer{})
			r.add(96, 97, get, saw(0, 2, 2))
		}, false, false},
		"a claim was done, and not given when it was sent again": {func(r *raced) {
			r.commit(0, 10, 1, 1, 0, past, wrote(1, 1))
			r.add(20, 90, raceCall{op: OpClaim, who: driver.Token{2}}, raceAnswer{})
			r.commit(30, 80, 3, 3, 2, past, wrote(3, 3))
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r raced
			tc.history(&r)
			require.Equal(t, tc.explained, porcupine.CheckOperations(raceModel(), r.calls))
			require.Equal(t, tc.byFailovers, porcupine.CheckOperations(raceModel(), withoutOvertaken(r.calls)))
		})
	}
}
