// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"log/slog"

	"github.com/understudy-dev/understudy/driver"
)

// openStore opens the store of a link that does not bring one.
func (c *Chain) openStore(ctx context.Context, l Link) (driver.Store, error) {
	d, err := driver.Lookup(l.Driver)
	if err != nil {
		return nil, err
	}
	return d.Open(ctx, driver.OpenRequest{Chain: c.config.Name, Link: l.Name, Config: l.Config, Logger: slog.Default()})
}
