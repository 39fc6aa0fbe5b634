// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"math/rand/v2"
	"time"
)

// Finished records whose time has come are forgotten a few at a time by each
// mutation, and by this sweeper, so that they go also where nothing else happens.

const (
	sweepEvery = 2 * time.Second
	sweepLimit = 256
)

func (s *Store) sweepNowAndThen() {
	for {
		wait := sweepEvery + rand.N(sweepEvery/4) // several hosts should not all come at once
		select {
		case <-s.stopped.Done():
			return
		case <-time.After(wait):
		}
		ctx, cancel := context.WithTimeout(s.stopped, s.patience)
		if err := s.sweep(ctx); err != nil && s.stopped.Err() == nil {
			s.logger.DebugContext(ctx, "redis: expired records could not be swept", "link", s.link, "error", err)
		}
		cancel()
	}
}

// sweep forgets all that is due, on all shards.
func (s *Store) sweep(ctx context.Context) error {
	shards, err := s.shards(ctx)
	if err != nil {
		return err
	}
	for shard := range shards {
		for again := true; again; {
			if again, err = s.sweepShard(ctx, shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepShard forgets a bounded number of records and reports whether there may be
// more.
func (s *Store) sweepShard(ctx context.Context, shard int) (more bool, err error) {
	age := time.Duration(s.config.StreamAge).Milliseconds()
	a, err := s.run(ctx, sweepScript, shard, guard{}, nil, itoa(sweepLimit), itoa(int(age)))
	if err != nil {
		return false, err
	}
	if len(a.rest) < 2 {
		return false, misread("sweep: %d parts", len(a.rest))
	}
	records, err := a.rest[0].AsInt64()
	if err != nil {
		return false, misread("sweep: %w", err)
	}
	old, err := a.rest[1].AsInt64()
	if err != nil {
		return false, misread("sweep: %w", err)
	}
	return records == sweepLimit || old > 0, nil
}
