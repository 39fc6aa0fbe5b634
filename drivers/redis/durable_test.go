// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

func TestDurabilityReplicas(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	downAfter(t, watched, time.Minute)
	s := open(t, "chain", watched.Config(t, map[string]any{"durability": "replicas:2", "durability_timeout": "300ms"}))
	slow := open(t, "chain", watched.Config(t, map[string]any{"durability": "replicas:2", "durability_timeout": "30s"}))
	commit(t, slow, nil, "a")
	watched.Servers[2].Freeze(t)
	tr := workflow(t, "b")
	for range 2 { // a repeat writes nothing new and yet has to wait
		redistest.Eventually(t, "the other one has confirmed it in time", func() error {
			_, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{tr}})
			require.ErrorIs(t, err, driver.Unknown)
			if !strings.Contains(err.Error(), "1 of 2 confirmed") {
				return err
			}
			return nil
		})
	}
	watched.Servers[2].Thaw(t)
	redistest.Eventually(t, "both replicas confirm", func() error {
		resp, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{tr}})
		if err == nil {
			require.NoError(t, resp.Verdicts[0].Err)
			require.False(t, resp.Verdicts[0].Applied)
		}
		return err
	})
	_, err := slow.Advance(t.Context(), driver.AdvanceRequest{Next: driver.Epoch{Number: 1, Token: driver.NewToken(), Active: "a"}})
	require.NoError(t, err)
}

func TestDurabilityReplicasInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, patient)
	s := open(t, "chain", cluster.Config(t, map[string]any{"durability": "replicas:1", "durability_timeout": "30s"}))
	commit(t, s, nil, numbered("r", 50)...)
	require.Empty(t, probe(t, s).Problems)
}

// TestDurabilityFsync is refused by the Redis 7.0 of Debian 12, and passes on what
// has WAITAOF.
func TestDurabilityFsync(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Config: []string{"appendonly yes", "appendfsync everysec"}})
	version := server.Info(t, "redis_version")
	s := open(t, "chain", server.Config(t, map[string]any{"durability": "fsync", "durability_timeout": "10s"}))
	_, err := tryCommit(t, s, nil, "a")
	if strings.HasPrefix(version, "7.0.") {
		require.ErrorIs(t, err, driver.Unsupported)
		require.ErrorContains(t, err, "WAITAOF")
		require.ErrorContains(t, err, version)
		return
	}
	require.ErrorIs(t, err, driver.Denied, "without +waitaof")
	grant := func() { server.Do(t, "ACL", "SETUSER", redistest.User, "+waitaof") }
	grant()
	commit(t, s, nil, "a")
	require.Empty(t, probe(t, s).Problems)
	server.Kill(t)
	server.Start(t)
	grant()
	again(t, s)
	resp, err := s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.NoError(t, err)
	require.Len(t, resp.Records, 1, "it was on the disk")

	server.Do(t, "CONFIG", "SET", "appendonly", "no")
	_, err = tryCommit(t, s, nil, "b")
	require.ErrorIs(t, err, driver.Unknown, "it is applied and nobody flushes it")
	redistest.Eventually(t, "the driver refuses before anything is applied", func() error {
		_, err := tryCommit(t, s, nil, "c")
		if driver.ClassOf(err) == driver.Unavailable {
			require.ErrorContains(t, err, "appendonly")
			return nil
		}
		return fmt.Errorf("it answers %w", err)
	})
	server.Do(t, "CONFIG", "SET", "appendonly", "yes")
	again(t, s)
}

const (
	applied = "*6\r\n$2\r\nok\r\n$8\r\n12345678\r\n:1\r\n:1700000000000\r\n$1\r\na\r\n*0\r\n"
	noLog   = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n"
)

// waiting answers as a server that has WAITAOF, whose answers are, in turn, those
// given; the last one stays.
func waiting(version string, answers ...string) func([]string) string {
	return func(command []string) string {
		switch command[0] {
		case "HELLO":
			return ""
		case "INFO":
			text := "redis_version:" + version + "\r\n"
			return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
		case "WAITAOF", "WAIT":
			answer := answers[0]
			if len(answers) > 1 {
				answers = answers[1:]
			}
			return answer
		}
		return applied
	}
}

// answersToWait are those of a server, and what comes of them.
type answersToWait struct {
	name, durability, version string
	answers                   []string
	class                     driver.Class
	says                      string
	sent                      bool // whether the commit was
}

// patience is how long to wait for an answer.
func (a answersToWait) patience() string {
	if slices.Contains(a.answers, "-") {
		return "1s" // it never comes
	}
	return "10s"
}

func TestAnswersToAWaitForDurability(t *testing.T) {
	t.Parallel()
	const flushed, not = "*2\r\n:1\r\n:0\r\n", "*2\r\n:0\r\n:0\r\n"
	for _, c := range []answersToWait{
		{"Flushed", "fsync", "7.2.4", []string{flushed, flushed}, 0, "", true},
		{"FlushedLater", "fsync", "8.0.1", []string{not, flushed}, 0, "", true},
		{"NotInTime", "fsync", "7.2.4", []string{flushed, not}, driver.Unknown, "0 of 1 confirmed", true},
		{"LogIsOff", "fsync", "7.2.4", []string{noLog}, driver.Unavailable, "set appendonly yes", false},
		{"LogIsTurnedOff", "fsync", "7.2.4", []string{flushed, noLog}, driver.Unknown, "appendonly", true},
		{"NoRight", "fsync", "7.2.4", []string{"-NOPERM User understudy has no permissions to run the 'waitaof' command\r\n"}, driver.Denied, "waitaof", false},
		{"RightIsTaken", "fsync", "7.2.4", []string{flushed, "-NOPERM User understudy has no permissions to run the 'waitaof' command\r\n"}, driver.Unknown, "waitaof", true},
		{"NoAnswer", "fsync", "7.2.4", []string{flushed, "-"}, driver.Unknown, "", true},
		{"ConnectionCloses", "fsync", "7.2.4", []string{flushed, ""}, driver.Unknown, "", true},
		{"Nonsense", "fsync", "7.2.4", []string{flushed, "+OK\r\n"}, driver.Unknown, "fsync", true},
		{"OlderServer", "fsync", "7.0.15", []string{flushed}, driver.Unsupported, "7.0.15", false},
		{"Replicas", "replicas:2", "7.0.15", []string{":0\r\n", ":2\r\n"}, 0, "", true},
		{"TooFewReplicas", "replicas:2", "7.0.15", []string{":0\r\n", ":1\r\n"}, driver.Unknown, "1 of 2 confirmed", true},
		{"NoRightToWait", "replicas:2", "7.0.15", []string{"-NOPERM User understudy has no permissions to run the 'wait' command\r\n"}, driver.Denied, "wait", false},
		{"Demoted", "replicas:2", "7.0.15", []string{"-ERR WAIT cannot be used with replica instances.\r\n", ":2\r\n"}, 0, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := startFake(t, waiting(c.version, c.answers...))
			s := open(t, "chain", plain(t, server.addr, map[string]any{"durability": c.durability, "durability_timeout": "100ms", "response_timeout": c.patience()}))
			resp, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{workflow(t, "a")}})
			if c.class == 0 {
				require.NoError(t, err)
				require.True(t, resp.Verdicts[0].Applied)
			} else {
				require.ErrorIs(t, err, c.class)
				require.ErrorContains(t, err, c.says)
			}
			commands, _ := server.sent()
			if c.sent {
				require.Contains(t, commands, "EVAL")
			} else {
				require.NotContains(t, commands, "EVAL", "nothing is applied that cannot be confirmed")
			}
		})
	}
}

// A server that has refused to wait is asked, before the next commit, whether it
// still does.
func TestRefusedWaitIsLookedAtBeforeTheNextCommit(t *testing.T) {
	t.Parallel()
	server := startFake(t, waiting("7.2.4", "*2\r\n:1\r\n:0\r\n", noLog))
	s := open(t, "chain", plain(t, server.addr, map[string]any{"durability": "fsync"}))
	require.Eventually(t, func() bool {
		_, err := tryCommit(t, s, nil, "a")
		require.Error(t, err)
		return driver.ClassOf(err) == driver.Unavailable
	}, time.Minute, 20*time.Millisecond)
	applied := func() int {
		commands, _ := server.sent()
		return strings.Count(strings.Join(commands, " "), "EVAL")
	}
	before := applied()
	_, err := tryCommit(t, s, nil, "a")
	require.ErrorIs(t, err, driver.Unavailable)
	require.Equal(t, before, applied())
}

// From version 8 on, the client asks a Cluster for both ports of each node.
func TestClusterThatNamesBothPorts(t *testing.T) {
	t.Parallel()
	certificates := redistest.NewCertificates(t)
	pair, err := tls.LoadX509KeyPair(certificates.Certificate, certificates.Key)
	require.NoError(t, err)
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	shards := "*1\r\n%2\r\n+slots\r\n*2\r\n:0\r\n:16383\r\n+nodes\r\n*1\r\n%5\r\n+port\r\n:1\r\n+tls-port\r\n:" + port +
		"\r\n+endpoint\r\n$9\r\n127.0.0.1\r\n+role\r\n+master\r\n+health\r\n+online\r\n"
	server := serveFake(t, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}),
		func(command []string) string {
			switch command[0] {
			case "HELLO":
				return strings.Replace(greeting, "$6\r\n7.0.15", "$5\r\n8.0.1", 1)
			case "CLUSTER":
				return shards
			}
			return applied
		})
	s := open(t, "chain", plain(t, server.addr, map[string]any{"mode": "cluster", "shards": 1, "tls": map[string]any{"ca": certificates.CA}}))
	commit(t, s, nil, "a")
}
