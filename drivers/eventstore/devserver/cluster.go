// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"slices"
	"sync"
	"time"

	gossip "github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
)

// cluster is who leads and who is alive. All nodes share one log; what differs is what they answer.
//
// When the leader stops or freezes, the others name it for the first half of the election time, say that the server is
// not ready for the second, and then follow the node with the lowest number that can lead. When fewer than a majority
// are left, the leader cannot finish writes: they end in a commit time-out, and after the election time everything that
// needs a leader in "Server Is Not Ready"; reads that do not need one go on. See also deposed.
type cluster struct {
	mu           sync.Mutex
	members      []*member
	leader       int
	vacant       bool      // the leader has resigned
	changed      time.Time // when the leader or the majority was lost
	electionTime time.Duration
	held         []func() // writes that the leader could not finish
}

// member is a node as the cluster sees it.
type member struct {
	*node
	stopped, frozen bool

	led     bool      // when it froze
	seen    uint64    // where the log ended when it froze
	deposed time.Time // when a leader went on after another one was chosen; zero once it has restarted
}

func (m *member) up() bool { return !m.stopped && !m.frozen }

// phase is what a node knows of the leader.
type phase int

const (
	led        phase = iota
	leaderGone       // the leader is dead and still believed in
	electing         // the leader is known to be gone
	noMajority       // too few nodes, and the leader has not noticed
	halted           // too few nodes
	usurped          // the node still takes itself for the leader
)

func (c *cluster) add(n *node) { c.members = append(c.members, &member{node: n}) }

func (c *cluster) majority() bool {
	n := 0
	for _, m := range c.members {
		if m.up() {
			n++
		}
	}
	return n > len(c.members)/2
}

// phaseNow also ends an election whose time has come. The caller holds the lock.
func (c *cluster) phaseNow() phase {
	since := time.Since(c.changed)
	switch leads := c.members[c.leader].up() && !c.vacant; {
	case !c.majority() && leads && since < c.electionTime:
		return noMajority
	case !c.majority():
		return halted
	case leads:
		return led
	case since < c.electionTime/2 && !c.vacant:
		return leaderGone
	case since < c.electionTime:
		return electing
	}
	if next := slices.IndexFunc(c.members, c.eligible); next >= 0 {
		c.leader, c.vacant = next, false
		c.held = nil // only the old leader had them
		return led
	}
	return electing
}

// eligible tells whether a node may lead next: it knows all of the log, and did not just resign.
func (c *cluster) eligible(m *member) bool {
	return m.up() && m.deposed.IsZero() && (!c.vacant || m != c.members[c.leader])
}

// phaseOf is the phase as one node sees it. The caller holds the lock.
func (c *cluster) phaseOf(n *node) phase {
	p := c.phaseNow()
	if m := c.members[n.number]; !m.deposed.IsZero() && time.Since(m.deposed) < c.electionTime/2 {
		return usurped
	}
	return p
}

// refuse is the answer of a node to a call that it cannot serve, nil if it can. Followers forward writes unless the
// caller asks for the leader itself. Writes to a leader that was deposed and does not know it get no answer.
func (c *cluster) refuse(ctx context.Context, n *node, write, leaderOnly bool) error {
	c.mu.Lock()
	p, leader := c.phaseOf(n), c.members[c.leader].node
	c.mu.Unlock()
	switch {
	case !write && !leaderOnly:
		return nil
	case p == usurped && write:
		<-ctx.Done()
		return ctx.Err()
	case p == usurped:
		return nil
	case p == electing, p == halted:
		return errNotReady
	case p == leaderGone, leaderOnly && n != leader:
		return notLeader(ctx, leader.endPoint)
	}
	return nil
}

// horizon is where the log ends for a node that has not heard of what came after; 0 if it knows everything.
func (c *cluster) horizon(n *node) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.members[n.number]; !m.deposed.IsZero() {
		return m.seen
	}
	return 0
}

// hold keeps a write that the leader cannot finish for want of a majority, and returns how long it takes the leader to
// notice. It is done once there is a majority, unless another node leads then. False if the write can be done now.
func (c *cluster) hold(write func()) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phaseNow() != noMajority {
		return 0, false
	}
	c.held = append(c.held, write)
	return c.electionTime - time.Since(c.changed), true
}

// change lets f change a member and draws the consequences.
func (c *cluster) change(number int, f func(*member)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phaseNow()
	had, led := c.majority(), c.members[c.leader].up()
	f(c.members[number])
	has, leads := c.majority(), c.members[c.leader].up()
	if had != has || led && !leads {
		c.changed = time.Now()
	}
	if !leads {
		c.held = nil // they were in its memory
	}
	if has && leads {
		for _, write := range c.held {
			write()
		}
		c.held = nil
	}
}

// resign makes the leader step down; false if none leads.
func (c *cluster) resign() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phaseNow() != led || len(c.members) == 1 {
		return false
	}
	c.vacant, c.changed = true, time.Now()
	return true
}

func (c *cluster) currentLeader() (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.phaseNow()
	return c.leader, p == led
}

// gossip is what a node says of the cluster.
func (c *cluster) gossip(asked *node, now time.Time) []*gossip.MemberInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, leader := c.phaseOf(asked), c.leader
	if p == usurped {
		leader = asked.number
	}
	var out []*gossip.MemberInfo
	for i, m := range c.members {
		state := gossip.MemberInfo_Follower
		switch {
		case p == electing || p == halted:
			state = gossip.MemberInfo_Unknown
		case i == leader:
			state = gossip.MemberInfo_Leader
		}
		out = append(out, &gossip.MemberInfo{
			InstanceId:   wireID(m.id, false),
			TimeStamp:    ticks(now),
			State:        state,
			IsAlive:      m.up() || p == usurped || p == leaderGone && i == leader,
			HttpEndPoint: &gossip.EndPoint{Address: m.endPoint.host, Port: m.endPoint.port},
		})
	}
	return out
}
