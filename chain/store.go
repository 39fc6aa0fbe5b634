// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"log/slog"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

// openStore opens the store of a link that does not bring one.
func (c *Chain) openStore(ctx context.Context, l Link) (driver.Store, error) {
	if l.Plugin != "" {
		return plugins.Launch(ctx, plugins.Spec{
			Path: l.Plugin, Args: l.Args, SHA256: l.SHA256, Chain: c.config.Name, Link: l.Name, Config: l.Config,
			Logger: c.log, Patient: true,
		})
	}
	d, err := driver.Lookup(l.Driver)
	if err != nil {
		return nil, err
	}
	logger := slog.New(&zapHandler{log: c.log.With(zap.String("link", l.Name))})
	return d.Open(ctx, driver.OpenRequest{Chain: c.config.Name, Link: l.Name, Config: l.Config, Logger: logger})
}
