// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// Commit applies transitions, one script per shard that they touch.
func (s *Store) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	b := batch{script: commitScript, guard: guard{checkExact, req.Epoch, req.Seen}, count: len(req.Transitions)}
	if err := req.Validate(); err != nil {
		return driver.CommitResponse{}, s.wrap(s.guarded(ctx, b.guard, err), "commit")
	}
	b.check = req.ValidateAt
	b.first = func(i int) bool { return req.Transitions[i].Record.Revision == 1 }
	b.more = func(places []int) []string { return bases(req.Transitions, places) }
	b.record = func(i int) *driver.Record { return &req.Transitions[i].Record }
	b.refused = func(i int, stored *driver.Record) error {
		_, err := req.Transitions[i].Admit(stored)
		return err
	}
	receipt, verdicts, err := s.mutate(ctx, b)
	if err != nil {
		return driver.CommitResponse{}, s.wrap(err, "commit")
	}
	return driver.CommitResponse{Receipt: receipt, Verdicts: verdicts}, nil
}

// Merge stores newer records, one script per shard that they touch.
func (s *Store) Merge(ctx context.Context, req driver.MergeRequest) (driver.MergeResponse, error) {
	b := batch{script: mergeScript, guard: guard{checkMerge, req.Epoch, req.Seen}, count: len(req.Records)}
	if err := req.Validate(); err != nil {
		return driver.MergeResponse{}, s.wrap(s.guarded(ctx, b.guard, err), "merge")
	}
	b.check = req.ValidateAt
	b.record = func(i int) *driver.Record { return &req.Records[i] }
	b.first = func(int) bool { return false } // it may replace one
	b.more = func([]int) []string { return nil }
	b.refused = func(i int, _ *driver.Record) error { return misread("record %d was refused", i) }
	receipt, verdicts, err := s.mutate(ctx, b)
	if err != nil {
		return driver.MergeResponse{}, s.wrap(err, "merge")
	}
	return driver.MergeResponse{Receipt: receipt, Verdicts: verdicts}, nil
}

// batch is a commit or a merge.
type batch struct {
	script  script
	guard   guard
	count   int
	check   func(i int) error
	record  func(i int) *driver.Record
	first   func(i int) bool                         // record i can only be new
	more    func(places []int) []string              // further arguments before the records
	refused func(i int, stored *driver.Record) error // makes the verdict of a refusal
}

// part is what of a batch goes to one shard.
type part struct {
	shard  int
	places []int // in the batch
	answer answer
	err    error
}

// mutate sends each shard its part, all at once.
func (s *Store) mutate(ctx context.Context, b batch) (driver.Receipt, []driver.Verdict, error) {
	verdicts := make([]driver.Verdict, b.count)
	shards, err := s.shards(ctx)
	if err != nil {
		return driver.Receipt{}, nil, err
	}
	parts := s.divide(b, shards, verdicts)
	if len(parts) > 1 {
		if err := s.foresee(ctx, b.guard, parts); err != nil {
			return driver.Receipt{}, nil, err
		}
	}
	answered := make([]func() (answer, error), len(parts))
	for i, p := range parts {
		answered[i] = s.send(ctx, b, p)
	}
	for i := range parts {
		parts[i].answer, parts[i].err = answered[i]()
	}
	var receipt driver.Receipt
	var failed []error
	applied := false
	for i := range parts {
		p := &parts[i]
		if p.err == nil {
			var some bool
			some, p.err = b.read(p, verdicts)
			applied = applied || some
		}
		if p.err != nil {
			failed = append(failed, p.err)
			continue
		}
		receipt = add(receipt, p.answer)
	}
	if err := whole(failed, applied); err != nil {
		return driver.Receipt{}, nil, err
	}
	return receipt, verdicts, nil
}

// foresee checks the guard on those shards of which the caller has seen more than
// this store has, so that a batch is not applied in part.
func (s *Store) foresee(ctx context.Context, g guard, parts []part) error {
	known := s.knownMarks()
	ahead := slices.DeleteFunc(slices.Clone(g.seen), func(seen driver.Mark) bool {
		return slices.ContainsFunc(known, func(k driver.Mark) bool {
			return k.Partition == seen.Partition && k.Incarnation == seen.Incarnation && k.Sequence >= seen.Sequence
		})
	})
	for _, seen := range ahead {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.shard == int(seen.Partition) }) {
			continue
		}
		if _, err := s.run(ctx, epochScript, int(seen.Partition), guard{seen: g.seen}, nil); err != nil {
			return err
		}
	}
	return nil
}

// whole makes one error of those of several shards. Once a part was applied, the
// call has had an effect, and so its outcome as a whole is Unknown.
func whole(failed []error, applied bool) error {
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) == 1 && !applied:
		return failed[0]
	}
	for _, err := range failed {
		if applied || driver.ClassOf(err) == driver.Unknown {
			return &driver.Error{Class: driver.Unknown, Detail: "some shards may have applied their part", Cause: errors.Join(failed...)}
		}
	}
	return failed[0]
}

// divide sorts the records of a batch by shard. Those that may not be stored get
// their verdict. There is one part at least, since the guard is checked also for
// an empty batch.
func (s *Store) divide(b batch, shards int, verdicts []driver.Verdict) []part {
	at := make([]int, shards) // 1 + where the part of a shard is
	var parts []part
	for i := range b.count {
		if err := b.check(i); err != nil {
			verdicts[i].Err = s.wrap(err, b.script.name, b.record(i).ID)
			continue
		}
		shard := shardOf(b.record(i).ID, shards)
		if at[shard] == 0 {
			parts = append(parts, part{shard: shard})
			at[shard] = len(parts)
		}
		p := &parts[at[shard]-1]
		p.places = append(p.places, i)
	}
	if len(parts) == 0 {
		return []part{{}}
	}
	return parts
}

func (s *Store) send(ctx context.Context, b batch, p part) (wait func() (answer, error)) {
	more := b.more(p.places)
	args := make([]string, 3, 3+len(more)+3*len(p.places))
	args = append(args, more...)
	payload := make([]byte, 0, len(p.places)*96)
	var a arena
	for _, i := range p.places {
		a.reserve(b.record(i))
	}
	for _, i := range p.places {
		r := b.record(i)
		entry := a.indexEntry(r)
		args = append(args, r.ID, a.value(r, b.first(i)), entry)
		payload = appendChange(payload, r, entry)
	}
	args[0], args[1], args[2] = itoa(s.config.StreamLength), s.touch(), rueidis.BinaryString(payload)
	answered := s.startHealing(ctx, b.script, p.shard, b.guard, nil, args...)
	return func() (answer, error) {
		got, err := answered()
		if err == nil {
			a.free()
		}
		return got, err
	}
}

// bases returns which transitions are of first revisions, one character each, and
// what each follows: revision (eight bytes, little-endian) and token.
func bases(transitions []driver.Transition, places []int) []string {
	firsts, all := make([]byte, 0, len(places)), make([]byte, 0, 24*len(places))
	for _, i := range places {
		t, first := &transitions[i], byte('0')
		if t.Record.Revision == 1 {
			first = '1'
		}
		firsts = append(firsts, first)
		all = binary.LittleEndian.AppendUint64(all, t.Record.Revision-1)
		all = append(all, t.Base[:]...)
	}
	return []string{rueidis.BinaryString(firsts), rueidis.BinaryString(all)}
}

// touch is the argument that makes a script write in any case.
func (s *Store) touch() string {
	if s.durability.waits() {
		return "1"
	}
	return "0"
}

// read turns the answer for one part into verdicts and reports whether anything
// was applied.
func (b batch) read(p *part, verdicts []driver.Verdict) (applied bool, err error) {
	letters, err := first(p.answer.rest).ToString()
	if err != nil || len(letters) != len(p.places) {
		return true, misread("%d verdicts for %d records", len(letters), len(p.places))
	}
	var stored []rueidis.RedisMessage
	if len(p.answer.rest) > 1 {
		if stored, err = p.answer.rest[1].ToArray(); err != nil {
			return true, misread("stored records: %w", err)
		}
	}
	for n, i := range p.places {
		switch letters[n] {
		case 'a':
			verdicts[i].Applied = true
			applied = true
		case 'r':
		case 'n':
			verdicts[i].Err = b.refused(i, nil)
		case 'c':
			if len(stored) == 0 {
				return true, misread("a conflict without its record")
			}
			r, err := decode(&stored[0])
			if err != nil {
				return true, err
			}
			stored = stored[1:]
			verdicts[i].Err = b.refused(i, &r)
		default:
			return true, misread("verdict %q", letters[n])
		}
	}
	return applied, nil
}

// add returns r with what one more shard answered; the time is the latest, which
// no time in the answer is after.
func add(r driver.Receipt, a answer) driver.Receipt {
	r.Marks = r.Marks.With(driver.Marks{a.mark})
	if r.Time.IsZero() || a.time.After(r.Time) {
		r.Time = a.time
	}
	return r
}

// decode reads a record that a script sent.
func decode(m *rueidis.RedisMessage) (driver.Record, error) {
	text, err := m.ToString()
	if err != nil {
		return driver.Record{}, misread("record: %w", err)
	}
	return driver.DecodeRecord([]byte(text))
}

// decodeStored reads a value as it is stored; ok is false if there is none, or if
// it has expired at now.
func decodeStored(m *rueidis.RedisMessage, now time.Time) (r driver.Record, ok bool, err error) {
	if m.IsNil() {
		return driver.Record{}, false, nil
	}
	text, err := m.ToString()
	if err != nil || len(text) < suffixBytes {
		return driver.Record{}, false, misread("stored value of %d bytes", len(text))
	}
	r, err = driver.DecodeRecord([]byte(text[:len(text)-suffixBytes]))
	if err != nil {
		return driver.Record{}, false, err
	}
	return r, r.Expires.IsZero() || r.Expires.After(now), nil
}
