// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/understudy-dev/understudy/driver"
)

// life is the state of one workflow as far as its callers can tell. What an
// outcome that nobody knows has left there is noToken until somebody sees it.
type life struct {
	revision uint64
	token    driver.Token
	status   driver.Status
	step     string
	lease    driver.Token
	// When it is due is known to a few milliseconds only: a claim may miss it.
	requeued bool
}

var noToken = driver.Token{0xff, 15: 0xff}

// asked is a call.
type asked struct {
	op    string
	step  string       // save
	lease driver.Token // save, succeed, fail: under which
}

// answered is what came back: an error, or the workflow as it then stood.
type answered struct {
	class driver.Class
	seen  life
	first bool // it is of the first attempt of a call that was sent again
}

func stateOf(r *driver.Record) life {
	return life{revision: r.Revision, token: r.Token, status: r.Status, step: r.Step, lease: r.Lease.Token}
}

func lifeModel() porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{life{}} },
		Step: func(state, input, output any) []any {
			s, in, out := state.(life), input.(asked), output.(answered) //nolint:errcheck,forcetypeassert // they are
			return s.after(in, out)
		},
		DescribeOperation: func(input, output any) string {
			in, out := input.(asked), output.(answered) //nolint:errcheck,forcetypeassert // they are
			text := in.op
			if in.step != "" {
				text += " " + in.step
			}
			if in.op == "save" || in.op == "succeed" || in.op == "fail" {
				text += fmt.Sprintf(" under %.4s", in.lease)
			}
			if out.class != 0 {
				return text + " -> " + out.class.String()
			}
			return fmt.Sprintf("%s -> revision %d, token %.4s, %s, step %q, lease %.4s", text, out.seen.revision, out.seen.token,
				out.seen.status, out.seen.step, out.seen.lease)
		},
	}
	return nondeterministic.ToModel()
}

// after returns the states that the call may leave if it gave this answer.
func (s life) after(in asked, out answered) []any {
	next, changes := s.next(in)
	switch out.class {
	case 0:
	case driver.Unknown:
		if changes == nil && next != s {
			return []any{s, next}
		}
		return []any{s}
	case driver.Unavailable: // certainly not done
		return []any{s}
	default:
		if driver.ClassOf(changes) == out.class {
			return []any{s}
		}
		return nil
	}
	if changes != nil {
		return nil
	}
	if in.op == "take" && out.seen == (life{}) { // nothing to claim
		if next == s || s.requeued {
			return []any{s}
		}
		return nil
	}
	if in.op == "take" && next == s {
		return nil
	}
	seen := next.as(out.seen)
	if seen != out.seen {
		return nil
	}
	seen.requeued = next.requeued
	return []any{seen}
}

// as returns s with the tokens of seen where s does not know them.
func (s life) as(seen life) life {
	s.requeued = false
	if s.token == noToken {
		s.token = seen.token
	}
	if s.lease == noToken && seen.lease != (driver.Token{}) {
		s.lease = seen.lease
	}
	return s
}

// next returns the state after the call, or why it is refused, by the transitions
// of package driver. A call that changes nothing leaves the state as it is.
func (s life) next(in asked) (life, error) {
	r := driver.Record{ID: "w", Kind: "w", Revision: s.revision, Token: s.token, Status: s.status, Step: s.step,
		Due: time.Unix(1, 0), Created: time.Unix(1, 0), Updated: time.Unix(1, 0), Attempt: 1}
	if s.status == driver.Leased {
		r.Lease, r.Due = driver.Lease{Owner: "owner", Token: s.lease}, time.Unix(3, 0)
	}
	stamp := driver.Stamp{Token: noToken, Now: time.Unix(2, 0), Lease: in.lease}
	var t driver.Transition
	var err error
	switch in.op {
	case "start":
		if s.revision > 0 {
			return s, nil
		}
		t, err = driver.Start(stamp, driver.Workflow{ID: "w", Kind: "w"})
	case "get":
		return s, s.absent()
	case "cancel":
		if s.status == driver.Cancelled || s.revision == 0 {
			return s, s.absent()
		}
		t, err = driver.Cancel(stamp, r, "", time.Time{})
	case "requeue":
		if s.status == driver.Ready || s.revision == 0 {
			return s, s.absent()
		}
		t, err = driver.Requeue(stamp, r, stamp.Now)
	case "take":
		if s.status != driver.Ready {
			return s, nil // it is leased for longer than the test
		}
		t, err = driver.Claim(stamp, r, "owner", time.Unix(3, 0))
	default:
		t, err = held(in, stamp, r)
	}
	if err != nil {
		return s, err
	}
	after := stateOf(&t.Record)
	after.requeued = in.op == "requeue"
	return after, nil
}

// held is a transition under a lease.
func held(in asked, stamp driver.Stamp, r driver.Record) (driver.Transition, error) {
	switch in.op {
	case "save":
		return driver.Save(stamp, r, in.step, nil, time.Unix(4, 0))
	case "succeed":
		return driver.Succeed(stamp, r, nil, time.Time{})
	default:
		return driver.Fail(stamp, r, driver.Failure{Reason: "test"})
	}
}

func (s life) absent() error {
	if s.revision == 0 {
		return driver.NotFound
	}
	return nil
}
