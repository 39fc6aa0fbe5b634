// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// TestOneWriterWinsEachRevision lets writers race for every revision of a stream.
func TestOneWriterWinsEachRevision(t *testing.T) {
	t.Parallel()
	const writers, revisions = 8, 40
	f := setup(t, devserver.Options{})
	won := make([][]uint64, writers)
	failed := make([]error, writers)
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			for revision := range uint64(revisions) {
				var expected esdb.ExpectedRevision = esdb.NoStream{}
				if revision > 0 {
					expected = esdb.Revision(revision - 1)
				}
				_, err := f.write("s", expected, uuid.New())
				if err == nil {
					won[i] = append(won[i], revision)
					continue
				}
				if e, ok := errors.AsType[*esdb.Error](err); !ok || e.Code() != esdb.ErrorCodeWrongExpectedVersion {
					failed[i] = err
					return
				}
			}
		})
	}
	running.Wait()
	require.NoError(t, errors.Join(failed...))
	all := slices.Concat(won...)
	slices.Sort(all)
	require.Equal(t, f.revisions("s"), all, "every event has one winner who was told so")
	require.Equal(t, slices.Compact(slices.Clone(all)), all)
}

// TestAppendsAreAtomicAndOrdered checks that the events of an append stand together, whoever else writes.
func TestAppendsAreAtomicAndOrdered(t *testing.T) {
	t.Parallel()
	const writers, appends, each = 6, 20, 7
	f := setup(t, devserver.Options{})
	batches := make([][][]uuid.UUID, writers)
	failed := make([]error, writers)
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			for range appends {
				batch := ids(each)
				batches[i] = append(batches[i], batch)
				if _, err := f.write("s", esdb.Any{}, batch...); err != nil {
					failed[i] = err
					return
				}
			}
		})
	}
	running.Wait()
	require.NoError(t, errors.Join(failed...))
	f.restart()
	got, err := f.read("s", esdb.ReadStreamOptions{From: esdb.Start{}})
	require.NoError(t, err)
	require.Len(t, got, writers*appends*each)
	place := map[uuid.UUID]int{}
	for i, e := range got {
		place[e.OriginalEvent().EventID] = i
	}
	for _, written := range batches {
		previous := -1
		for _, batch := range written {
			require.Greater(t, place[batch[0]], previous, "a writer's appends keep their order")
			for i, id := range batch {
				require.Equal(t, place[batch[0]]+i, place[id], "an append is not interleaved")
			}
			previous = place[batch[each-1]]
		}
	}
}
