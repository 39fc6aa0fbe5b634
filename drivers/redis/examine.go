// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// examine says what is wrong with a master: problems make it unfit to be active.
func (s *Store) examine(m *node) (problems, warnings []driver.Problem) {
	found := func(wrong bool, list *[]driver.Problem, code, format string, args ...any) {
		if wrong {
			*list = append(*list, driver.Problem{Code: code, Text: m.addr + ": " + fmt.Sprintf(format, args...)})
		}
	}
	policy := m.info["maxmemory_policy"]
	found(policy != "noeviction", &problems, "maxmemory-policy",
		"maxmemory-policy is %q: any but noeviction throws records away; set it to noeviction", policy)
	found(!atLeast(m.info["redis_version"], 7, 0), &problems, "version", "Redis is %s: want 7.0 or later", m.info["redis_version"])
	found(s.durability.fsync && m.info["aof_enabled"] != "1", &problems, "appendonly",
		"durability fsync needs the append-only file: set appendonly yes")
	found(m.info["loading"] == "1", &problems, "loading", "it still loads its data")
	found(m.info["rdb_last_bgsave_status"] == "err", &problems, "rdb-save", "the last snapshot failed: look at its disk and log")
	found(m.info["aof_last_write_status"] == "err", &problems, "aof-write", "writing the append-only file failed: look at its disk and log")
	found(m.info["aof_last_bgrewrite_status"] == "err", &warnings, "aof-rewrite", "the last rewrite of the append-only file failed: look at its disk and log")
	found(m.info["cluster_state"] == "fail", &problems, "cluster-state", "the Cluster is down: slots are not covered or there is no quorum")

	used, limit := m.number("used_memory"), s.limit(m)
	found(limit > 0 && used > limit, &problems, "memory", "it uses %d bytes of memory and should stay below %d", used, limit)
	found(m.number("maxmemory") == 0 && s.config.MemoryLimit == 0, &warnings, "no-memory-limit",
		"it has no maxmemory: a full machine will end it; set maxmemory, or memory_limit here")
	found(m.info["aof_enabled"] == "0", &warnings, "persistence",
		"it has no append-only file: a restart loses data; set appendonly yes")
	s.examineReplicas(m, found, &problems, &warnings)
	return problems, warnings
}

func (s *Store) examineReplicas(m *node, found func(bool, *[]driver.Problem, string, string, ...any), problems, warnings *[]driver.Problem) {
	online := 0
	for i := range m.number("connected_slaves") {
		line := m.info[fmt.Sprintf("slave%d", i)]
		if !strings.Contains(line, "state=online") {
			continue
		}
		online++
		_, lag, _ := strings.Cut(line, "lag=")
		seconds, err := strconv.Atoi(lag)
		found(err == nil && seconds >= 10, warnings, "replica-lag", "a replica is %d s behind: %s", seconds, line)
	}
	found(online < s.durability.replicas, problems, "replicas",
		"%d replicas are connected and durability %s needs %d", online, s.config.Durability, s.durability.replicas)
	found(online == 0 && s.durability.replicas == 0 && (s.config.isSentinel() || m.info["cluster_enabled"] == "1"), warnings, "no-replicas",
		"no replica is connected: nothing can take over from it")
}

// atLeast compares a version such as 7.0.15.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	have, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	minorHave, err := strconv.Atoi(parts[1])
	return err == nil && (have > major || have == major && minorHave >= minor)
}
