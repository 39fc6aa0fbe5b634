// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"

	"github.com/understudy-dev/understudy/driver"
)

// Check implements [journal.Log].
func (l *log) Check(ctx context.Context) (driver.ProbeResponse, error) {
	resp := driver.ProbeResponse{
		Durability: "the disks of a majority of the nodes: an append is acknowledged once it is flushed there",
		UsedBytes:  -1,
		LimitBytes: -1,
		Details:    map[string]string{"stream": l.stream},
	}
	first, end, err := l.Bounds(ctx)
	if err != nil {
		return resp, err
	}
	resp.Details["events"] = strconv.FormatUint(uint64(end-first), 10)
	if n := l.appended.transitions.Load(); n > 0 {
		resp.Details["bytes_per_transition"] = strconv.FormatInt(l.appended.own.Load()/n, 10)
		resp.Details["other_bytes_per_transition"] = strconv.FormatInt(l.appended.others.Load()/n, 10)
	}
	if n := l.strange.Load(); n > 0 {
		resp.Warnings = append(resp.Warnings, driver.Problem{Code: "foreign-events",
			Text: fmt.Sprintf("%d events of the journal stream were not written by this driver: keep others from writing to it", n)})
	}
	m, err := l.readMetadata(ctx)
	if err != nil {
		return resp, err
	}
	if err := m.retention(l.stream, end); err != nil {
		resp.Problems = append(resp.Problems, driver.Problem{Code: "journal-retention", Text: err.Error()})
	}
	if err := l.checkRights(ctx, &resp); err != nil {
		return resp, err
	}
	err = l.checkCluster(ctx, &resp)
	return resp, err
}

// checkRights reports a missing right to truncate the journal, which is needed
// only now and then. The append expects a revision that no stream comes to, so it
// writes nothing.
func (l *log) checkRights(ctx context.Context, resp *driver.ProbeResponse) error {
	err := l.handle.append(ctx, "$$"+l.stream, exactly(beyond), nil)
	if _, wrong := errors.AsType[*wrongRevision](err); wrong || err == nil {
		return nil
	}
	switch driver.ClassOf(err) {
	case driver.Denied:
		resp.Warnings = append(resp.Warnings, driver.Problem{Code: "journal-metadata",
			Text: "the user may not write the metadata of the journal stream, so the journal cannot be truncated and grows: allow it, see docs/eventstore.md"})
		return nil
	case driver.Unknown: // there is nothing that could have been done
		return &driver.Error{Class: driver.Unavailable, Detail: "no answer", Cause: errors.Unwrap(err)}
	}
	return err
}

// checkCluster reports what the node says of itself and of its cluster.
func (l *log) checkCluster(ctx context.Context, resp *driver.ProbeResponse) error {
	s, err := l.handle.acquire(ctx)
	if err != nil {
		return err
	}
	resp.Details["node"] = s.address
	return l.handle.within(ctx, func(call context.Context, s *session) error {
		known, err := s.features.GetSupportedMethods(call, &shared.Empty{})
		if err == nil {
			resp.Details["version"] = known.GetEventStoreServerVersion()
			var info []*gossip.MemberInfo
			if info, err = members(call, s.conn); err == nil {
				describeMembers(resp, s.address, info)
				return nil
			}
		}
		return l.handle.failed(ctx, call, s, classify(err, nil, false), false)
	})
}

// describeMembers says what gossip tells of the node at the address. Instances get
// a new id when they start, so a new leader and a restart show alike.
func describeMembers(resp *driver.ProbeResponse, address string, info []*gossip.MemberInfo) {
	var down []string
	var leader, own *gossip.MemberInfo
	for _, m := range info {
		if m.GetState() == gossip.MemberInfo_Leader {
			leader = m
		}
		if memberAddress(m) == address {
			own = m
		}
		if !m.GetIsAlive() {
			down = append(down, memberAddress(m))
		}
	}
	if own == nil {
		own = leader // the server is known by another address to itself
	}
	resp.Role = strings.ToLower(own.GetState().String())
	if id := own.GetInstanceId().GetStructured(); id != nil {
		resp.Generation = instance(id)
	} else {
		resp.Generation = own.GetInstanceId().GetString_()
	}
	resp.Details["nodes"] = strconv.Itoa(len(info))
	if len(down) > 0 {
		resp.Warnings = append(resp.Warnings, driver.Problem{Code: "cluster-member-down",
			Text: fmt.Sprintf("%d of %d nodes are down: %s", len(down), len(info), strings.Join(down, ", "))})
	}
}

func instance(id *shared.UUID_Structured) string {
	var b uuid.UUID
	for i := range 8 {
		b[i] = byte(id.GetMostSignificantBits() >> (56 - 8*i))
		b[8+i] = byte(id.GetLeastSignificantBits() >> (56 - 8*i))
	}
	return b.String()
}
