// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/internal/freeport"
)

// Slots is the number of slots of a Cluster.
const Slots = 16384

// Cluster is a Redis Cluster: Nodes[i] is a master at the start and Nodes[i+3]
// its replica.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts three masters with a replica each and waits until the
// Cluster serves.
func StartCluster(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	certs, c := NewCertificates(tb), &Cluster{}
	for range 6 {
		with := o
		with.Config = append([]string{
			"cluster-enabled yes",
			"cluster-node-timeout 5000",
			"cluster-port " + strconv.Itoa(freeport.Reserve(tb, 1)),
			"cluster-replica-validity-factor 0",
			"cluster-allow-replica-migration no",
		}, o.Config...)
		c.Nodes = append(c.Nodes, prepare(tb, certs, with))
	}
	for _, n := range c.Nodes {
		n.Start(tb)
	}
	c.join(tb)
	return c
}

func (c *Cluster) join(t T) {
	t.Helper()
	const masters = 3
	for i, n := range c.Nodes {
		n.Do(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i < masters {
			n.Do(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*Slots/masters), strconv.Itoa((i+1)*Slots/masters-1))
		}
		for _, other := range c.Nodes[:i] {
			n.Do(t, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.port), strings.TrimSpace(other.busPort(t)))
		}
	}
	for i, n := range c.Nodes[masters:] {
		master := c.ID(t, i)
		Eventually(t, "a replica follows its master", func() error {
			_, err := n.TryDo(t, "CLUSTER", "REPLICATE", master)
			return err
		})
	}
	c.Await(t)
}

func (s *Server) busPort(t T) string {
	t.Helper()
	return strings.Trim(strings.TrimPrefix(s.Do(t, "CONFIG", "GET", "cluster-port"), "map[cluster-port:"), "]")
}

// Await waits until all nodes find the Cluster whole, each running master has its
// replica, and all agree who has which slots: before, a master would not be voted
// for by those who have not heard of the last change.
func (c *Cluster) Await(t T) {
	t.Helper()
	for _, n := range c.Nodes {
		Eventually(t, "the Cluster serves", func() error {
			info := n.Do(t, "CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:6") {
				return fmt.Errorf("%s: %s", n.Addr, info)
			}
			nodes := n.Do(t, "CLUSTER", "NODES")
			if strings.Count(nodes, "slave") != 3 || strings.Contains(nodes, "handshake") || strings.Contains(nodes, "fail") {
				return fmt.Errorf("%s: %s", n.Addr, nodes)
			}
			replication := n.Do(t, "INFO", "replication")
			if strings.Contains(replication, "master_link_status:down") {
				return fmt.Errorf("%s: %s", n.Addr, replication)
			}
			if mine, first := view(nodes), view(c.Nodes[0].Do(t, "CLUSTER", "NODES")); mine != first {
				return fmt.Errorf("%s sees %s, %s sees %s", n.Addr, mine, c.Nodes[0].Addr, first)
			}
			return nil
		})
	}
}

// view is what CLUSTER NODES tells of roles and slots, the same for all that agree.
func view(nodes string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimPrefix(nodes, "txt:")) { // so RESP3 marks text
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		id, flags, master, epoch := fields[0], strings.TrimPrefix(fields[2], "myself,"), fields[3], fields[6]
		lines = append(lines, strings.Join(append([]string{id, flags, master, epoch}, fields[8:]...), " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// Owner returns the master of a key.
func (c *Cluster) Owner(t T, key string) *Server {
	t.Helper()
	slot, err := strconv.Atoi(c.Nodes[0].Do(t, "CLUSTER", "KEYSLOT", key))
	require.NoError(t, err)
	for line := range strings.Lines(c.Nodes[0].Do(t, "CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		for _, stretch := range fields[min(8, len(fields)):] {
			first, last, isRange := strings.Cut(stretch, "-")
			low, err := strconv.Atoi(first)
			if err != nil {
				continue // a slot that is being moved
			}
			high := low
			if isRange {
				high, err = strconv.Atoi(last)
				require.NoError(t, err)
			}
			if low <= slot && slot <= high {
				return c.at(t, fields[1])
			}
		}
	}
	require.FailNow(t, "no master has the slot")
	return nil
}

// at returns the node with an address as CLUSTER NODES shows it.
func (c *Cluster) at(t T, addr string) *Server {
	t.Helper()
	for _, n := range c.Nodes {
		if strings.HasPrefix(addr, n.Addr+"@") {
			return n
		}
	}
	require.FailNow(t, "no node has the address "+addr)
	return nil
}

// ID returns the id of a node.
func (c *Cluster) ID(t T, node int) string {
	t.Helper()
	return c.Nodes[node].Do(t, "CLUSTER", "MYID")
}

// Config returns a configuration of the driver for the Cluster, with changes.
func (c *Cluster) Config(t T, changes map[string]any) json.RawMessage {
	t.Helper()
	addresses := []string{c.Nodes[0].Addr, c.Nodes[1].Addr, c.Nodes[2].Addr}
	return c.Nodes[0].secure(t, map[string]any{"mode": "cluster", "addresses": addresses}, changes)
}

// TakeOver makes a replica the master, in agreement with its master, and waits until
// all nodes know.
func (c *Cluster) TakeOver(t T, node int) {
	t.Helper()
	s := c.Nodes[node]
	var asked time.Time
	Eventually(t, "the replica has taken over", func() error {
		if s.Info(t, "role") == "master" {
			return nil
		}
		if time.Since(asked) < 6*time.Second { // the servers give up after 5 s
			return errors.New("it is still a replica")
		}
		_, err := s.TryDo(t, "CLUSTER", "FAILOVER")
		if err == nil { // else the servers do not see each other for the moment
			asked = time.Now()
			err = errors.New("it has just been asked to")
		}
		return err
	})
	c.Await(t)
}

// MoveSlot moves the slot of a key, with all keys in it, to another master.
func (c *Cluster) MoveSlot(t T, key string) {
	t.Helper()
	from := c.Owner(t, key)
	to := c.Nodes[0]
	if to == from {
		to = c.Nodes[1]
	}
	slot := c.Nodes[0].Do(t, "CLUSTER", "KEYSLOT", key)
	fromID, toID := from.Do(t, "CLUSTER", "MYID"), to.Do(t, "CLUSTER", "MYID")
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	for {
		keys := strings.Fields(strings.Trim(from.Do(t, "CLUSTER", "GETKEYSINSLOT", slot, "10"), "[]"))
		if len(keys) == 0 {
			break
		}
		move := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), "", "0", "10000", "AUTH2", Admin, AdminPassword, "KEYS"}
		from.Do(t, append(move, keys...)...)
	}
	for _, n := range []*Server{to, from} {
		n.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
}
