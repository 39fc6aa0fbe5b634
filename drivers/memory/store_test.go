// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
	"github.com/understudy-dev/understudy/drivers/memory"
)

// handClock is a clock that tests set.
type handClock struct {
	mu     sync.Mutex
	now    time.Time
	alarms map[*alarm]bool
}

type alarm struct {
	at time.Time
	f  func()
}

func newHandClock() *handClock {
	return &handClock{now: time.UnixMilli(1_000_000_000), alarms: map[*alarm]bool{}}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarm{c.now.Add(d), f}
	c.alarms[a] = true
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		waits := c.alarms[a]
		delete(c.alarms, a)
		return waits
	}
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	for a := range c.alarms {
		if !a.at.After(c.now) {
			due = append(due, a.f)
			delete(c.alarms, a)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

func open(t *testing.T, o memory.Options) *journal.Machine {
	t.Helper()
	o.Chain = "test"
	m, err := memory.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close(t.Context())) })
	return m
}

func start(t *testing.T, s driver.Store, now time.Time, ids ...string) []driver.Verdict {
	t.Helper()
	var req driver.CommitRequest
	for _, id := range ids {
		tr, err := driver.Start(driver.Stamp{Token: driver.NewToken(), Now: now}, driver.Workflow{ID: id, Kind: "k"})
		require.NoError(t, err)
		req.Transitions = append(req.Transitions, tr)
	}
	resp, err := s.Commit(t.Context(), req)
	require.NoError(t, err)
	return resp.Verdicts
}

func count(t *testing.T, s driver.Store) int64 {
	t.Helper()
	p, err := s.Probe(t.Context(), driver.ProbeRequest{})
	require.NoError(t, err)
	return p.Records
}

func TestStoresOfOneNameShareTheirData(t *testing.T) {
	t.Parallel()
	named := memory.Options{Config: memory.Config{Name: "shared"}}
	a, b, private := open(t, named), open(t, named), open(t, memory.Options{})
	start(t, a, time.Now(), "one")
	require.EqualValues(t, 1, count(t, b))
	require.EqualValues(t, 0, count(t, private))
	other, err := memory.Open(t.Context(), memory.Options{Config: named.Config, Chain: "another"})
	require.NoError(t, err)
	require.EqualValues(t, 0, count(t, other), "chains share nothing")
	require.NoError(t, other.Close(t.Context()))

	require.NoError(t, a.Close(t.Context()))
	require.NoError(t, b.Close(t.Context()))
	require.EqualValues(t, 1, count(t, open(t, named)), "the data outlive the stores")
	memory.Forget("test", named.Name)
	require.EqualValues(t, 0, count(t, open(t, named)))
	memory.Forget("test", named.Name)
}

func TestFullStoreTakesNoNewRecords(t *testing.T) {
	t.Parallel()
	s := open(t, memory.Options{Config: memory.Config{MaxRecords: 3}})
	verdicts := start(t, s, time.Now(), "a", "b", "c", "d", "a")
	for _, v := range verdicts[:3] {
		require.NoError(t, v.Err)
	}
	require.ErrorIs(t, verdicts[3].Err, driver.Full)
	require.ErrorIs(t, verdicts[4].Err, driver.Exists)
	got, err := s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.NoError(t, err)
	cancel, err := driver.Cancel(driver.Stamp{Token: driver.NewToken(), Now: time.Now()}, got.Records[0], "", time.Time{})
	require.NoError(t, err)
	resp, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{cancel}})
	require.NoError(t, err)
	require.NoError(t, resp.Verdicts[0].Err, "what is there may change")
}

func TestClockDecidesWhatIsDueAndWhatExpires(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := open(t, memory.Options{Clock: clock, Tidy: time.Millisecond})
	start(t, s, clock.Now().Add(time.Minute), "a")
	req := driver.ClaimRequest{Owner: "o", Token: driver.NewToken(), Kinds: []string{"k"}, Limit: 10, Lease: time.Minute}
	resp, err := s.Claim(t.Context(), req)
	require.NoError(t, err)
	require.Empty(t, resp.Records)
	require.Equal(t, clock.Now().Add(time.Minute).UTC(), resp.Next)
	clock.advance(time.Minute)
	resp, err = s.Claim(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, resp.Records, 1)
	end, err := driver.Succeed(driver.Stamp{Token: driver.NewToken(), Now: resp.Time, Lease: req.Token}, resp.Records[0], nil, resp.Time.Add(time.Hour))
	require.NoError(t, err)
	committed, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{end}})
	require.NoError(t, err)
	require.NoError(t, committed.Verdicts[0].Err)
	clock.advance(59 * time.Minute)
	require.EqualValues(t, 1, count(t, s))
	require.Eventually(t, func() bool {
		clock.advance(time.Minute)
		return count(t, s) == 0
	}, time.Minute, time.Millisecond, "it leaves once its retention has ended")
}

func TestReplicasOfOneLogAreEqualAfterCompactions(t *testing.T) {
	t.Parallel()
	o := memory.Options{Config: memory.Config{Name: "compacted"}, Tidy: time.Millisecond, Slack: 100}
	t.Cleanup(func() { memory.Forget("test", o.Name) })
	a, b := open(t, o), open(t, o)
	for i := range 300 {
		ids := make([]string, 64)
		for j := range ids {
			ids[j] = fmt.Sprintf("%d-%d", i, j)
		}
		start(t, []driver.Store{a, b}[i%2], time.Now(), ids...)
	}
	late := open(t, o)
	require.Eventually(t, func() bool {
		at, digest := a.Digest()
		bAt, bDigest := b.Digest()
		lateAt, lateDigest := late.Digest()
		return bAt == at && lateAt == at && bDigest == digest && lateDigest == digest
	}, time.Minute, 10*time.Millisecond)
	require.EqualValues(t, 300*64, count(t, late))
}
