// SPDX-License-Identifier: Apache-2.0

//go:build !custom || drivers || drivers.eventstore

package main

import (
	"context"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func init() {
	linkedServers = append(linkedServers, command{name: "eventstore",
		about: "run a server that speaks the protocol of EventStoreDB " + devserver.Version, run: devEventStore})
}

// devEventStore runs the development Event Store until ctx ends. Its exit statuses
// are the server's own: 0, or 2 after bad use and when it could not start.
func devEventStore(ctx context.Context, p *program, _ string, args []string) int {
	return devserver.Main(ctx, args, p.stdout, p.stderr)
}
