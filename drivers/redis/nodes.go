// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// node is what one server says of itself.
type node struct {
	addr string
	info map[string]string
	err  error
}

// nodes asks all servers that the client knows. In a Cluster one that does not
// answer does not count as an error.
func (s *Store) nodes(ctx context.Context) ([]node, error) {
	return with(ctx, s, false, func(ctx context.Context, session *session) ([]node, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(s.config.ResponseTimeout))
		defer cancel()
		clients := session.client.Nodes()
		nodes := make([]node, 0, len(clients))
		for addr := range clients {
			nodes = append(nodes, node{addr: addr})
		}
		slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.addr, b.addr) })
		var wg sync.WaitGroup
		for i := range nodes {
			wg.Go(func() { nodes[i].ask(ctx, clients[nodes[i].addr], session.mode) })
		}
		wg.Wait()
		if len(nodes) == 1 {
			return nodes, nodes[0].err
		}
		return nodes, nil
	})
}

func (n *node) ask(ctx context.Context, client rueidis.Client, mode string) {
	text, err := client.Do(ctx, client.B().Info().Build()).ToString()
	if err == nil && mode == ModeCluster {
		var cluster string
		cluster, err = client.Do(ctx, client.B().ClusterInfo().Build()).ToString()
		text += "\r\n" + cluster
	}
	n.info, n.err = parseInfo(text), err
}

// parseInfo reads lines of the form key:value.
func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok {
			info[key] = value
		}
	}
	return info
}

func (n *node) number(key string) int64 {
	v, err := strconv.ParseInt(n.info[key], 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// report adds to resp what the servers say.
func (s *Store) report(resp *driver.ProbeResponse, nodes []node) {
	var masters []node
	for _, n := range nodes {
		switch {
		case n.err != nil:
			resp.Warnings = append(resp.Warnings, driver.Problem{Code: "node-silent", Text: fmt.Sprintf("%s does not answer: %s", n.addr, n.err)})
		case n.info["role"] == "master":
			masters = append(masters, n)
		}
	}
	resp.Role = "master"
	if len(masters) == 0 {
		resp.Role = "replica"
		resp.Problems = append(resp.Problems, driver.Problem{Code: "no-master", Text: "no server that answers is a master"})
	}
	for i := range masters {
		m := &masters[i]
		problems, warnings := s.examine(m)
		resp.Problems = append(resp.Problems, problems...)
		resp.Warnings = append(resp.Warnings, warnings...)
		s.measure(resp, m)
	}
	resp.Generation = generation(masters)
	resp.Durability = s.durabilityInWords(masters)
	resp.Details["masters"] = itoa(len(masters))
}

// measure notes the memory of the server that is the fullest.
func (s *Store) measure(resp *driver.ProbeResponse, m *node) {
	used, limit := m.number("used_memory"), s.limit(m)
	fuller := resp.UsedBytes < 0 ||
		limit > 0 && resp.LimitBytes > 0 && float64(used)/float64(limit) > float64(resp.UsedBytes)/float64(resp.LimitBytes) ||
		(limit <= 0 || resp.LimitBytes <= 0) && used > resp.UsedBytes
	if fuller {
		resp.UsedBytes, resp.LimitBytes = used, -1
		if limit > 0 {
			resp.LimitBytes = limit
		}
	}
	for _, key := range []string{"redis_version", "connected_slaves", "mem_fragmentation_ratio", "aof_enabled", "rdb_last_bgsave_status",
		"rdb_last_save_time", "maxmemory_policy"} {
		if v, ok := m.info[key]; ok {
			resp.Details[m.addr+" "+key] = v
		}
	}
	for i := range m.number("connected_slaves") {
		key := fmt.Sprintf("slave%d", i)
		resp.Details[m.addr+" "+key] = m.info[key]
	}
}

// limit is the memory a server should stay below, 0 if there is none.
func (s *Store) limit(m *node) int64 {
	if s.config.MemoryLimit > 0 {
		return s.config.MemoryLimit
	}
	return m.number("maxmemory") / 10 * 9
}

// generation changes with the processes and the replication history of the
// masters, and with the configuration of a Cluster.
func generation(masters []node) string {
	var parts []string
	for _, m := range masters {
		parts = append(parts, m.info["run_id"]+m.info["master_replid"]+m.info["cluster_current_epoch"])
	}
	slices.Sort(parts)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:12])
}

func (s *Store) durabilityInWords(masters []node) string {
	aof := len(masters) > 0
	for _, m := range masters {
		aof = aof && m.info["aof_enabled"] == "1"
	}
	kept := "snapshots only: a restart loses what came after the last one"
	if aof {
		kept = "append-only file: a crash of the server loses at most what was not yet flushed"
	}
	switch {
	case s.durability.fsync:
		return "flushed to the append-only file of the master before it is acknowledged; a failover to a lagging replica can still lose it"
	case s.durability.replicas > 0:
		return fmt.Sprintf("in the memory of the master and of %d replicas before it is acknowledged (%s); a failover can still choose another replica", s.durability.replicas, kept)
	}
	return "in the memory of the master when it is acknowledged (" + kept + "); a failover loses what was not yet replicated"
}
