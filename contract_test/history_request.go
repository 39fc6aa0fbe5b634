// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// request makes the request of a step out of what the host knows.
func (p *player) request(i int, s Step) (any, error) {
	who := &p.hosts[s.Host]
	guard := driver.Guard{Epoch: uint64(max(0, int(who.epoch.Number)+s.Epoch)), Seen: p.seen(who, s.Seen)}
	var req any
	switch s.Op {
	case OpCommit:
		req = driver.CommitRequest{Guard: guard, Transitions: p.writes(i, s, guard.Epoch)}
	case OpMerge:
		merge := driver.MergeRequest{Guard: guard}
		for _, t := range p.writes(i, s, guard.Epoch) {
			merge.Records = append(merge.Records, t.Record)
		}
		req = merge
	case OpClaim:
		req = driver.ClaimRequest{Guard: guard, Owner: ownerOf(s.Host), Token: p.token(i, 0), Kinds: p.scoped(s.Kinds),
			Limit: s.Limit, Lease: time.Duration(s.Ticks)*tick - tick/2}
	case OpGet:
		req = driver.GetRequest{Seen: guard.Seen, IDs: p.scoped(s.IDs)}
	case OpList:
		req = driver.ListRequest{Seen: guard.Seen, Kinds: p.scoped(s.Kinds), Statuses: s.Statuses, Limit: s.Limit}
	case OpEpoch:
		req = driver.EpochRequest{}
	case OpProbe:
		req = driver.ProbeRequest{Seen: guard.Seen}
	case OpAdvance:
		next := driver.Epoch{Number: who.epoch.Number + uint64(s.Number), Token: p.token(i, 0), Active: "one",
			State: s.State, InSync: s.InSync}
		if s.Number == 0 {
			next.Version = who.epoch.Version + 1
		}
		for n, link := range s.InSync {
			next.Incarnations = append(next.Incarnations, driver.LinkIncarnation{Link: link, Incarnation: 1<<60 + uint64(n)})
		}
		req = driver.AdvanceRequest{Seen: guard.Seen, Expect: who.epoch.At(), Next: next}
	case OpRepeat, OpPass, OpReopen:
		fallthrough
	default:
		return nil, refused(driver.Invalid, "op %q has no request", s.Op)
	}
	return faultRequest(req, s.Fault), nil
}

func ownerOf(h int) string { return "host " + string(rune('0'+h)) }

// seen says what the host claims to have seen.
func (p *player) seen(who *host, how string) driver.Marks {
	switch how {
	case "all":
		return who.seen
	case "ahead", "other":
		marks := slices.Clone(p.marks)
		for i := range marks {
			if how == "ahead" {
				marks[i].Sequence += 1 << 40
			} else {
				marks[i].Incarnation ^= 1 << 20
			}
		}
		return marks
	}
	return nil
}

// writes makes the transitions of a step. One that follows another of the same
// record in the batch builds on it.
func (p *player) writes(i int, s Step, epoch uint64) []driver.Transition {
	var out []driver.Transition
	latest := maps.Clone(p.hosts[s.Host].known)
	for j, w := range s.Writes {
		base, known := latest[w.ID]
		if !known {
			base = p.first(w.ID)
		}
		t := p.write(base, w, s, p.token(i, j), epoch)
		out = append(out, t)
		if w.Fault == "" {
			latest[w.ID] = t.Record
		}
	}
	return out
}

// first is what all revisions of an id have in common, as revision 0.
func (p *player) first(id string) driver.Record {
	r := driver.Record{ID: p.scope + id, Kind: p.scope + kindOf(id), Created: p.at(-100)}
	if id != "a" {
		r.Input = append([]byte{0xff, 0}, id...)
		r.Labels = map[string]string{"id": id, "empty": ""}
	}
	return r
}

func (p *player) write(base driver.Record, w Write, s Step, token driver.Token, epoch uint64) driver.Transition {
	r := base.Clone()
	r.Revision = uint64(max(1, int(base.Revision)+1+w.Skip))
	r.Epoch = uint64(max(0, int(epoch)+w.Epoch))
	r.Token, r.Status = token, w.To
	r.Updated = p.now().Add(time.Duration(s.Clock) * time.Minute)
	r.Due, r.Expires, r.Output, r.Failure = p.at(w.Due), time.Time{}, nil, ""
	if w.To == driver.Waiting && w.Idle || w.To == driver.Held {
		r.Due = time.Time{}
	}
	if w.To.Finished() {
		r.Due = time.Time{}
		if w.Expires != 0 {
			r.Expires = p.at(w.Expires)
		}
		r.Output, r.Failure = []byte("output"), "why"
	}
	if p.e.h.Chain && w.To != driver.Succeeded {
		r.Output = nil // a chain keeps a log of its own there until the workflow has succeeded
	}
	if w.To != driver.Leased {
		r.Lease = driver.Lease{}
	} else {
		r.Attempt++
		if base.Status != driver.Leased {
			r.Lease = driver.Lease{Owner: ownerOf(s.Host), Token: token}
		}
	}
	if w.Size > 0 {
		r.Step, r.State = "step", bytes.Repeat([]byte{0xfe, token[0], 0}, w.Size/3+1)
	}
	t := driver.Transition{Base: base.Token, Record: faultRecord(r, w.Fault)}
	switch {
	case t.Record.Revision == 1:
		t.Base = driver.Token{}
	case w.Stale || t.Base.IsZero():
		t.Base = driver.Token{15: 1}
	}
	return t
}

// restamp returns the mutation as it is sent again in another epoch.
func restamp(request any, epoch uint64) any {
	switch req := request.(type) {
	case driver.CommitRequest:
		req.Epoch = epoch
		req.Transitions = slices.Clone(req.Transitions)
		for i := range req.Transitions {
			req.Transitions[i].Record.Epoch = epoch
		}
		return req
	case driver.MergeRequest:
		req.Epoch = epoch
		return req
	case driver.ClaimRequest:
		req.Epoch = epoch
		return req
	}
	return request
}

// The ways in which records and requests break a rule.
var (
	recordFaults  = []string{"token", "due", "kind", "large", "status", "expires", "time"}
	requestFaults = []string{"limit", "empty"}
)

func faultRecord(r driver.Record, fault string) driver.Record {
	switch fault {
	case "token":
		r.Token = driver.Token{}
	case "due":
		r.Status, r.Lease, r.Due, r.Expires = driver.Ready, driver.Lease{}, time.Time{}, time.Time{}
	case "kind":
		r.Kind = ""
	case "large":
		r.State = make([]byte, driver.MaxRecordBytes)
	case "status":
		r.Status = driver.Held + 1
	case "expires":
		r.Status, r.Lease, r.Expires = driver.Held, driver.Lease{}, r.Created
	case "time":
		r.Updated = r.Updated.Add(time.Microsecond)
	}
	return r
}

func faultRequest(request any, fault string) any {
	if fault == "" {
		return request
	}
	switch req := request.(type) {
	case driver.ClaimRequest:
		if fault == "limit" {
			req.Limit = driver.MaxBatch + 1
		} else {
			req.Kinds = nil
		}
		return req
	case driver.GetRequest:
		req.IDs = nil
		return req
	case driver.ListRequest:
		if fault == "limit" {
			req.Limit = 0
		} else {
			req.Cursor = "no cursor of this store"
		}
		return req
	case driver.AdvanceRequest:
		if fault == "limit" {
			req.Next.InSync = make([]string, driver.MaxLinks+1)
		} else {
			req.Next.Token = driver.Token{}
		}
		return req
	}
	return request
}
