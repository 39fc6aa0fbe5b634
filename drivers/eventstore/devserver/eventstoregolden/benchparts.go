// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"time"
)

// The shape of the measurements.
var (
	callers    = []int{8, 64, 256}
	batchSizes = []int{16, 64, 256}
	inFlight   = []int{1, 2, 4}
)

// readTime bounds each reading of the long stream.
const readTime = 20 * time.Second

// sequential is part 1: single appends, one after the other.
func (b *bencher) sequential() error {
	var s sample
	began := time.Now()
	for i := 0; i < 200 && time.Since(began) < 2*b.o.Part; i++ {
		sent := time.Now()
		err := b.appendN(b.client(0), b.name("seq"), 1)
		s.add(time.Since(sent), err)
	}
	return b.report(1, "single appends, one after the other", &s, 1, time.Since(began))
}

// concurrent is part 2: single appends to one stream.
func (b *bencher) concurrent() error {
	for _, c := range callers {
		stream := b.name(fmt.Sprint("one", c))
		if err := b.load(2, fmt.Sprintf("single appends to one stream, %d at a time", c), c, 1, func(w, _ int) error {
			return b.appendN(b.client(w), stream, 1)
		}); err != nil {
			return err
		}
	}
	return nil
}

// appends is part 3: appends of many events to one stream.
func (b *bencher) appends() error {
	return eachBatch(func(n, f int) error {
		stream := b.name(fmt.Sprint("batch", n, "x", f))
		return b.load(3, fmt.Sprintf("append of %d events to one stream, %d in flight", n, f), f, n, func(int, int) error {
			return b.appendN(b.client(0), stream, n)
		})
	})
}

// batchAppends is part 4: the same through BatchAppend.
func (b *bencher) batchAppends() error {
	return eachBatch(func(n, f int) error {
		return b.batchLoad(4, fmt.Sprintf("BatchAppend of %d events to one stream, %d in flight", n, f), b.name(fmt.Sprint("ba", n, "x", f)), n, f)
	})
}

func eachBatch(f func(size, inFlight int) error) error {
	for _, n := range batchSizes {
		for _, calls := range inFlight {
			if err := f(n, calls); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownStreams is part 5: single appends each to its own stream.
func (b *bencher) ownStreams() error {
	for _, c := range callers[1:] {
		if err := b.load(5, fmt.Sprintf("single appends each to its own stream, %d at a time", c), c, 1, func(w, i int) error {
			return b.appendN(b.client(w), b.name(fmt.Sprintf("own%d-%d-%d", c, w, i)), 1)
		}); err != nil {
			return err
		}
	}
	return nil
}

// longStream fills the stream that is read back, once.
func (b *bencher) longStream() (string, error) {
	big := b.name("big")
	if b.filled {
		return big, nil
	}
	b.filled = true
	return big, b.fill(big, b.o.Events)
}

// reading is one way to read the long stream.
type reading struct {
	name   string
	query  Q
	sub    bool
	events int
}

func (b *bencher) readEach(part int, readings []reading) error {
	for _, r := range readings {
		if err := b.readBack(part, r, readTime); err != nil {
			return err
		}
	}
	return nil
}

// readBacks is part 6: reading the long stream back.
func (b *bencher) readBacks() error {
	big, err := b.longStream()
	if err != nil {
		return err
	}
	forwards := Q{Stream: big, From: Start, Count: math.MaxUint64}
	return b.readEach(6, []reading{
		{"read forwards, run 1", forwards, false, b.o.Events},
		{"read forwards, run 2", forwards, false, b.o.Events},
		{"read forwards in pages of 1000, first page", Q{Stream: big, From: Start, Count: 1000}, false, b.o.Events},
		{"read backwards", Q{Stream: big, From: End, Back: true, Count: math.MaxUint64}, false, b.o.Events},
		{"catch-up subscription", Q{Stream: big, From: Start, NoCount: true}, true, b.o.Events},
		{"catch-up subscription to $all, prefix filter", Q{All: true, From: Start, NoCount: true, Filter: streamPrefix(32, 1, big)}, true, b.o.Events},
	})
}

// liveArrival is part 7.
func (b *bencher) liveArrival() error { return b.live(7, b.name("live")) }

// truncated is part 8: the time to the first event after $tb was set.
func (b *bencher) truncated() error {
	big, err := b.longStream()
	if err != nil {
		return err
	}
	first := Q{Stream: big, From: Start, Count: 1}
	if err := b.readEach(8, []reading{{"first event of the stream, not truncated", first, false, 1}}); err != nil {
		return err
	}
	for _, cut := range []int{b.o.Events / 2, b.o.Events * 99 / 100, b.o.Events - 1} {
		if err := b.truncate(big, cut); err != nil {
			return fmt.Errorf("set $tb: %w", err)
		}
		if err := b.readEach(8, []reading{
			{fmt.Sprintf("first event after $tb=%d, run 1", cut), first, false, 1},
			{fmt.Sprintf("first event after $tb=%d, run 2", cut), first, false, 1},
			{fmt.Sprintf("read all after $tb=%d", cut), Q{Stream: big, From: Start, Count: math.MaxUint64}, false, b.o.Events},
			{fmt.Sprintf("subscribe after $tb=%d", cut), Q{Stream: big, From: Start, NoCount: true}, true, 1},
		}); err != nil {
			return err
		}
	}
	return nil
}
