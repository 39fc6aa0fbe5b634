// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"sync"
	"time"

	gossip "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
)

// cluster is who leads and who is alive. All nodes share one log; what differs is what they answer.
//
// When the leader stops, the others name the dead leader for the first half of the election time, say that the
// server is not ready for the second, and then follow the node with the lowest number that is alive. When fewer
// than a majority are alive, writes end in a commit time-out, although they stand in the log, and after the
// election time in "Server Is Not Ready"; reads that do not require a leader go on.
type cluster struct {
	mu           sync.Mutex
	nodes        []*node
	alive        []bool
	leader       int
	changed      time.Time // when the leader or the majority was lost
	electionTime time.Duration
}

// phase is what the living nodes know of their leader.
type phase int

const (
	led        phase = iota
	leaderGone       // the leader is dead and still believed in
	electing         // the leader is known to be dead
	noMajority       // too few nodes, and the leader has not noticed
	halted           // too few nodes
)

func (c *cluster) majority() bool {
	n := 0
	for _, a := range c.alive {
		if a {
			n++
		}
	}
	return n > len(c.alive)/2
}

// phaseNow also ends an election whose time has come. The caller holds the lock.
func (c *cluster) phaseNow() phase {
	since := time.Since(c.changed)
	switch leads := c.alive[c.leader]; {
	case !c.majority() && leads && since < c.electionTime:
		return noMajority
	case !c.majority():
		return halted
	case leads:
		return led
	case since < c.electionTime/2:
		return leaderGone
	case since < c.electionTime:
		return electing
	}
	for i, a := range c.alive {
		if a {
			c.leader = i
			break
		}
	}
	return led
}

// refuse is the answer of a node to a call that it cannot serve, nil if it can. Followers forward writes unless the
// caller asks for the leader itself.
func (c *cluster) refuse(ctx context.Context, n *node, write, leaderOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p := c.phaseNow(); {
	case !write && !leaderOnly:
		return nil
	case p == electing, p == halted:
		return errNotReady
	case p == leaderGone, leaderOnly && n.number != c.leader:
		return notLeader(ctx, c.nodes[c.leader].endPoint)
	}
	return nil
}

func (c *cluster) writeFate() CommitTimeout {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phaseNow() == noMajority {
		return CommitTimeoutWritten
	}
	return CommitTimeoutOff
}

// setAlive notes that a node stopped or started.
func (c *cluster) setAlive(number int, alive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phaseNow()
	had := c.majority()
	c.alive[number] = alive
	if !alive && number == c.leader || had != c.majority() {
		c.changed = time.Now()
	}
}

func (c *cluster) currentLeader() (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.phaseNow()
	return c.leader, p == led
}

// members is the gossip of a node.
func (c *cluster) members(now time.Time) []*gossip.MemberInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.phaseNow()
	var out []*gossip.MemberInfo
	for i, n := range c.nodes {
		state := gossip.MemberInfo_Follower
		switch {
		case p == electing || p == halted:
			state = gossip.MemberInfo_Unknown
		case i == c.leader:
			state = gossip.MemberInfo_Leader
		}
		out = append(out, &gossip.MemberInfo{
			InstanceId:   wireID(n.id, false),
			TimeStamp:    ticks(now),
			State:        state,
			IsAlive:      c.alive[i] || p == leaderGone && i == c.leader,
			HttpEndPoint: &gossip.EndPoint{Address: n.endPoint.host, Port: n.endPoint.port},
		})
	}
	return out
}
