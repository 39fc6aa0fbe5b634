// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"log/slog"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

// openStore opens the store of a link that does not bring one.
func (c *Chain) openStore(ctx context.Context, l Link) (driver.Store, error) {
	if l.Plugin != "" {
		store, err := plugins.Launch(ctx, plugins.Spec{
			Path: l.Plugin, Args: l.Args, SHA256: l.SHA256, Chain: c.config.Name, Link: l.Name, Config: l.Config,
			Logger: c.log, Patient: true,
		})
		if err != nil {
			return nil, err // and no *plugins.Store that is nil
		}
		return store, nil
	}
	d, err := driver.Lookup(l.Driver)
	if err != nil {
		return nil, err
	}
	logger := slog.New(&zapHandler{log: c.log.With(zap.String("link", l.Name))})
	return d.Open(ctx, driver.OpenRequest{Chain: c.config.Name, Link: l.Name, Config: l.Config, Logger: logger})
}

// describe asks a store what it is. A plugin whose process has ended, or is late
// on a busy machine, has a second chance, and more, until the time-out.
func (c *Chain) describe(ctx context.Context, store driver.Store) (driver.DescribeResponse, error) {
	began := time.Now()
	for n := 0; ; n++ {
		about, err := within(ctx, func(ctx context.Context) (driver.DescribeResponse, error) {
			return store.Describe(ctx, driver.DescribeRequest{})
		}, func(driver.DescribeResponse) {})
		wait := c.policy().pause(n)
		if !mayPass(err) || time.Since(began)+wait > c.policy().Timeout || ctx.Err() != nil {
			return about, err
		}
		pause(ctx, c.ctx, wait)
	}
}
