// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/driver"
)

// leader asks all hosts at once who leads, and returns the address of the node
// that most of them name: after the loss of a leader some still name the dead one,
// and one that was cut off names itself.
func (h *handle) leader(ctx context.Context) (string, error) {
	votes, silent := h.poll(ctx, h.places(ctx, h.config.Hosts))
	best := ""
	for named, n := range votes {
		if best == "" || n > votes[best] || n == votes[best] && named < best {
			best = named
		}
	}
	if best == "" {
		return "", &driver.Error{Class: driver.Unavailable, Detail: "no host knows a node that leads: " + strings.Join(silent, "; ")}
	}
	return best, nil
}

// place is where to ask: an address, and the host:port that it stands for.
type place struct{ address, host string }

// places returns all addresses of the hosts. One name may stand for all nodes, and
// the first of its addresses for one that is dead.
func (h *handle) places(ctx context.Context, hosts []string) []place {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.config.ConnectTimeout))
	defer cancel()
	found := make([][]place, len(hosts))
	var wg sync.WaitGroup
	for i, host := range hosts {
		wg.Go(func() {
			name, port, _ := net.SplitHostPort(host)
			addresses, err := h.lookup(ctx, name)
			if err != nil || len(addresses) < 2 { // if there is none, the attempt to connect says why
				found[i] = []place{{host, host}}
				return
			}
			for _, address := range addresses {
				found[i] = append(found[i], place{net.JoinHostPort(address, port), host})
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

// poll asks all hosts at once who leads. It returns how many name each node, and
// why the others name none. Once more than half agree it waits for no more.
func (h *handle) poll(ctx context.Context, hosts []place) (votes map[string]int, silent []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.config.ConnectTimeout))
	defer cancel()
	var mu sync.Mutex
	votes = map[string]int{}
	var wg sync.WaitGroup
	for _, host := range hosts {
		wg.Go(func() {
			named, err := h.ask(ctx, host)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, fmt.Sprintf("%s: %v", host.address, err))
				return
			}
			if votes[named]++; 2*votes[named] > len(hosts) {
				cancel()
			}
		})
	}
	wg.Wait()
	return votes, silent
}

// confirm returns the session if most nodes of the cluster agree that its node
// leads. A leader that was cut off or stood still takes itself for the leader until
// it hears of the new one, and knows nothing of what was written meanwhile.
func (h *handle) confirm(caller context.Context) (confirmed *session, err error) {
	err = h.within(caller, func(ctx context.Context, s *session) error {
		confirmed = s
		info, err := members(ctx, s.conn)
		if err != nil {
			return h.failed(caller, ctx, s, classify(err, nil, false), false)
		}
		if len(info) < 2 {
			return nil
		}
		var nodes []place
		for _, m := range info {
			nodes = append(nodes, place{memberAddress(m), memberAddress(m)})
		}
		own, _ := leaderOf(info)
		if votes, _ := h.poll(ctx, nodes); 2*votes[own] > len(nodes) {
			return nil
		}
		doubt := &driver.Error{Class: driver.Unavailable, Detail: "most nodes do not agree that the node at " + s.address + " leads"}
		h.discard(s, doubt)
		return doubt
	})
	return confirmed, err
}

// uses tells whether calls still go over the session.
func (h *handle) uses(s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.session == s
}

// ask returns the address of the living node that leads according to the host.
func (h *handle) ask(ctx context.Context, host place) (string, error) {
	conn, err := h.config.dial(host.address, host.host)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // it was only asked
	info, err := members(ctx, conn)
	if err != nil {
		return "", classify(err, nil, false).error
	}
	named, ok := leaderOf(info)
	if !ok {
		return "", &driver.Error{Class: driver.Unavailable, Detail: "knows no node that leads"}
	}
	return named, nil
}

// leaderOf returns the address of the living node that leads.
func leaderOf(info []*gossip.MemberInfo) (string, bool) {
	for _, m := range info {
		if m.GetState() == gossip.MemberInfo_Leader && m.GetIsAlive() {
			return memberAddress(m), true
		}
	}
	return "", false
}

// members returns what a node knows of its cluster; a single node is a cluster of
// one.
func members(ctx context.Context, conn *grpc.ClientConn) ([]*gossip.MemberInfo, error) {
	info, err := gossip.NewGossipClient(conn).Read(ctx, &shared.Empty{})
	return info.GetMembers(), err
}

func memberAddress(m *gossip.MemberInfo) string {
	end := m.GetHttpEndPoint()
	return net.JoinHostPort(end.GetAddress(), strconv.FormatUint(uint64(end.GetPort()), 10))
}
