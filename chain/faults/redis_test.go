// SPDX-License-Identifier: Apache-2.0

//go:build faults

package faults

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

// durable makes Redis keep everything over a SIGKILL.
var durable = []string{"appendonly yes", "appendfsync always"}

func TestRedisKilledWithTheDefaultPolicy(t *testing.T) {
	t.Parallel()
	for name, config := range map[string][]string{"Empty": nil, "Durable": durable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redisKilled(t, options{redis: config})
		})
	}
}

func TestRedisFrozen(t *testing.T) {
	t.Parallel()
	for _, length := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute} {
		t.Run(length.String(), func(t *testing.T) {
			t.Parallel()
			w := start(t, options{})
			w.redis.Freeze(t)
			lasts(t, length)
			w.redis.Thaw(t)
			w.progress(t, 20)
			w.finish(t)
		})
	}
}

func TestRedisRestartsEmpty(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	w.redis.Restart(t, nil)
	w.active(t, second)
	w.finish(t)
}

func TestRedisRestartsStale(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	old := w.redis.Snapshot(t)
	w.progress(t, 60)
	w.redis.Restart(t, old)
	w.active(t, second)
	w.finish(t)
}

// Redis is demoted: it becomes a replica of its own replica, which is made master.
func TestRedisDemoted(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	other := redistest.Start(t, redistest.Options{PlainText: true})
	follow := func(replica, master *redistest.Server) {
		host, port, _ := strings.Cut(master.Addr, ":")
		replica.Do(t, "REPLICAOF", host, port)
		redistest.Eventually(t, "the replica is in step", func() error {
			if status := replica.Info(t, "master_link_status"); status != "up" {
				return fmt.Errorf("its link is %s", status)
			}
			return nil
		})
	}
	follow(other, w.redis)
	w.progress(t, 20)
	other.Do(t, "REPLICAOF", "NO", "ONE")
	follow(w.redis, other)
	w.active(t, second)
	w.progress(t, 40)
	w.redis.Do(t, "REPLICAOF", "NO", "ONE")
	w.finish(t)
}

func TestRedisOutOfMemory(t *testing.T) {
	t.Parallel()
	w := start(t, options{redis: []string{"maxmemory-policy noeviction"}})
	used, err := strconv.Atoi(w.redis.Info(t, "used_memory"))
	require.NoError(t, err)
	w.redis.Do(t, "CONFIG", "SET", "maxmemory", strconv.Itoa(used+100_000))
	w.active(t, second)
	w.progress(t, 40)
	w.redis.Do(t, "CONFIG", "SET", "maxmemory", "0")
	w.finish(t)
}

func TestPasswordOfRedisRotated(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	rotate := func(password string) {
		w.redis.Do(t, "ACL", "SETUSER", redistest.User, "resetpass", ">"+password)
		w.redis.Do(t, "CLIENT", "KILL", "USER", redistest.User)
	}
	rotate("another-password")
	w.active(t, second)
	w.progress(t, 40)
	rotate(redistest.UserPassword)
	w.finish(t)
}

func TestFlapping(t *testing.T) {
	t.Parallel()
	w := start(t, options{redis: durable})
	for range 30 {
		w.redis.Kill(t)
		lasts(t, 2*time.Second)
		w.redis.Start(t)
		lasts(t, 2*time.Second)
	}
	w.finish(t)
}
