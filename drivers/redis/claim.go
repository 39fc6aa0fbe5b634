// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Claim leases due records. With several shards, all are asked first what the
// token has already been given and when their next record is due; those that have
// due records are then claimed from, the earliest first.
func (s *Store) Claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	resp, err := s.claim(ctx, req)
	if err != nil {
		return driver.ClaimResponse{}, s.wrap(err, "claim")
	}
	return resp, nil
}

func (s *Store) claim(ctx context.Context, req driver.ClaimRequest) (driver.ClaimResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.ClaimResponse{}, s.guarded(ctx, guard{checkExact, req.Epoch, req.Seen}, err)
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return driver.ClaimResponse{}, err
	}
	req.Kinds = slices.Compact(slices.Sorted(slices.Values(req.Kinds)))
	gains := make([]gain, shards)
	if shards == 1 {
		gains[0] = s.claimFrom(ctx, req, 0, req.Limit, driver.MaxBatchBytes)()
	} else {
		s.claimAmong(ctx, req, gains)
	}
	return collect(gains)
}

// gain is what one shard gave.
type gain struct {
	answer  answer
	given   int // by the first call of this token
	records []driver.Record
	next    time.Time
	err     error
}

// claimAmong fills gains, one for each shard.
func (s *Store) claimAmong(ctx context.Context, req driver.ClaimRequest, gains []gain) {
	asked := make([]func() gain, len(gains))
	for shard := range gains {
		asked[shard] = s.claimFrom(ctx, req, shard, 0, 0)
	}
	for shard := range gains {
		gains[shard] = asked[shard]()
	}
	var order []int
	for shard, g := range gains {
		if g.err != nil || g.given > 0 {
			return // an error, or a repeat: collect tells
		}
		if !g.next.IsZero() && !g.next.After(g.answer.time) {
			order = append(order, shard)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(gains[a].next.Compare(gains[b].next), cmp.Compare(a, b)) })
	limit, bytes := req.Limit, driver.MaxBatchBytes
	for _, shard := range order {
		if limit == 0 || bytes < driver.MaxRecordBytes {
			break
		}
		g := s.claimFrom(ctx, req, shard, limit, bytes)()
		gains[shard] = g
		if g.err != nil {
			break
		}
		limit -= len(g.records)
		for i := range g.records {
			bytes -= driver.EncodedSize(&g.records[i])
		}
	}
}

func (s *Store) claimFrom(ctx context.Context, req driver.ClaimRequest, shard, limit, bytes int) (wait func() gain) {
	args := make([]string, 0, 9+len(req.Kinds))
	args = append(args, itoa(s.config.StreamLength), s.touch(), string(req.Token[:]), req.Owner,
		itoa(int(req.Lease.Milliseconds())), itoa(limit), itoa(bytes), itoa(driver.MaxRecordBytes))
	args = append(args, req.Kinds...)
	answered := s.startHealing(ctx, claimScript, shard, guard{checkExact, req.Epoch, req.Seen},
		[]string{":c:" + req.Token.String()}, args...)
	return func() gain {
		g := gain{}
		if g.answer, g.err = answered(); g.err == nil {
			g.err = g.read()
		}
		return g
	}
}

func (g *gain) read() error {
	if len(g.answer.rest) < 3 {
		return misread("claim: %d parts", len(g.answer.rest))
	}
	given, err := g.answer.rest[0].AsInt64()
	if err != nil {
		return misread("claim: %w", err)
	}
	values, err := g.answer.rest[1].ToArray()
	if err != nil {
		return misread("claim: %w", err)
	}
	next, err := g.answer.rest[2].AsInt64()
	if err != nil {
		return misread("claim: %w", err)
	}
	g.given = int(given)
	if next > 0 {
		g.next = time.UnixMilli(next).UTC()
	}
	g.records = make([]driver.Record, len(values))
	for i := range values {
		if g.records[i], _, err = decodeStored(&values[i], g.answer.time); err != nil {
			return err
		}
	}
	return nil
}

// collect makes one response of what the shards gave. Records that were leased
// cannot be given back, so an error of one shard is Unknown once another gave any;
// a repeat with the same token then brings them.
func collect(gains []gain) (driver.ClaimResponse, error) {
	var resp driver.ClaimResponse
	var failed []error
	for _, g := range gains {
		if g.err != nil {
			failed = append(failed, g.err)
			continue
		}
		resp.Receipt = add(resp.Receipt, g.answer)
		resp.Records = append(resp.Records, g.records...)
		if !g.next.IsZero() && (resp.Next.IsZero() || g.next.Before(resp.Next)) {
			resp.Next = g.next
		}
	}
	if err := whole(failed, len(resp.Records) > 0); err != nil {
		return driver.ClaimResponse{}, err
	}
	return resp, nil
}
