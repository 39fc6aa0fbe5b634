// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// Probe writes and reads back on every shard, and asks every server for its state.
func (s *Store) Probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	resp, err := s.probe(ctx, req)
	if err != nil {
		return driver.ProbeResponse{}, s.wrap(err, "probe")
	}
	return resp, nil
}

func (s *Store) probe(ctx context.Context, req driver.ProbeRequest) (driver.ProbeResponse, error) {
	resp := driver.ProbeResponse{UsedBytes: -1, LimitBytes: -1, Details: map[string]string{}}
	shards, err := s.shards(ctx)
	if err != nil {
		return resp, err
	}
	type written struct {
		answer  answer
		records int64
		err     error
	}
	results := make([]written, shards)
	var nodes []node
	var nodesErr error
	var wg sync.WaitGroup
	wg.Go(func() { nodes, nodesErr = s.nodes(ctx) })
	for shard := range shards {
		wg.Go(func() {
			w := &results[shard]
			w.answer, w.records, w.err = s.writeAndRead(ctx, shard, req.Seen)
		})
	}
	wg.Wait()
	for _, w := range results {
		if w.err != nil {
			return resp, w.err
		}
		resp.Receipt = add(resp.Receipt, w.answer)
		resp.Records += w.records
	}
	if nodesErr != nil {
		return resp, nodesErr
	}
	s.report(&resp, nodes)
	return resp, nil
}

// writeAndRead proves that a shard takes writes and that the user has the rights
// for all that mutations do.
func (s *Store) writeAndRead(ctx context.Context, shard int, seen driver.Marks) (answer, int64, error) {
	value := driver.NewToken().String()
	key := ":p:" + value
	a, err := s.run(ctx, probeScript, shard, guard{seen: seen}, []string{key, key + ":h", key + ":z", key + ":s"}, value)
	if err != nil {
		return a, 0, err
	}
	records, err := first(a.rest).AsInt64()
	if err != nil {
		return a, 0, misread("probe: %w", err)
	}
	_, err = with(ctx, s, false, func(ctx context.Context, session *session) (struct{}, error) {
		full := newKeys(s.config.Prefix, s.chain, shard).tag + key
		got, err := session.client.Do(ctx, session.client.B().Get().Key(full).Build()).ToString()
		if err != nil {
			return struct{}{}, err
		}
		if got != value {
			return struct{}{}, &driver.Error{Class: driver.Unavailable, Detail: fmt.Sprintf("shard %d: what was written could not be read back", shard)}
		}
		if !s.durability.waits() {
			return struct{}{}, session.client.Do(ctx, session.client.B().Del().Key(full).Build()).Error()
		}
		return struct{}{}, session.client.Dedicated(func(c rueidis.DedicatedClient) error {
			if err := c.Do(ctx, c.B().Del().Key(full).Build()).Error(); err != nil { // which finds the server of the shard
				return err
			}
			return s.durability.canWait(ctx, c)
		})
	})
	return a, records, err
}
