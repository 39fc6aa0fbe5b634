// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"fmt"
	"net"
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
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.config.ConnectTimeout))
	defer cancel()
	var mu sync.Mutex
	votes := map[string]int{}
	var silent []string
	var wg sync.WaitGroup
	for _, host := range h.config.Hosts {
		wg.Go(func() {
			named, err := h.ask(ctx, host)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, fmt.Sprintf("%s: %v", host, err))
				return
			}
			// More than half of the hosts agree: the others need not be waited for.
			if votes[named]++; 2*votes[named] > len(h.config.Hosts) {
				cancel()
			}
		})
	}
	wg.Wait()
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

// ask returns the address of the living node that leads according to the host.
func (h *handle) ask(ctx context.Context, host string) (string, error) {
	conn, err := h.config.dial(host)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // it was only asked
	info, err := members(ctx, conn)
	if err != nil {
		return "", classify(err, nil, false).error
	}
	for _, m := range info {
		if m.GetState() == gossip.MemberInfo_Leader && m.GetIsAlive() {
			return memberAddress(m), nil
		}
	}
	return "", &driver.Error{Class: driver.Unavailable, Detail: "knows no node that leads"}
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
