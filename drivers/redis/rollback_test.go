// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

// isLost checks that all methods refuse a caller that has seen more, and have no
// effect.
func isLost(t *testing.T, s driver.Store, seen driver.Marks) {
	t.Helper()
	before := count(t, s)
	_, err := tryCommit(t, s, seen, "of a caller that knew better")
	require.ErrorIs(t, err, driver.Lost)
	_, err = s.Merge(t.Context(), driver.MergeRequest{Guard: driver.Guard{Seen: seen}, Records: []driver.Record{workflow(t, "merged").Record}})
	require.ErrorIs(t, err, driver.Lost)
	_, err = s.Get(t.Context(), driver.GetRequest{Seen: seen, IDs: []string{"a"}})
	require.ErrorIs(t, err, driver.Lost)
	require.Equal(t, before, count(t, s), "nothing was applied")
}

func count(t *testing.T, s driver.Store) int64 {
	t.Helper()
	resp, err := s.Probe(t.Context(), driver.ProbeRequest{})
	require.NoError(t, err)
	return resp.Records
}

// again waits until a restarted server serves the store.
func again(t *testing.T, s driver.Store) {
	t.Helper()
	redistest.Eventually(t, "the server is back", func() error {
		_, err := s.Epoch(t.Context(), driver.EpochRequest{})
		return err
	})
}

func TestRollbackRestartEmpty(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	seen := commit(t, s, nil, "a", "b")
	server.Restart(t, nil)
	again(t, s)
	isLost(t, s, seen)
	commit(t, s, nil, "a") // who trusts the store as it is begins anew
	commit(t, s, nil, numbered("r", 100)...)
	isLost(t, s, seen) // also once it has grown beyond
}

func TestRollbackFreshStoreIsNotLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	seen := commit(t, s, nil, "a")
	commit(t, open(t, "another", server.Config(t, nil)), nil, "a")
	commit(t, s, seen, "b")
}

func TestRollbackRestartFromOldSnapshot(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	old := commit(t, s, nil, "a")
	snapshot := server.Snapshot(t)
	seen := commit(t, s, old, "b", "c")
	server.Restart(t, snapshot)
	again(t, s)
	isLost(t, s, seen)
	// A caller that has seen no more than the snapshot goes on, and the store grows
	// beyond what the other has seen.
	commit(t, s, old, numbered("r", 50)...)
	isLost(t, s, seen)
}

func TestRollbackRestartWithoutLossIsNotLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	seen := commit(t, s, nil, "a", "b")
	cursor := ""
	require.NoError(t, ignore(s.Changes(t.Context(), driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
		cursor = b.Cursor
		return errEnough
	})))
	for range 3 {
		server.Restart(t, server.Snapshot(t))
		again(t, s)
	}
	seen = seen.With(commit(t, s, seen, "c"))
	commit(t, s, seen, "d")
	var told []string
	require.NoError(t, ignore(s.Changes(t.Context(), driver.ChangesRequest{Cursor: cursor, Seen: seen}, func(b driver.ChangeBatch) error {
		for _, c := range b.Changes {
			told = append(told, c.ID)
		}
		if len(told) == 2 {
			return errEnough
		}
		return nil
	})), "a cursor outlives a restart")
	require.Equal(t, []string{"c", "d"}, told)
}

func TestRollbackFlushAllUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	const clients = 8
	var wg, begun sync.WaitGroup
	flushed := make(chan struct{})
	for i := range clients {
		s := open(t, "chain", server.Config(t, nil))
		begun.Add(1)
		begins := sync.OnceFunc(begun.Done)
		wg.Go(func() {
			defer begins()
			seen, done := driver.Marks(nil), flushed
			for n := 0; ; n++ {
				marks, err := tryCommit(t, s, seen, "r-"+strconv.Itoa(i)+"-"+strconv.Itoa(n))
				if err != nil {
					if driver.ClassOf(err) != driver.Lost {
						t.Errorf("client %d: want lost, got %v", i, err)
					}
					return
				}
				select {
				case <-done:
					done = nil // the call before may have begun earlier; the next one has not
				default:
					if done == nil {
						t.Errorf("client %d does not notice", i)
						return
					}
				}
				seen = seen.With(marks)
				begins()
			}
		})
	}
	begun.Wait() // who has seen nothing does not notice
	s := open(t, "chain", server.Config(t, nil))
	redistest.Eventually(t, "there is load", func() error {
		if count(t, s) < 200 {
			return errEnough
		}
		return nil
	})
	server.Do(t, "FLUSHALL")
	close(flushed)
	wg.Wait()
}

func TestRollbackPromotedReplicaThatLags(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	master := watched.Master(t)
	s := open(t, "chain", master.Config(t, nil))
	behind := commit(t, s, nil, "a")
	redistest.Eventually(t, "the replicas have it", func() error { return master.InStep(t) })
	for _, sentinel := range watched.Sentinels {
		sentinel.Kill(t) // or they would put things right after a while
	}
	for _, replica := range watched.Servers[1:] {
		replica.Do(t, "CONFIG", "SET", "masterauth", "wrong") // it keeps its data and gets no more
		replica.Do(t, "REPLICAOF", "127.0.0.1", "1")
		replica.Do(t, "REPLICAOF", "NO", "ONE")
	}
	seen := commit(t, s, behind, "b", "c")
	promoted := watched.Servers[1]
	other := open(t, "chain", promoted.Config(t, nil))
	isLost(t, other, seen)
	commit(t, other, behind, numbered("r", 20)...)
	isLost(t, other, seen)
}
