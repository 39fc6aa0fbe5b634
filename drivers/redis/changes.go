// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

const (
	feedEntries = 16          // read at once; an entry has up to MaxBatch changes
	feedBlock   = time.Second // how long the server waits for something new
)

// Changes follows the feeds of all shards. Each has a goroutine that reads from
// the last place and, when there is nothing, waits for a stream to grow; what it
// waits for is only a sign to read again.
func (s *Store) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	if err := s.usable(ctx); err != nil {
		return s.wrap(err, "changes")
	}
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopped, cancel)()

	f := &feed{store: s, req: req, emit: emit, news: make(chan news)}
	emitted, err := f.start(own)
	if err == nil {
		emitted, err = f.follow(own, cancel)
	}
	switch {
	case emitted: // the error of emit, as it is
		return err
	case ctx.Err() != nil:
		return s.wrap(driver.ContextError(ctx, false), "changes")
	case s.stopped.Err() != nil:
		return s.wrap(errClosed, "changes")
	}
	return s.wrap(err, "changes")
}

// feed is one call of Changes.
type feed struct {
	store *Store
	req   driver.ChangesRequest
	emit  func(driver.ChangeBatch) error
	at    feedCursor
	ends  []uint64 // the sequence of each shard when the call began
	news  chan news
}

// news is what one shard has told.
type news struct {
	shard   int
	answer  answer
	entries []feedEntry
	err     error
	end     bool // the shard has told all that it is asked for
}

// start finds the places to begin at, and emits the first batch.
func (f *feed) start(ctx context.Context) (emitted bool, err error) {
	shards, err := f.store.shards(ctx)
	if err != nil {
		return false, err
	}
	if f.req.Cursor != "" {
		if f.at, err = parseFeedCursor(f.req.Cursor, shards); err != nil {
			return false, f.store.guarded(ctx, guard{seen: f.req.Seen}, err)
		}
	} else {
		f.at = make(feedCursor, shards)
	}
	f.ends = make([]uint64, shards)
	var receipt driver.Receipt
	for shard := range f.at {
		place := f.at[shard].mark
		a, _, err := f.store.readFeed(ctx, shard, place, f.req.Cursor == "", 1, f.req.Seen)
		if err != nil {
			return false, err
		}
		receipt = add(receipt, a)
		f.ends[shard] = a.mark.Sequence
		if f.req.Cursor == "" {
			f.at[shard].mark = a.mark
		}
	}
	if err := f.emit(driver.ChangeBatch{Receipt: receipt, Cursor: f.at.encode()}); err != nil {
		return true, err
	}
	return false, nil
}

// follow emits what the shards tell, until one breaks off.
func (f *feed) follow(ctx context.Context, cancel context.CancelFunc) (emitted bool, err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for shard := range f.at {
		wg.Go(func() { f.followShard(ctx, shard, f.at[shard].mark) })
	}
	for left := len(f.at); left > 0; {
		select {
		case <-ctx.Done():
			return false, driver.ContextError(ctx, false)
		case n := <-f.news:
			if n.err != nil {
				return false, n.err
			}
			for _, e := range n.entries {
				if emitted, err := f.tell(ctx, n, e); err != nil {
					return emitted, err
				}
			}
			if n.end {
				left--
			}
		}
	}
	return false, nil
}

// followShard sends news until ctx is done, the feed breaks off, or it has come to
// the end that is asked for.
func (f *feed) followShard(ctx context.Context, shard int, at driver.Mark) {
	for {
		n := news{shard: shard}
		n.answer, n.entries, n.err = f.store.readFeed(ctx, shard, at, false, feedEntries, nil)
		if n.err == nil {
			at.Incarnation = n.answer.mark.Incarnation
			if len(n.entries) > 0 {
				at.Sequence = n.entries[len(n.entries)-1].sequence
			}
			n.end = f.req.ToEnd && (len(n.entries) == 0 || at.Sequence >= f.ends[shard])
			if len(n.entries) == 0 && !n.end {
				if n.err = f.store.awaitFeed(ctx, shard, at); n.err == nil {
					continue
				}
			}
		}
		select {
		case f.news <- n:
		case <-ctx.Done():
			return
		}
		if n.err != nil || n.end {
			return
		}
	}
}

// tell emits one entry, in pieces if records are asked for, since those may be
// large.
func (f *feed) tell(ctx context.Context, n news, e feedEntry) (emitted bool, err error) {
	place := &f.at[n.shard]
	changes := e.changes[min(place.skip, len(e.changes)):]
	size := len(changes)
	if f.req.Records {
		size = min(size, perRead)
	}
	place.mark.Incarnation = n.answer.mark.Incarnation
	for piece := range slices.Chunk(changes, max(size, 1)) {
		place.skip += len(piece)
		if place.skip >= len(e.changes) {
			place.mark.Sequence, place.skip = e.sequence, 0
		}
		batch := driver.ChangeBatch{Receipt: add(driver.Receipt{}, n.answer), Changes: piece, Cursor: f.at.encode()}
		if f.req.Records {
			if batch.Changes, err = f.withRecords(ctx, piece); err != nil {
				return false, err
			}
		}
		if err := f.emit(batch); err != nil {
			return true, err
		}
	}
	return false, nil
}

// withRecords adds the records as they stand, and leaves out those that are gone.
func (f *feed) withRecords(ctx context.Context, changes []driver.Change) ([]driver.Change, error) {
	ids := make([]string, len(changes))
	for i, c := range changes {
		ids[i] = c.ID
	}
	_, found, err := f.store.read(ctx, nil, ids)
	if err != nil {
		return nil, err
	}
	var kept []driver.Change
	for i, c := range changes {
		if found[i] != nil {
			c.Record = found[i]
			kept = append(kept, c)
		}
	}
	return kept, nil
}
