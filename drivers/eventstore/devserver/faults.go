// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Faults are failures that a server shows on demand. The zero value shows none.
type Faults struct {
	// NotReady is how long after the start, or after SetFaults, every call on streams is answered "Server Is Not
	// Ready".
	NotReady time.Duration

	// NotLeader is a host:port. While it is set, every write, and every call that requires a leader, is answered
	// that the node is not the leader and that the leader is there.
	NotLeader string

	// CommitTimeout makes writes end in a commit time-out after Options.WriteTimeout.
	CommitTimeout CommitTimeout

	// Every makes CommitTimeout concern only each n-th write, counted from the start or from SetFaults. 0 and 1
	// stand for all.
	Every int
}

// CommitTimeout says whether a write that ends in a commit time-out happened.
type CommitTimeout string

// The values of CommitTimeout.
const (
	CommitTimeoutOff     CommitTimeout = ""
	CommitTimeoutLost    CommitTimeout = "lost"    // the write did not happen
	CommitTimeoutWritten CommitTimeout = "written" // the write happened
)

func (f Faults) validate() error {
	if f.NotReady < 0 {
		return fmt.Errorf("not ready for %v: a positive time is expected", f.NotReady)
	}
	if f.Every < 0 {
		return fmt.Errorf("every %d: a positive number is expected", f.Every)
	}
	switch f.CommitTimeout {
	case CommitTimeoutOff, CommitTimeoutLost, CommitTimeoutWritten:
	default:
		return fmt.Errorf("commit time-out %q: %q or %q is expected", f.CommitTimeout, CommitTimeoutLost, CommitTimeoutWritten)
	}
	if f.NotLeader != "" {
		if _, err := splitEndPoint(f.NotLeader); err != nil {
			return fmt.Errorf("not leader %q: the host:port of another server is expected: %w", f.NotLeader, err)
		}
	}
	return nil
}

// endPoint is an address as it stands in gossip and in the answer of a node that is not the leader.
type endPoint struct {
	host string
	port uint32
}

func splitEndPoint(address string) (endPoint, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return endPoint{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return endPoint{host: host, port: uint32(n)}, err
}

// faultState is the faults in force.
type faultState struct {
	mu     sync.Mutex
	faults Faults
	since  time.Time
	writes int
}

func (s *faultState) set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.since, s.writes = f, time.Now(), 0
}

// refuse is the answer to a call while the server is not ready or not the leader, nil if it may go on.
func (s *faultState) refuse(ctx context.Context, needsLeader bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.since) < s.faults.NotReady {
		return errNotReady
	}
	if s.faults.NotLeader != "" && needsLeader {
		leader, err := splitEndPoint(s.faults.NotLeader)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		return notLeader(ctx, leader)
	}
	return nil
}

// timeout says what happens to the next write.
func (s *faultState) timeout() CommitTimeout {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.CommitTimeout == CommitTimeoutOff {
		return CommitTimeoutOff
	}
	s.writes++
	if s.writes%max(s.faults.Every, 1) != 0 {
		return CommitTimeoutOff
	}
	return s.faults.CommitTimeout
}
