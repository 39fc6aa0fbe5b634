// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/understudy-dev/understudy/driver"
)

// The epoch is kept on every shard, so that each script can check it by itself.
// The first shard decides; the others follow it.

// epochHeader is what scripts read of a stored epoch: number, version (eight bytes
// each, little-endian) and state. JSON of the whole follows.
const epochHeader = 17

func encodeEpoch(e driver.Epoch) (string, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return "", &driver.Error{Class: driver.Internal, Detail: "encode the epoch", Cause: err}
	}
	b := make([]byte, 0, epochHeader+len(body))
	b = binary.LittleEndian.AppendUint64(b, e.Number)
	b = binary.LittleEndian.AppendUint64(b, e.Version)
	b = append(b, byte(e.State))
	return string(append(b, body...)), nil
}

func decodeEpoch(blob string) (driver.Epoch, error) {
	var e driver.Epoch
	if blob == "" {
		return e, nil
	}
	if len(blob) < epochHeader {
		return e, misread("epoch of %d bytes", len(blob))
	}
	if err := json.Unmarshal([]byte(blob[epochHeader:]), &e); err != nil {
		return e, misread("epoch: %w", err)
	}
	return e, nil
}

// Epoch returns the epoch of the first shard.
func (s *Store) Epoch(ctx context.Context, _ driver.EpochRequest) (driver.EpochResponse, error) {
	a, _, e, err := s.readEpoch(ctx, nil)
	if err != nil {
		return driver.EpochResponse{}, s.wrap(err, "epoch")
	}
	return driver.EpochResponse{Receipt: add(driver.Receipt{}, a), Epoch: e}, nil
}

func (s *Store) readEpoch(ctx context.Context, seen driver.Marks) (a answer, blob string, e driver.Epoch, err error) {
	a, err = s.run(ctx, epochScript, 0, guard{seen: seen}, nil)
	if err != nil {
		return a, "", e, err
	}
	if blob, err = first(a.rest).ToString(); err != nil {
		return a, "", e, misread("epoch: %w", err)
	}
	e, err = decodeEpoch(blob)
	return a, blob, e, err
}

// Advance replaces the epoch of the first shard by compare-and-set and brings the
// other shards to it before it returns.
func (s *Store) Advance(ctx context.Context, req driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	receipt, err := s.advance(ctx, req)
	if err != nil {
		return driver.AdvanceResponse{}, s.wrap(err, "advance")
	}
	return driver.AdvanceResponse{Receipt: receipt, Epoch: req.Next.Clone()}, nil
}

func (s *Store) advance(ctx context.Context, req driver.AdvanceRequest) (driver.Receipt, error) {
	shards, err := s.shards(ctx)
	if err != nil {
		return driver.Receipt{}, err
	}
	if err := s.checkSeen(ctx, req.Seen, shards); err != nil {
		return driver.Receipt{}, err
	}
	next, err := encodeEpoch(req.Next)
	if err != nil {
		return driver.Receipt{}, err
	}
	a, err := s.exchange(ctx, req, next)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt := add(driver.Receipt{}, a)
	for shard := 1; shard < shards; shard++ {
		a, err := s.run(ctx, adoptScript, shard, guard{seen: req.Seen}, nil, next, s.touch())
		if err != nil {
			return driver.Receipt{}, &driver.Error{Class: driver.Unknown, Cause: err,
				Detail: fmt.Sprintf("the epoch was advanced on %d of %d shards: repeat the call", shard, shards)}
		}
		receipt = add(receipt, a)
	}
	return receipt, nil
}

// checkSeen checks the marks of the shards but the first, so that Lost is answered
// before anything is stored.
func (s *Store) checkSeen(ctx context.Context, seen driver.Marks, shards int) error {
	for _, m := range seen {
		if m.Partition == 0 || m.Partition >= uint32(shards) {
			continue
		}
		if _, err := s.run(ctx, epochScript, int(m.Partition), guard{seen: seen}, nil); err != nil {
			return err
		}
	}
	return nil
}

// exchange is the compare-and-set on the first shard: the rule is looked up for
// the epoch read, which must still stand when the next one is stored.
func (s *Store) exchange(ctx context.Context, req driver.AdvanceRequest, next string) (answer, error) {
	a, blob, held, err := s.readEpoch(ctx, req.Seen)
	if err != nil {
		return answer{}, err
	}
	for range 8 {
		replace, err := held.AdmitAdvance(req.Expect, req.Next)
		if err != nil || !replace && !s.durability.waits() {
			return a, err
		}
		if !replace {
			next = blob // stored once more, to wait for its durability
		}
		a, err = s.run(ctx, advanceScript, 0, guard{seen: req.Seen}, nil, blob, next, s.touch())
		if err != nil || !replace {
			return a, err
		}
		if len(a.rest) < 2 {
			return answer{}, misread("advance: %d parts", len(a.rest))
		}
		done, err := a.rest[0].AsInt64()
		if err != nil || done == 1 {
			return a, err
		}
		if blob, err = a.rest[1].ToString(); err == nil {
			held, err = decodeEpoch(blob)
		}
		if err != nil {
			return answer{}, err
		}
	}
	return answer{}, &driver.Error{Class: driver.Unavailable, Detail: "the epoch changes too fast"}
}

// startHealing is start for mutations. A shard that is behind the first one,
// because whoever advanced the epoch did not get to it, is brought up to it, and
// asked again.
func (s *Store) startHealing(ctx context.Context, sc script, shard int, g guard, suffixes []string, args ...string) (wait func() (answer, error)) {
	answered := s.start(ctx, sc, shard, g, suffixes, args...)
	return func() (answer, error) {
		a, err := answered()
		if again, healErr := s.heal(ctx, shard, g, err); !again {
			return a, healErr
		}
		return s.run(ctx, sc, shard, g, suffixes, args...)
	}
}

// heal looks whether err says that a shard is behind the first one and brings it up
// to it; else it returns err, or why that could not be done.
func (s *Store) heal(ctx context.Context, shard int, g guard, err error) (again bool, _ error) {
	refused, ok := errors.AsType[*driver.Error](err)
	if shard == 0 || !ok || refused.Class != driver.Lost || refused.Epoch == nil {
		return false, err
	}
	_, blob, e, readErr := s.readEpoch(ctx, nil)
	if readErr != nil {
		return false, readErr // whether anything is lost is not known
	}
	if e.Number <= refused.Epoch.Number {
		return false, err
	}
	if _, adoptErr := s.run(ctx, adoptScript, shard, guard{seen: g.seen}, nil, blob, s.touch()); adoptErr != nil {
		return false, untouched(adoptErr)
	}
	return true, nil
}

// untouched is the error of a call that was refused, and whose preparation for a
// second attempt ended with err: what is unknown is not the call's own outcome.
func untouched(err error) error {
	e, ok := errors.AsType[*driver.Error](err)
	if !ok || e.Class != driver.Unknown {
		return err
	}
	certain := *e
	certain.Class = driver.Unavailable
	return &certain
}
