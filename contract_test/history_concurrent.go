// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// The concurrent variant: several hosts commit, claim and get the same few
// records at once, each record of a kind of its own, and porcupine looks for an
// order of the calls that explains every answer.

const (
	racers    = 6
	callsEach = 60
	racedIDs  = 3
)

// racing is the state of one record as far as the calls can tell.
type racing struct {
	revision  uint64
	token     driver.Token
	claimable bool
}

// raceCall is a call on one record.
type raceCall struct {
	op   Op
	id   string
	next driver.Transition // commit
	who  driver.Token      // claim: its token
	// may have been sent again, which only a chain does: what it has done may then
	// be overtaken by the time of the answer, and what it has claimed not be given.
	again bool
}

// raceAnswer is what came back: whether it had an effect, and the record seen.
type raceAnswer struct {
	class    driver.Class
	applied  bool
	revision uint64 // of the record that came back, 0 if none did
	token    driver.Token
	unknown  bool
}

// String returns a as it stands in a list of calls.
func (a raceAnswer) String() string {
	switch {
	case a.class != 0 && a.revision == 0:
		return a.class.String()
	case a.class != 0:
		return fmt.Sprintf("%s with revision %d, token %.4s", a.class, a.revision, a.token)
	case a.revision == 0:
		return "nothing"
	}
	return fmt.Sprintf("revision %d, token %.4s, applied %t", a.revision, a.token, a.applied)
}

func historyIsLinearizable(e *env) {
	first := e.open()
	stores := []*conn{first, e.share(first), e.share(first)}
	now, begin := first.now(), time.Now()
	var mu sync.Mutex
	var calls []porcupine.Operation
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					e.Errorf("a call panicked: %v\n%s", p, debug.Stack())
				}
			}()
			<-start
			r := racer{e: e, c: stores[i%len(stores)], known: map[string]driver.Record{}, now: now}
			for range callsEach {
				in := r.choose()
				called := time.Since(begin).Nanoseconds()
				out := r.call(in)
				op := porcupine.Operation{ClientId: i, Input: in, Call: called, Output: out, Return: time.Since(begin).Nanoseconds()}
				mu.Lock()
				calls = append(calls, op)
				mu.Unlock()
			}
		})
	}
	close(start)
	wg.Wait()
	for i := range calls { // the effect of an unknown outcome may come at any later time
		if out, ok := calls[i].Output.(raceAnswer); ok && out.unknown {
			calls[i].Return = time.Since(begin).Nanoseconds()
		}
	}
	model, explainTime := raceModel(), max(10*time.Second, e.h.timeout()/6)
	for id, part := range byRaced(calls) {
		if e.h.Failovers {
			part = withoutOvertaken(part)
		}
		switch porcupine.CheckOperationsTimeout(model, part, explainTime) {
		case porcupine.Ok:
		case porcupine.Illegal:
			require.Fail(e, "no order of the calls explains the answers", "record %q, in the order of the calls:\n%s", id, describeCalls(model, part))
		default:
			require.Fail(e, "undecided", "porcupine found no order of %d calls within %s, nor that there is none", len(part), explainTime)
		}
	}
}

// racer is one of those who call at once.
type racer struct {
	e     *env
	c     *conn
	known map[string]driver.Record
	now   time.Time
}

// choose makes a call out of what the racer knows.
func (r *racer) choose() raceCall {
	in := raceCall{again: r.e.h.Chain, id: fmt.Sprintf("raced-%d", rand.IntN(racedIDs))}
	switch n := rand.IntN(10); {
	case n < 3:
		in.op = OpGet
	case n < 5:
		in.op, in.who = OpClaim, driver.NewToken()
	default:
		in.op, in.next = OpCommit, r.successor(in.id)
	}
	return in
}

// successor is a transition of the record, mostly to a claimable one.
func (r *racer) successor(id string) driver.Transition {
	rec, base := r.known[id], r.known[id].Token
	rec.ID, rec.Kind, rec.Created, rec.Updated = id, id, driver.Millis(r.now), driver.Millis(r.now)
	rec.Revision++
	rec.Token, rec.Lease, rec.Status = driver.NewToken(), driver.Lease{}, driver.Ready
	rec.Due = driver.Millis(r.now).Add(-time.Hour)
	if rand.IntN(3) == 0 {
		rec.Due = rec.Due.Add(24 * time.Hour)
	}
	if known, ok := r.known[id]; ok {
		rec.Created = known.Created
	}
	return driver.Transition{Base: base, Record: rec}
}

func (r *racer) call(in raceCall) raceAnswer {
	ctx := r.e.Context()
	var out raceAnswer
	var err error
	var seen *driver.Record
	switch in.op {
	case OpGet:
		var resp driver.GetResponse
		if resp, err = r.c.Get(ctx, driver.GetRequest{IDs: []string{in.id}}); len(resp.Records) > 0 {
			seen = &resp.Records[0]
		}
	case OpClaim:
		var resp driver.ClaimResponse
		resp, err = r.c.Claim(ctx, driver.ClaimRequest{Owner: "racer", Token: in.who, Kinds: []string{in.id}, Limit: 1, Lease: time.Hour})
		if len(resp.Records) > 0 {
			seen = &resp.Records[0]
		}
	default:
		var resp driver.CommitResponse
		if resp, err = r.c.Commit(ctx, driver.CommitRequest{Transitions: []driver.Transition{in.next}}); len(resp.Verdicts) > 0 {
			out.applied, err = resp.Verdicts[0].Applied, resp.Verdicts[0].Err
			if out.applied {
				seen = &in.next.Record
			}
		}
		if e, ok := errors.AsType[*driver.Error](err); ok && e.Stored != nil {
			seen = e.Stored
		}
	}
	out.class = driver.ClassOf(err)
	out.unknown = out.class == driver.Unknown
	if seen != nil {
		out.revision, out.token = seen.Revision, seen.Token
		if rand.IntN(3) > 0 { // else it goes on from what is stale by then
			r.known[in.id] = seen.Clone()
		}
	}
	return out
}

func raceModel() porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{racing{}} },
		Step: func(state, input, output any) []any {
			s, sOK := state.(racing)
			in, inOK := input.(raceCall)
			out, outOK := output.(raceAnswer)
			if !sOK || !inOK || !outOK {
				return nil
			}
			return raceStep(s, in, out)
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%s -> %v", describeCall(input), output) },
	}
	return nondeterministic.ToModel()
}

// raceStep returns the states that the call may leave if it gave this answer.
func raceStep(s racing, in raceCall, out raceAnswer) []any {
	after := s
	want := raceAnswer{revision: s.revision, token: s.token}
	switch in.op {
	case OpClaim:
		want = raceAnswer{}
		if s.claimable {
			after = racing{revision: s.revision + 1, token: in.who}
			want = raceAnswer{revision: after.revision, token: after.token}
		}
	case OpCommit:
		next := in.next.Record
		switch {
		case next.Revision == s.revision+1 && in.next.Base == s.token:
			after = racing{revision: next.Revision, token: next.Token, claimable: next.Due.Before(next.Updated)}
			want = raceAnswer{applied: true, revision: next.Revision, token: next.Token}
		case s.revision == 0:
			want.class = driver.NotFound
		case next.Revision == 1:
			want.class = driver.Exists
		default:
			want.class = driver.Conflict
		}
	}
	switch {
	case out.unknown, in.again && in.op == OpCommit && out.class != 0 && out.revision > in.next.Record.Revision:
		return []any{s, after}
	case out == want, in.again && in.op == OpClaim && out == raceAnswer{}:
		return []any{after}
	}
	return nil
}

func byRaced(calls []porcupine.Operation) map[string][]porcupine.Operation {
	parts := map[string][]porcupine.Operation{}
	for _, c := range calls {
		if in, ok := c.Input.(raceCall); ok {
			parts[in.id] = append(parts[in.id], c)
		}
	}
	return parts
}

func describeCall(input any) string {
	in, ok := input.(raceCall)
	switch {
	case !ok:
		return fmt.Sprint(input)
	case in.op == OpClaim:
		return fmt.Sprintf("claim with token %.4s", in.who)
	case in.op == OpCommit:
		return fmt.Sprintf("commit revision %d, token %.4s after %.4s", in.next.Record.Revision, in.next.Record.Token, in.next.Base)
	}
	return string(in.op)
}

func describeCalls(model porcupine.Model, part []porcupine.Operation) string {
	slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, c := range part {
		fmt.Fprintf(&b, "%9s to %9s, caller %d: %s\n", time.Duration(c.Call), time.Duration(c.Return), c.ClientId, model.DescribeOperation(c.Input, c.Output))
	}
	return b.String()
}
