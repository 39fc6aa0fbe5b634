// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// maxListBytes is how much one script of a list returns, about.
const maxListBytes = 2 << 20

// List pages through the index, shard by shard. A page of a shard leaves out what
// has changed since the first page of that shard, because a change moves a record
// in the index and it may have been on an earlier page.
func (s *Store) List(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	resp, err := s.list(ctx, req)
	if err != nil {
		return driver.ListResponse{}, s.wrap(err, "list")
	}
	return resp, nil
}

func (s *Store) list(ctx context.Context, req driver.ListRequest) (driver.ListResponse, error) {
	g := guard{seen: req.Seen}
	if err := req.Validate(); err != nil {
		return driver.ListResponse{}, s.guarded(ctx, g, err)
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return driver.ListResponse{}, err
	}
	ranges := listRanges(req.Kinds, req.Statuses)
	filter := filterSum(ranges)
	at, err := parseListCursor(req.Cursor, filter, shards, len(ranges)/2)
	if err != nil {
		return driver.ListResponse{}, s.guarded(ctx, g, err)
	}
	var resp driver.ListResponse
	bytes := maxListBytes
	for at.shard < shards && len(resp.Records) < req.Limit && bytes > 0 {
		args := append([]string{itoa(int(at.snapshot)), itoa(req.Limit - len(resp.Records)), itoa(bytes), at.last}, ranges[2*at.interval:]...)
		a, err := s.run(ctx, listScript, at.shard, g, nil, args...)
		if err != nil {
			return driver.ListResponse{}, err
		}
		if at.incarnation != 0 && at.snapshot >= 0 && !at.goesOn(a.mark) {
			return driver.ListResponse{}, badCursor("the store is not the one that gave it")
		}
		page, err := readPage(a)
		if err != nil {
			return driver.ListResponse{}, err
		}
		resp.Receipt = add(resp.Receipt, a)
		resp.Records = append(resp.Records, page.records...)
		bytes -= page.bytes
		at = at.next(a.mark, page)
		if page.more {
			break
		}
	}
	if at.shard < shards {
		resp.Next = at.encode(filter)
	}
	return resp, nil
}

// page is what one script of a list answered.
type page struct {
	snapshot int64
	records  []driver.Record
	bytes    int
	last     string
	interval int
	more     bool
}

func readPage(a answer) (page, error) {
	var p page
	if len(a.rest) < 4 {
		return p, misread("list: %d parts", len(a.rest))
	}
	values, err := a.rest[1].ToArray()
	if err != nil {
		return p, misread("list: %w", err)
	}
	for i := range values {
		r, ok, err := decodeStored(&values[i], a.time)
		if err != nil {
			return p, err
		}
		if ok {
			p.records = append(p.records, r)
			p.bytes += driver.EncodedSize(&r)
		}
	}
	if p.snapshot, err = a.rest[0].AsInt64(); err != nil {
		return p, misread("list: %w", err)
	}
	if p.last, err = a.rest[2].ToString(); err != nil {
		return p, misread("list: %w", err)
	}
	interval, err := a.rest[3].AsInt64()
	if err != nil {
		return p, misread("list: %w", err)
	}
	p.interval = int(interval)
	p.more = p.interval >= 0
	return p, nil
}

// listRanges returns the ends of the stretches of the index that hold the records
// of the kinds and statuses, in the order of the index.
func listRanges(kinds []string, statuses []driver.Status) []string {
	kinds = slices.Compact(slices.Sorted(slices.Values(kinds)))
	statuses = slices.Compact(slices.Sorted(slices.Values(statuses)))
	if len(kinds) == 0 && len(statuses) == 0 {
		return []string{"-", "+", "[\x02", "(\x03"} // what is leased has an index of its own
	}
	if len(statuses) == 0 {
		for status := driver.Ready; status <= driver.Held; status++ {
			statuses = append(statuses, status)
		}
	}
	var ranges []string
	for _, status := range statuses {
		if len(kinds) == 0 {
			ranges = append(ranges, "["+string([]byte{byte(status)}), "("+string([]byte{byte(status) + 1}))
		}
		for _, kind := range kinds {
			prefix := string([]byte{byte(status)}) + kind
			ranges = append(ranges, "["+prefix+"\x00", "("+prefix+"\x01")
		}
	}
	return ranges
}

func filterSum(ranges []string) uint32 { return checksum(strings.Join(ranges, "\xff")) }
