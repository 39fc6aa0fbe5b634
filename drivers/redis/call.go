// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// What a script checks besides Seen; see prelude.lua.
const (
	checkNothing = 0
	checkExact   = 1 // the epoch is this one and serves
	checkMerge   = 2 // the epoch is this one or an earlier one
)

// guard is what a script checks before it applies anything.
type guard struct {
	check byte
	epoch uint64
	seen  driver.Marks
}

// maxSequence is beyond any sequence a store can reach: larger ones are not exact
// in Lua.
const maxSequence = 1 << 53

// pack returns the first argument of a script.
func (g guard) pack(shard, shards int) string {
	b := make([]byte, 0, 36)
	b = binary.LittleEndian.AppendUint64(b, rand.Uint64()) // an incarnation, if the shard needs one
	seen, mark := byte(0), driver.Mark{}
	for _, m := range g.seen {
		if m.Partition == uint32(shard) {
			seen, mark = 1, m
		}
	}
	b = append(b, g.check, seen)
	b = binary.LittleEndian.AppendUint16(b, uint16(shards))
	b = binary.LittleEndian.AppendUint64(b, g.epoch)
	b = binary.LittleEndian.AppendUint64(b, mark.Incarnation)
	b = binary.LittleEndian.AppendUint64(b, min(mark.Sequence, maxSequence))
	return string(b)
}

// answer is what a script returned.
type answer struct {
	mark driver.Mark
	time time.Time
	rest []rueidis.RedisMessage
}

// with calls f with a session and returns what it returns; see begin.
func with[R any](ctx context.Context, s *Store, mutates bool, f func(context.Context, *session) (R, error)) (R, error) {
	return begin(ctx, s, s.calls, mutates, f)()
}

// turns bounds how many may do something at once.
type turns chan struct{}

// begin calls f with a session in the background, once it is its turn, and returns
// what waits for the result. The wait is no longer than ctx, whatever state the client is in; f goes
// on then, bounded by the timeouts of the client, so it must share nothing with the
// caller. The error of a ctx that ends during f is Unknown if f mutates.
func begin[R any](ctx context.Context, s *Store, among turns, mutates bool, f func(context.Context, *session) (R, error)) (wait func() (R, error)) {
	var none R
	refused := func(err error) func() (R, error) { return func() (R, error) { return none, err } }
	if ctx.Err() != nil {
		return refused(driver.ContextError(ctx, false))
	}
	select {
	case among <- struct{}{}:
	case <-ctx.Done():
		return refused(driver.ContextError(ctx, false))
	}
	session, err := s.connector.get(ctx)
	if err != nil {
		<-among
		return refused(err)
	}
	type outcome struct {
		result R
		err    error
	}
	done := make(chan outcome, 1)
	s.crew.Go(func() {
		defer func() {
			session.calls.Done()
			<-among
		}()
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
		defer cancel()
		var o outcome
		if o.result, o.err = f(own, session); o.err != nil {
			var moved bool
			if moved, o.err = classify(o.err, mutates); moved {
				s.connector.drop(session)
			}
		}
		done <- o
	})
	return func() (R, error) {
		select {
		case o := <-done:
			return o.result, o.err
		case <-ctx.Done():
			return none, driver.ContextError(ctx, mutates)
		}
	}
}

// run runs a script on one shard.
func (s *Store) run(ctx context.Context, sc script, shard int, g guard, suffixes []string, args ...string) (answer, error) {
	return s.start(ctx, sc, shard, g, suffixes, args...)()
}

// start begins to run a script on one shard; see begin. Before another shard than
// the first is made use of, the first one has to agree to the number of shards: one
// that is empty cannot tell.
func (s *Store) start(ctx context.Context, sc script, shard int, g guard, suffixes []string, args ...string) (wait func() (answer, error)) {
	if shard > 0 && !s.laidOut.Load() {
		if _, err := s.run(ctx, epochScript, 0, guard{}, nil); err != nil {
			return func() (answer, error) { return answer{}, err }
		}
	}
	answered := begin(ctx, s, s.calls, sc.mutates, func(ctx context.Context, session *session) (answer, error) {
		return s.ask(ctx, session, sc, shard, g, suffixes, args)
	})
	return func() (answer, error) {
		a, err := answered()
		if err == nil {
			s.note(a.mark)
			if shard == 0 {
				s.laidOut.Store(true)
			}
		}
		return a, err
	}
}

// ask runs a script on one shard and reads its answer.
func (s *Store) ask(ctx context.Context, session *session, sc script, shard int, g guard, suffixes, args []string) (answer, error) {
	k := newKeys(s.config.Prefix, s.chain, shard)
	all := append(make([]string, 0, len(args)+1), g.pack(shard, session.shards))
	a, err := s.exec(ctx, session, sc, k.with(suffixes...), append(all, args...))
	if err != nil {
		return answer{}, err
	}
	return s.open(a, shard, g)
}

// note keeps the mark of an answer; see foresee.
func (s *Store) note(m driver.Mark) {
	s.knownMu.Lock()
	defer s.knownMu.Unlock()
	i := slices.IndexFunc(s.known, func(k driver.Mark) bool { return k.Partition == m.Partition })
	switch {
	case i < 0:
		s.known = append(s.known, m)
	case s.known[i].Incarnation != m.Incarnation || s.known[i].Sequence < m.Sequence:
		s.known[i] = m
	}
}

func (s *Store) knownMarks() []driver.Mark {
	s.knownMu.Lock()
	defer s.knownMu.Unlock()
	return slices.Clone(s.known)
}

// exec sends the script; a server that does not know it yet gets its text.
func (s *Store) exec(ctx context.Context, session *session, sc script, keys, args []string) ([]rueidis.RedisMessage, error) {
	if sc.mutates && s.durability.waits() {
		return s.execDurable(ctx, session, sc, keys, args)
	}
	return sc.lua.Exec(ctx, session.client, keys, args).ToArray()
}

// open reads what all answers have in common.
func (s *Store) open(a []rueidis.RedisMessage, shard int, g guard) (answer, error) {
	if len(a) < 4 {
		return answer{}, misread("answer of %d parts", len(a))
	}
	code, err := a[0].ToString()
	if err != nil {
		return answer{}, misread("code: %w", err)
	}
	incarnation, err := a[1].AsBytes()
	if err != nil || len(incarnation) != 8 {
		return answer{}, misread("incarnation of %d bytes", len(incarnation))
	}
	sequence, err := a[2].AsInt64()
	if err != nil {
		return answer{}, misread("sequence: %w", err)
	}
	ms, err := a[3].AsInt64()
	if err != nil {
		return answer{}, misread("time: %w", err)
	}
	out := answer{
		mark: driver.Mark{Partition: uint32(shard), Incarnation: binary.LittleEndian.Uint64(incarnation), Sequence: uint64(sequence)},
		time: time.UnixMilli(ms).UTC(),
		rest: a[4:],
	}
	if code == "ok" {
		return out, nil
	}
	return out, s.refusal(code, out, g)
}

// refusal makes an error of the code of a script that applied nothing.
func (s *Store) refusal(code string, a answer, g guard) error {
	switch code {
	case "lost":
		if err := (driver.Marks{a.mark}).Check(g.seen); err != nil {
			return err
		}
		return &driver.Error{Class: driver.Lost, Detail: fmt.Sprintf("partition %d has gone back", a.mark.Partition)}
	case "cursor":
		return &driver.Error{Class: driver.CursorLost, Detail: "the feed no longer reaches back to the cursor: begin anew with a list"}
	case "layout":
		held, err := first(a.rest).AsInt64()
		if err != nil {
			return misread("layout: %w", err)
		}
		return &driver.Error{Class: driver.Unavailable, Detail: fmt.Sprintf(
			"the data of the chain have layout %d, which another version of this driver has written: use that version, or empty the database so that they are brought anew", held)}
	case "shards":
		held, err := first(a.rest).AsInt64()
		if err != nil {
			return misread("shards: %w", err)
		}
		return &driver.Error{Class: driver.Unavailable, Detail: fmt.Sprintf(
			"the chain has been in use with shards: %d, which can never change: set shards to %d", held, held)}
	case "epoch":
		blob, err := first(a.rest).ToString()
		if err != nil {
			return misread("epoch: %w", err)
		}
		e, err := decodeEpoch(blob)
		if err != nil {
			return err
		}
		if g.check == checkMerge {
			err = e.AdmitMerge(g.epoch)
		} else {
			err = e.Admit(g.epoch)
		}
		if err != nil {
			return err
		}
	}
	return misread("code %q", code)
}

func first(m []rueidis.RedisMessage) *rueidis.RedisMessage {
	if len(m) == 0 {
		return &rueidis.RedisMessage{}
	}
	return &m[0]
}

func misread(format string, args ...any) error {
	return &driver.Error{Class: driver.Internal, Detail: "answer of a script", Cause: fmt.Errorf(format, args...)}
}

// shards returns the number of shards, which on a first call only the server can
// tell.
func (s *Store) shards(ctx context.Context) (int, error) {
	if s.config.Shards > 0 {
		return s.config.Shards, nil
	}
	if ctx.Err() != nil {
		return 0, driver.ContextError(ctx, false)
	}
	session, err := s.connector.get(ctx)
	if err != nil {
		return 0, err
	}
	session.calls.Done()
	return session.shards, nil
}

// guarded returns invalid, the fault of a request, unless the guard refuses the
// call anyway, which comes first.
func (s *Store) guarded(ctx context.Context, g guard, invalid error) error {
	shards, err := s.shards(ctx)
	if err != nil {
		return err
	}
	checked := false
	for _, m := range g.seen {
		if m.Partition < uint32(shards) {
			checked = true
			if _, err := s.run(ctx, epochScript, int(m.Partition), g, nil); err != nil {
				return err
			}
		}
	}
	if !checked {
		if _, err := s.run(ctx, epochScript, 0, g, nil); err != nil {
			return err
		}
	}
	return invalid
}

func itoa(n int) string { return strconv.Itoa(n) }

// wrap gives an error of a call its place.
func (s *Store) wrap(err error, op string, ids ...string) error {
	return driver.In(err, s.link, op, ids...)
}
