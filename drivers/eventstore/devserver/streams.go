// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"strings"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/metadata"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver/internal/eventlog"
)

// streams is the Streams service of one node.
type streams struct {
	api.UnimplementedStreamsServer
	*Server
	node *node
}

// admitWrite lets a write through if the server is ready, the node may take it, and the caller has the right.
func (s *streams) admitWrite(ctx context.Context, stream string, a access) error {
	user, err := s.users.identify(ctx)
	if err != nil {
		return err
	}
	if err := s.admit(ctx, true); err != nil {
		return err
	}
	return s.authorize(ctx, user, stream, a)
}

// admitRead is admitWrite for reads and subscriptions.
func (s *streams) admitRead(ctx context.Context, stream string, whole bool) (identity, error) {
	user, err := s.users.identify(ctx)
	if err != nil {
		return user, err
	}
	if err := s.admit(ctx, false); err != nil {
		return user, err
	}
	if whole {
		if !user.all {
			return user, accessDenied(ctx)
		}
		return user, nil
	}
	return user, s.authorize(ctx, user, stream, readAccess)
}

// admit applies the faults in force and the state of the cluster.
func (s *streams) admit(ctx context.Context, write bool) error {
	leaderOnly := requiresLeader(ctx)
	if err := s.faults.refuse(ctx, write || leaderOnly); err != nil {
		return err
	}
	return s.cluster.refuse(ctx, s.node, write, leaderOnly)
}

// view is what the node knows of the log.
func (s *streams) view() eventlog.View {
	if horizon := s.cluster.horizon(s.node); horizon > 0 {
		return s.log.Before(horizon)
	}
	return s.log.View
}

func requiresLeader(ctx context.Context) bool {
	v := metadata.ValueFromIncomingContext(ctx, "requires-leader")
	return len(v) > 0 && strings.EqualFold(v[0], "true")
}
