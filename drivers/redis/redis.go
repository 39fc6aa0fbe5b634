// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
	"github.com/understudy-dev/understudy/internal/crew"
)

// Name is the name of the driver.
const Name = "redis"

// Version is the version of the driver.
const Version = "1"

// Driver returns the driver, to be registered or served.
func Driver() driver.Driver {
	return driver.Driver{
		Name:    Name,
		Version: Version,
		Open: func(ctx context.Context, req driver.OpenRequest) (driver.Store, error) {
			s, err := Open(ctx, req)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Validate: func(config json.RawMessage) error {
			_, err := ParseConfig(config)
			return err
		},
	}
}

// maxCalls is how many calls may be under way at once; more wait for their turn,
// and so do waits of feeds, which are counted apart. It bounds what a server that
// has fallen silent can hold on to.
const (
	maxCalls = 256
	maxWaits = 1024
)

// Store keeps the records of one chain in Redis.
type Store struct {
	chain, link string
	config      Config
	durability  durability
	logger      *slog.Logger
	connector   *connector
	calls       turns
	waits       turns         // for a feed to grow
	crew        *crew.Crew    // makes the calls
	patience    time.Duration // after which the client has certainly given up on a call

	laidOut atomic.Bool // the first shard agrees to the number of shards

	knownMu sync.Mutex
	known   []driver.Mark // the latest of each shard

	stop     context.CancelFunc // ends the sweeper and the feeds
	stopped  context.Context    //nolint:containedctx // it ends with the store, not with a call
	stopOnce sync.Once
	working  sync.WaitGroup
}

var _ driver.Store = (*Store)(nil)

// Open makes a store as [driver.Driver] demands. It does not connect.
func Open(ctx context.Context, req driver.OpenRequest) (*Store, error) {
	config, err := ParseConfig(req.Config)
	if err == nil {
		err = driver.ValidateName("chain", req.Chain)
	}
	if err != nil {
		return nil, driver.In(err, req.Link, "open")
	}
	s := &Store{
		chain:     req.Chain,
		link:      req.Link,
		config:    config,
		logger:    req.Logger,
		connector: &connector{config: config},
		calls:     make(turns, maxCalls),
		waits:     make(turns, maxWaits),
		patience: time.Duration(config.DialTimeout) + 2*time.Duration(config.ResponseTimeout) +
			time.Duration(config.DurabilityTimeout) + time.Second,
	}
	if s.durability, err = config.durability(); err != nil {
		return nil, driver.In(err, req.Link, "open")
	}
	s.stopped, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.crew = crew.New(s.stopped.Done())
	s.working.Go(s.sweepNowAndThen)
	return s, nil
}

// Describe returns constant facts; it does not ask the server.
func (s *Store) Describe(ctx context.Context, _ driver.DescribeRequest) (driver.DescribeResponse, error) {
	if err := s.usable(ctx); err != nil {
		return driver.DescribeResponse{}, s.wrap(err, "describe")
	}
	return driver.DescribeResponse{
		Driver:       Name,
		Version:      Version,
		Contract:     driver.Contract,
		Capabilities: driver.Capabilities(),
		Protection:   s.config.protection(),
		Details: map[string]string{
			"addresses":  strings.Join(s.config.Addresses, ", "),
			"durability": s.config.Durability,
			"prefix":     s.config.Prefix,
		},
	}, nil
}

func (s *Store) usable(ctx context.Context) error {
	if ctx.Err() != nil {
		return driver.ContextError(ctx, false)
	}
	if s.stopped.Err() != nil {
		return errClosed
	}
	return nil
}

// protection is that of the weakest connection the settings allow.
func (c *Config) protection() driver.Protection {
	weakest := func(t *settings.TLS) driver.Protection {
		switch {
		case t != nil && t.Certificate != "":
			return driver.MutualTLS
		case t != nil:
			return driver.TLS
		case c.Insecure:
			return driver.Plain
		}
		return driver.Local
	}
	p := weakest(c.TLS)
	if c.isSentinel() && c.Sentinel.Plain {
		return min(p, weakest(nil))
	}
	if c.isSentinel() && c.Sentinel.TLS != nil {
		return min(p, weakest(c.Sentinel.TLS))
	}
	return p
}

// Close ends all calls in flight and the connections.
func (s *Store) Close(ctx context.Context) error {
	s.stopOnce.Do(s.stop)
	done := make(chan struct{})
	go func() {
		s.working.Wait()
		close(done)
	}()
	if err := s.connector.close(ctx); err != nil {
		return s.wrap(err, "close")
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return s.wrap(driver.ContextError(ctx, false), "close")
	}
}
