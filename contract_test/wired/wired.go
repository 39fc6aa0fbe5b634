// SPDX-License-Identifier: Apache-2.0

// Package wired gives a contracttest.Harness its way to a driver through the wire
// that stands between hosts and plugins, without a process. It is for authors of
// drivers:
//
//	h := contracttest.Harness{Open: wired.Open(contracttest.Linked(mydriver.Driver(), nil))}
package wired

import (
	"context"
	"encoding/json"
	"log/slog"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire/wiretest"
)

// Open returns an Open function whose stores are those of open as they look
// through the wire: every call is encoded, crosses a gRPC connection in memory,
// and comes back.
func Open(open func(contracttest.T, string) (driver.Store, error)) func(contracttest.T, string) (driver.Store, error) {
	return func(t contracttest.T, chain string) (driver.Store, error) {
		t.Helper()
		client := wiretest.Connect(t, driver.Driver{
			Name: "wired",
			Open: func(_ context.Context, req driver.OpenRequest) (driver.Store, error) {
				return open(t, req.Chain)
			},
			Validate: func(json.RawMessage) error { return nil },
		})
		req := driver.OpenRequest{Chain: chain, Link: "wired", Logger: slog.New(slog.DiscardHandler)}
		if err := client.Open(t.Context(), req); err != nil {
			return nil, err
		}
		return client, nil
	}
}
