// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"

	"github.com/understudy-dev/understudy/driver"
)

// perRead is how many records one script reads at most, so that large records do
// not block the server for long.
const perRead = 32

// Get reads the records with the given ids.
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, s.wrap(s.guarded(ctx, guard{seen: req.Seen}, err), "get")
	}
	receipt, found, err := s.read(ctx, req.Seen, req.IDs)
	if err != nil {
		return driver.GetResponse{}, s.wrap(err, "get")
	}
	resp := driver.GetResponse{Receipt: receipt}
	for _, r := range found {
		if r != nil {
			resp.Records = append(resp.Records, *r)
		}
	}
	return resp, nil
}

// chunk is what of a read goes to one script.
type chunk struct {
	shard  int
	places []int
	answer answer
	err    error
}

// read returns the record of each id, nil where there is none.
func (s *Store) read(ctx context.Context, seen driver.Marks, ids []string) (driver.Receipt, []*driver.Record, error) {
	shards, err := s.shards(ctx)
	if err != nil {
		return driver.Receipt{}, nil, err
	}
	var chunks []*chunk
	filling := make([]*chunk, shards)
	for i, id := range ids {
		shard := shardOf(id, shards)
		if filling[shard] == nil || len(filling[shard].places) == perRead {
			filling[shard] = &chunk{shard: shard}
			chunks = append(chunks, filling[shard])
		}
		filling[shard].places = append(filling[shard].places, i)
	}
	answered := make([]func() (answer, error), len(chunks))
	for n, c := range chunks {
		args := make([]string, 0, len(c.places))
		for _, i := range c.places {
			args = append(args, ids[i])
		}
		answered[n] = s.start(ctx, getScript, c.shard, guard{seen: seen}, nil, args...)
	}
	for n, c := range chunks {
		c.answer, c.err = answered[n]()
	}
	var receipt driver.Receipt
	found := make([]*driver.Record, len(ids))
	for _, c := range chunks {
		if c.err == nil {
			c.err = c.sort(found)
		}
		if c.err != nil {
			return driver.Receipt{}, nil, c.err
		}
		receipt = add(receipt, c.answer)
	}
	return receipt, found, nil
}

// sort puts what a script answered in its places.
func (c *chunk) sort(found []*driver.Record) error {
	values, err := first(c.answer.rest).ToArray()
	if err != nil || len(values) != len(c.places) {
		return misread("get: %d values for %d ids", len(values), len(c.places))
	}
	for n, i := range c.places {
		r, ok, err := decodeStored(&values[n], c.answer.time)
		if err != nil {
			return err
		}
		if ok {
			found[i] = &r
		}
	}
	return nil
}
