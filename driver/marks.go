// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
)

// Mark is how far one partition of a store has come. A store without
// partitions has one, numbered 0.
//
// Sequence grows with each mutation. Incarnation is a random number that the
// partition got when it was created, or when its history was found to have
// branched; it tells a store that lost everything and grew again from one that
// went on.
type Mark struct {
	Partition   uint32
	Incarnation uint64
	Sequence    uint64
}

// Marks is what is known of the partitions of one store, sorted by partition.
// The zero value knows nothing. A Marks is never changed in place.
type Marks []Mark

// With returns m with what later tells: the higher sequence of each partition,
// or later's whole mark where the incarnation differs.
func (m Marks) With(later Marks) Marks {
	out := slices.Clone(m)
	for _, l := range later {
		i, found := slices.BinarySearchFunc(out, l.Partition, func(a Mark, p uint32) int { return cmp.Compare(a.Partition, p) })
		switch {
		case !found:
			out = slices.Insert(out, i, l)
		case out[i].Incarnation != l.Incarnation, out[i].Sequence < l.Sequence:
			out[i] = l
		}
	}
	return out
}

// Incarnation is a digest of the incarnations of all partitions in m: another one
// once a partition has begun anew. It says nothing of how far they have come.
func (m Marks) Incarnation() uint64 {
	h := fnv.New64a()
	for _, one := range m {
		_ = binary.Write(h, binary.LittleEndian, struct { // a hash takes everything
			Partition   uint32
			Incarnation uint64
		}{one.Partition, one.Incarnation})
	}
	return h.Sum64()
}

// Check decides whether a store at m may serve a caller that has seen seen: nil,
// or a [Lost] error, which a store answers before it applies anything. Partitions
// that stand only on one side do not count: a store may pass in those alone that
// a call touches.
func (m Marks) Check(seen Marks) error {
	for _, s := range seen {
		i, found := slices.BinarySearchFunc(m, s.Partition, func(a Mark, p uint32) int { return cmp.Compare(a.Partition, p) })
		switch {
		case !found:
		case m[i].Incarnation != s.Incarnation:
			return &Error{Class: Lost, Detail: fmt.Sprintf(
				"partition %d is not the one that was seen before (incarnation %x, was %x): the store was emptied or replaced",
				s.Partition, m[i].Incarnation, s.Incarnation)}
		case m[i].Sequence < s.Sequence:
			return &Error{Class: Lost, Detail: fmt.Sprintf(
				"partition %d is at change %d and was seen at %d: the store has gone back", s.Partition, m[i].Sequence, s.Sequence)}
		}
	}
	return nil
}
