// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

// ledger notes what became of each commit of a load, and compares with the store.
type ledger struct {
	mu                     sync.Mutex
	done, refused, unknown []string
	classes                map[driver.Class]int
	acknowledged           atomic.Int64
}

// load commits new workflows from several goroutines until it is stopped.
func load(t *testing.T, s driver.Store, prefix string) (l *ledger, stop func()) {
	t.Helper()
	l = &ledger{classes: map[driver.Class]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				l.commit(t, s, fmt.Sprintf("%s-%d-%d", prefix, worker, n))
			}
		})
	}
	return l, func() {
		cancel()
		wg.Wait()
	}
}

func (l *ledger) commit(t *testing.T, s driver.Store, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	resp, err := s.Commit(ctx, driver.CommitRequest{Transitions: []driver.Transition{workflow(t, id)}})
	if err == nil {
		err = resp.Verdicts[0].Err
	}
	class := driver.ClassOf(err)
	l.mu.Lock()
	l.classes[class]++
	switch class {
	case 0:
		l.done = append(l.done, id)
	case driver.Unknown:
		l.unknown = append(l.unknown, id)
	default:
		l.refused = append(l.refused, id)
	}
	l.mu.Unlock()
	if class == 0 {
		l.acknowledged.Add(1)
		return
	}
	select { // as a host would before it tries again
	case <-time.After(5 * time.Millisecond):
	case <-t.Context().Done():
	}
}

// more waits until the load has had n more acknowledgements.
func (l *ledger) more(t *testing.T, n int64) {
	t.Helper()
	from := l.acknowledged.Load()
	redistest.Eventually(t, "the load goes on", func() error {
		if got := l.acknowledged.Load() - from; got < n {
			l.mu.Lock()
			defer l.mu.Unlock()
			return fmt.Errorf("%d of %d acknowledgements, so far %v", got, n, l.classes)
		}
		return nil
	})
}

// settle compares the outcomes with what the store holds.
func (l *ledger) settle(t *testing.T, s driver.Store) {
	t.Helper()
	t.Logf("outcomes by class: %v", l.classes)
	held := make(map[string]bool)
	req := driver.ListRequest{Limit: driver.MaxBatch}
	for more := true; more; more = req.Cursor != "" {
		var resp driver.ListResponse
		redistest.Eventually(t, "the store lists its records", func() (err error) {
			resp, err = s.List(t.Context(), req)
			return err
		})
		for _, r := range resp.Records {
			held[r.ID] = true
		}
		req.Cursor = resp.Next
	}
	for _, id := range l.refused {
		require.False(t, held[id], "%s was refused and is there", id)
	}
	for _, id := range l.done {
		require.True(t, held[id], "%s was acknowledged and is gone", id)
	}
	require.NotEmpty(t, l.done)
}

func TestMasterRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Config: []string{"appendonly yes", "appendfsync always"}})
	s := open(t, "chain", server.Config(t, nil))
	before := probe(t, s).Generation
	l, stop := load(t, s, "r")
	defer stop()
	l.more(t, 100)
	server.Kill(t)
	server.Start(t)
	l.more(t, 100)
	stop()
	redistest.Eventually(t, "the change is reported", func() error { return hasChanged(t, s, before) })
	l.settle(t, s)
}

// patient makes the nodes of a Cluster wait for each other for so long that none
// is given up for being slow on a busy machine: a failover that nobody asked for
// may lose what was acknowledged.
var patient = redistest.Options{Config: []string{"cluster-node-timeout 20000"}}

// downAfter sets how long a master may be silent until the Sentinels give it up: on
// a busy machine a while, since a failover that nobody asked for may lose what was
// acknowledged.
func downAfter(t *testing.T, watched *redistest.Watched, d time.Duration) {
	t.Helper()
	for _, sentinel := range watched.Sentinels {
		sentinel.Do(t, "SENTINEL", "SET", redistest.MasterName, "down-after-milliseconds", strconv.FormatInt(d.Milliseconds(), 10))
	}
}

func TestClusterFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, patient)
	s := open(t, "chain", cluster.Config(t, map[string]any{"shards": 6}))
	before := probe(t, s).Generation
	l, stop := load(t, s, "r")
	defer stop()
	l.more(t, 100)
	for i := range 3 {
		cluster.TakeOver(t, i+3)
		l.more(t, 100)
	}
	stop()
	redistest.Eventually(t, "all shards serve and the change is reported", func() error { return hasChanged(t, s, before) })
	l.settle(t, s)
}

// hasChanged returns nil once a probe tells another generation than before.
func hasChanged(t *testing.T, s driver.Store, before string) error {
	t.Helper()
	resp, err := s.Probe(t.Context(), driver.ProbeRequest{})
	if err == nil && resp.Generation == before {
		return errors.New("the generation is still the old one")
	}
	return err
}

func TestClusterSlotMigrationUnderLoad(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, patient)
	s := open(t, "chain", cluster.Config(t, map[string]any{"shards": 2}))
	l, stop := load(t, s, "r")
	defer stop()
	l.more(t, 100)
	cluster.MoveSlot(t, "{us:chain:0}:m")
	l.more(t, 100)
	stop()
	l.settle(t, s)
}

func TestSentinelFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	downAfter(t, watched, time.Minute)
	s := open(t, "chain", watched.Config(t, brisk))
	before := probe(t, s).Generation
	old := watched.Master(t)
	l, stop := load(t, s, "r")
	defer stop()
	l.more(t, 100)
	stop()
	redistest.Eventually(t, "the replicas have it all", func() error { return old.InStep(t) })
	redistest.Eventually(t, "a Sentinel begins", func() error { // once it finds a replica that is fit
		_, err := watched.Sentinels[0].TryDo(t, "SENTINEL", "FAILOVER", redistest.MasterName)
		return err
	})
	redistest.Eventually(t, "the store serves through the new master and reports the change", func() error { return hasChanged(t, s, before) })
	l.settle(t, s)
	second, stop := load(t, s, "s")
	second.more(t, 100)
	stop()
	second.settle(t, s)
}

// What two of two replicas have confirmed outlives the master, whichever of them
// takes over.
func TestSentinelMasterIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	downAfter(t, watched, time.Minute) // no failover before the master is killed
	s := open(t, "chain", watched.Config(t, with(brisk, map[string]any{"durability": "replicas:2"})))
	l, stop := load(t, s, "r")
	defer stop()
	l.more(t, 50)
	watched.Master(t).Kill(t)
	downAfter(t, watched, time.Second)
	after := open(t, "chain", watched.Config(t, brisk))
	redistest.Eventually(t, "the store serves through the new master", func() error {
		_, err := tryCommit(t, after, nil, "b-"+strconv.Itoa(int(time.Now().UnixNano())))
		return err
	})
	stop()
	l.settle(t, after)
}
