// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// replies has every reply that the documentation of Redis names as one that
// refuses a command, and the class that it must have.
var replies = []struct {
	name, reply string
	class       driver.Class
}{
	{"Loading", "LOADING Redis is loading the dataset in memory", driver.Unavailable},
	{"TryAgain", "TRYAGAIN Multiple keys request during rehashing of slot", driver.Unavailable},
	{"ClusterDown", "CLUSTERDOWN Hash slot not served", driver.Unavailable},
	{"MasterDown", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", driver.Unavailable},
	{"ReadOnly", "READONLY You can't write against a read only replica.", driver.ReadOnly},
	{"Unblocked", "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", driver.Unavailable},
	{"NoReplicas", "NOREPLICAS Not enough good replicas to write.", driver.Unavailable},
	{"OutOfMemory", "OOM command not allowed when used memory > 'maxmemory'.", driver.Full},
	{"OutOfMemoryOfScript", "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'", driver.Full},
	{"CannotPersist", "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", driver.ReadOnly},
	{"Busy", "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", driver.Unavailable},
	{"TooManyClients", "ERR max number of clients reached", driver.Unavailable},
	{"NoAuth", "NOAUTH Authentication required.", driver.Denied},
	{"WrongPass", "WRONGPASS invalid username-password pair or user is disabled.", driver.Denied},
	{"NoPerm", "NOPERM this user has no permissions to run the 'evalsha' command", driver.Denied},
	{"NoRightInScript", "ERR The user executing the script can't run this command or subcommand script: f, on @user_script:1.", driver.Denied},
	{"NoPermInScript", "ERR ACL failure in script: User understudy has no permissions to run the 'zadd' command script: f, on @user_script:1.", driver.Denied},
	{"ProtectedMode", "DENIED Redis is running in protected mode because protected mode is enabled", driver.Denied},
	{"WrongType", "WRONGTYPE Operation against a key holding the wrong kind of value", driver.Internal},
	{"CrossSlot", "CROSSSLOT Keys in request don't hash to the same slot", driver.Internal},
	{"ScriptError", "ERR user_script:1: attempt to index a nil value script: f, on @user_script:1.", driver.Internal},
	{"UnknownCommand", "ERR unknown command 'EVALSHA', with args beginning with: ", driver.Unavailable},
	{"NoSentinel", "ERR unknown command 'SENTINEL', with args beginning with: 'SENTINELS' 'main' ", driver.Unavailable},
	{"NoSuchMaster", "ERR No such master with that name", driver.Unavailable},
	{"Moved", "MOVED 3999 :0", driver.Unavailable},
	{"SomethingNew", "NEWERROR from a later version", driver.Internal},
}

func TestReplyToACommand(t *testing.T) {
	t.Parallel()
	for _, c := range replies {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := startFake(t, func(command []string) string {
				if command[0] == "HELLO" {
					return ""
				}
				return "-" + c.reply + "\r\n"
			})
			s := open(t, "chain", plain(t, server.addr, nil))
			_, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{workflow(t, "a")}})
			require.ErrorIs(t, err, c.class, "of a commit")
			_, err = s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
			require.ErrorIs(t, err, c.class, "of a read")
			require.ErrorContains(t, err, strings.TrimPrefix(c.reply, "ERR "), "the server's own words")
			commands, _ := server.sent()
			require.Equal(t, []string{"EVALSHA", "EVALSHA"}, commands, "each call is sent once")
		})
	}
}

func TestReplyToTheGreeting(t *testing.T) {
	t.Parallel()
	for _, c := range replies {
		switch c.name {
		case "Loading", "TooManyClients", "NoAuth", "WrongPass", "NoPerm", "ProtectedMode":
		default:
			continue // never an answer to a greeting
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := startFake(t, func([]string) string { return "-" + c.reply + "\r\n" })
			s := open(t, "chain", plain(t, server.addr, nil))
			_, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{workflow(t, "a")}})
			require.ErrorIs(t, err, c.class)
		})
	}
}

func TestUnknownScriptIsSentAsText(t *testing.T) {
	t.Parallel()
	server := startFake(t, func(command []string) string {
		switch command[0] {
		case "HELLO":
			return ""
		case "EVALSHA":
			return "-NOSCRIPT No matching script. Please use EVAL.\r\n"
		}
		return "*5\r\n$2\r\nok\r\n$8\r\n12345678\r\n:1\r\n:1700000000000\r\n*1\r\n_\r\n"
	})
	s := open(t, "chain", plain(t, server.addr, nil))
	resp, err := s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
	require.NoError(t, err)
	require.Empty(t, resp.Records)
	commands, _ := server.sent()
	require.Equal(t, []string{"EVALSHA", "EVAL"}, commands)
}

func TestDemotedServerIsResolvedAnew(t *testing.T) {
	t.Parallel()
	server := startFake(t, func(command []string) string {
		if command[0] == "HELLO" {
			return ""
		}
		return "-READONLY You can't write against a read only replica.\r\n"
	})
	s := open(t, "chain", plain(t, server.addr, nil))
	require.Eventually(t, func() bool {
		_, err := s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
		require.ErrorIs(t, err, driver.ReadOnly)
		_, connections := server.sent()
		return connections > 2*2 // the client keeps up to two at a time
	}, time.Minute, 20*time.Millisecond, "the driver connects anew")
}

func TestMissingAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, reply string }{{"ConnectionCloses", ""}, {"NoAnswerInTime", "-"}, {"HalfAnAnswer", "*5\r\n$2\r\no"}, {"NoProtocol", "hello\r\n"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var broken atomic.Bool
			server := startFake(t, func(command []string) string {
				switch {
				case command[0] == "HELLO":
					return ""
				case !broken.Load():
					return "-LOADING Redis is loading the dataset in memory\r\n"
				}
				return c.reply
			})
			s := open(t, "chain", plain(t, server.addr, nil))
			_, err := s.Epoch(t.Context(), driver.EpochRequest{}) // connects
			require.ErrorIs(t, err, driver.Unavailable)
			broken.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = s.Commit(ctx, driver.CommitRequest{Transitions: []driver.Transition{workflow(t, "a")}})
			require.ErrorIs(t, err, driver.Unknown, "a commit may have been applied")
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = s.Get(ctx, driver.GetRequest{IDs: []string{"a"}})
			require.ErrorIs(t, err, driver.Unavailable, "a read has no effect")
		})
	}
}

func TestNothingWasSent(t *testing.T) {
	t.Parallel()
	silent := startFake(t, func([]string) string { return "-" })
	for _, c := range []struct{ name, addr string }{{"ConnectionRefused", "127.0.0.1:1"}, {"NoGreeting", silent.addr}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, "chain", plain(t, c.addr, map[string]any{"dial_timeout": "200ms", "response_timeout": "200ms"}))
			_, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: []driver.Transition{workflow(t, "a")}})
			require.ErrorIs(t, err, driver.Unavailable, "the command was certainly not sent")
		})
	}
}

// behind answers as two shards of which the second has missed epoch 1, and leaves
// unanswered what silent says; asked is how often the first has been.
func behind(silent func(shard string, asked int, adopts bool) bool) func([]string) string {
	var asked atomic.Int32
	const header = "$8\r\n12345678\r\n:1\r\n:1700000000000\r\n"
	epoch := "\x01" + strings.Repeat("\x00", 16) + `{"Number":1}`
	return func(command []string) string {
		if command[0] == "HELLO" {
			return ""
		}
		shard := command[3][strings.LastIndex(command[3], "}")-1:][:1]
		adopts := shard == "1" && strings.HasSuffix(command[len(command)-2], `{"Number":1}`)
		if shard == "0" {
			asked.Add(1)
		}
		switch {
		case silent(shard, int(asked.Load()), adopts):
			return "-"
		case shard == "0":
			return fmt.Sprintf("*5\r\n$2\r\nok\r\n%s$%d\r\n%s\r\n", header, len(epoch), epoch)
		}
		return "*5\r\n$5\r\nepoch\r\n" + header + "$0\r\n\r\n"
	}
}

func TestShardBehindTheEpochIsNotLostForWantOfAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		silent func(shard string, asked int, adopts bool) bool
	}{
		{"FirstShardIsSilent", func(shard string, asked int, _ bool) bool { return shard == "0" && asked > 1 }},
		{"ShardIsSilentOnceAsked", func(_ string, _ int, adopts bool) bool { return adopts }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := startFake(t, behind(func(shard string, asked int, adopts bool) bool {
				silent := c.silent(shard, asked, adopts)
				if silent {
					cancel()
				}
				return silent
			}))
			s := open(t, "chain", plain(t, server.addr, map[string]any{"shards": 2}))
			tr := workflow(t, "b") // of the second shard
			tr.Record.Epoch = 1
			_, err := s.Commit(ctx, driver.CommitRequest{Guard: driver.Guard{Epoch: 1}, Transitions: []driver.Transition{tr}})
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, driver.Lost)
			require.Equal(t, driver.Unavailable, driver.ClassOf(err), "the commit was refused: %v", err)
			commands, _ := server.sent()
			require.Greater(t, len(commands), 2, "the first shard is asked")
		})
	}
}
