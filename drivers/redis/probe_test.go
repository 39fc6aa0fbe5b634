// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

func probe(t *testing.T, s driver.Store) driver.ProbeResponse {
	t.Helper()
	resp, err := s.Probe(t.Context(), driver.ProbeRequest{})
	require.NoError(t, err)
	return resp
}

func codes(problems []driver.Problem) []string {
	var codes []string
	for _, p := range problems {
		codes = append(codes, p.Code)
	}
	return codes
}

func TestProbeOfAHealthyServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Config: []string{"appendonly yes", "maxmemory 200mb"}})
	s := open(t, "chain", server.Config(t, nil))
	commit(t, s, nil, "a", "b")
	resp := probe(t, s)
	require.True(t, resp.Healthy(), "%v", resp.Problems)
	require.Empty(t, resp.Warnings)
	require.Equal(t, "master", resp.Role)
	require.EqualValues(t, 2, resp.Records)
	require.Positive(t, resp.UsedBytes)
	require.EqualValues(t, 200<<20/10*9, resp.LimitBytes)
	require.NotEmpty(t, resp.Generation)
	require.Contains(t, resp.Durability, "append-only file")
	require.Equal(t, resp.Generation, probe(t, s).Generation)
	require.Equal(t, "0", server.Do(t, "EXISTS", strings.Fields(strings.Trim(server.Do(t, "KEYS", "*:p:*")+" none", "[]"))[0]), "a probe leaves nothing behind")
}

func TestProbeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	require.Equal(t, []string{"no-memory-limit", "persistence"}, codes(probe(t, s).Warnings))
	server.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	require.Equal(t, []string{"maxmemory-policy"}, codes(probe(t, s).Problems))
	server.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	require.Empty(t, probe(t, s).Problems)
	tight := open(t, "chain", server.Config(t, map[string]any{"memory_limit": 1000}))
	require.Equal(t, []string{"memory"}, codes(probe(t, tight).Problems))
	copies := open(t, "chain", server.Config(t, map[string]any{"durability": "replicas:1"}))
	require.Equal(t, []string{"replicas"}, codes(probe(t, copies).Problems))
}

func TestProbeSeesARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	before := probe(t, s).Generation
	server.Restart(t, server.Snapshot(t))
	again(t, s)
	require.NotEqual(t, before, probe(t, s).Generation)
}

func TestOutOfMemoryNoReplicasAndDemotionAreToldApart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	commit(t, s, nil, "a")
	refused := func(class driver.Class, text string) {
		t.Helper()
		_, err := s.Probe(t.Context(), driver.ProbeRequest{})
		require.ErrorIs(t, err, class)
		require.ErrorContains(t, err, text)
		_, err = tryCommit(t, s, nil, "refused")
		require.ErrorIs(t, err, class)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "1000")
	refused(driver.Full, "maxmemory is reached")
	_, err := s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.NoError(t, err, "reads go on")
	_, err = s.Advance(t.Context(), driver.AdvanceRequest{Next: driver.Epoch{Number: 1, Token: driver.NewToken(), Active: "a"}})
	require.NoError(t, err, "a full store can be fenced")
	_, err = s.Advance(t.Context(), driver.AdvanceRequest{Expect: driver.EpochVersion{Number: 1}, Next: driver.Epoch{Number: 2, Token: driver.NewToken(), Active: "a"}})
	require.NoError(t, err)
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")

	server.Do(t, "CONFIG", "SET", "min-replicas-to-write", "1")
	_, err = s.Probe(t.Context(), driver.ProbeRequest{})
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorContains(t, err, "min-replicas-to-write")
	server.Do(t, "CONFIG", "SET", "min-replicas-to-write", "0")

	server.Do(t, "REPLICAOF", "127.0.0.1", "1")
	_, err = s.Probe(t.Context(), driver.ProbeRequest{})
	require.Contains(t, []driver.Class{driver.ReadOnly, driver.Unavailable}, driver.ClassOf(err), "%v", err)
	_, err = s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.Error(t, err, "a replica may be behind, so it answers no reads")
	server.Do(t, "REPLICAOF", "NO", "ONE")
	redistest.Eventually(t, "the server serves as a master again", func() error {
		_, err := s.Probe(t.Context(), driver.ProbeRequest{})
		return err
	})
}

func TestServerThatCannotPersist(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Config: []string{"save 3600 1", "stop-writes-on-bgsave-error yes"}})
	s := open(t, "chain", server.Config(t, nil))
	commit(t, s, nil, "a")
	server.Do(t, "CONFIG", "SET", "rdb-key-save-delay", "10000000") // the child takes ten seconds per key, and so can be killed
	server.Do(t, "BGSAVE")
	server.KillChild(t)
	redistest.Eventually(t, "the snapshot has failed", func() error {
		if server.Info(t, "rdb_last_bgsave_status") != "err" {
			return errors.New("not yet")
		}
		return nil
	})
	_, err := tryCommit(t, s, nil, "b")
	require.ErrorIs(t, err, driver.ReadOnly)
	require.ErrorContains(t, err, "cannot persist")
	_, err = s.Probe(t.Context(), driver.ProbeRequest{})
	require.ErrorIs(t, err, driver.ReadOnly)
}

func TestUserWithoutARight(t *testing.T) {
	t.Parallel()
	for _, right := range redis.ACL("us") {
		switch right {
		case "~{us:*", "+eval", "+evalsha", "+hello", "+ping", "+role", "+select", "+wait", "+xread", "+asking", "+client|setname",
			"+cluster|slots", "+cluster|shards", "+cluster|info":
			continue // not used by a probe of a single server
		}
		t.Run(strings.TrimPrefix(right, "+"), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			server.Do(t, "ACL", "SETUSER", redistest.User, "-"+strings.TrimPrefix(right, "+"))
			s := open(t, "chain", server.Config(t, nil))
			_, err := s.Probe(t.Context(), driver.ProbeRequest{})
			require.ErrorIs(t, err, driver.Denied, "the probe proves the right")
		})
	}
}
