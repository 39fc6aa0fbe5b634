// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// session is one client and what it found at the server.
type session struct {
	client rueidis.Client
	mode   string
	shards int
	calls  sync.WaitGroup // calls in flight; the client is closed after them
	made   time.Time
}

// connector makes the session when it is needed, once for all who wait, and makes
// a new one when the present one is dropped. It keeps no clock: each call that
// finds no session begins an attempt.
type connector struct {
	config Config

	mu      sync.Mutex
	current *session
	attempt *attempt
	closed  bool
	working sync.WaitGroup // attempts and closings under way
}

type attempt struct {
	over    chan struct{}
	session *session
	err     error
}

var errClosed = &driver.Error{Class: driver.Unavailable, Detail: "the store is closed"}

// get returns the session with one call in flight counted; the caller ends it by
// session.calls.Done. The error says that nothing was sent.
func (c *connector) get(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		if s := c.current; s != nil {
			s.calls.Add(1)
			c.mu.Unlock()
			return s, nil
		}
		if c.attempt == nil {
			c.attempt = &attempt{over: make(chan struct{})}
			c.working.Add(1)
			go c.connect(c.attempt)
		}
		a := c.attempt
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, driver.ContextError(ctx, false)
		case <-a.over:
			if a.err != nil {
				return nil, a.err
			}
		}
	}
}

func (c *connector) connect(a *attempt) {
	defer c.working.Done()
	a.session, a.err = c.open()
	c.mu.Lock()
	c.attempt = nil
	switch {
	case a.err != nil:
	case c.closed:
		a.err = errClosed
		a.session.client.Close()
	default:
		c.current = a.session
	}
	c.mu.Unlock()
	close(a.over)
}

// restless is how long a session is kept at least before it may be dropped, so
// that many calls that meet the same fault ask for one new session.
const restless = 250 * time.Millisecond

// drop forgets s: the next call resolves and connects anew.
func (c *connector) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == s && time.Since(s.made) > restless {
		c.current = nil
		c.retire(s)
	}
}

// retire closes s once its calls have ended; c.mu is held.
func (c *connector) retire(s *session) {
	c.working.Go(func() {
		s.calls.Wait()
		s.client.Close()
	})
}

// close ends the session and waits for all goroutines, within ctx.
func (c *connector) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	if s := c.current; s != nil {
		c.current = nil
		c.working.Go(s.client.Close)
	}
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.working.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return driver.ContextError(ctx, false)
	}
}

// open makes a session by the configured mode.
func (c *connector) open() (*session, error) {
	mode := c.config.Mode
	switch {
	case c.config.isSentinel():
		mode = ModeSentinel
	case mode == ModeAuto:
		found, err := c.detect()
		if err != nil {
			return nil, connectError(err)
		}
		mode = found
	}
	client, err := rueidis.NewClient(c.config.options(mode, c.config.Addresses))
	if err != nil {
		if client != nil {
			client.Close()
		}
		return nil, connectError(err)
	}
	if err := c.suits(client); err != nil {
		client.Close()
		return nil, connectError(err)
	}
	s := &session{client: client, mode: mode, shards: c.config.Shards, made: time.Now()}
	if s.shards == 0 {
		s.shards = 1
		if mode == ModeCluster {
			s.shards = 16
		}
	}
	return s, nil
}

// suits looks whether the server has what the configuration asks for.
func (c *connector) suits(client rueidis.Client) error {
	want, err := c.config.durability()
	if err != nil || !want.waits() {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.config.ResponseTimeout))
	defer cancel()
	canWait := func(c rueidis.DedicatedClient) error { return want.canWait(ctx, c) }
	if !want.fsync {
		return client.Dedicated(canWait)
	}
	text, err := client.Do(ctx, client.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return err
	}
	if version := parseInfo(text)["redis_version"]; !atLeast(version, 7, 2) {
		return &driver.Error{Class: driver.Unsupported, Detail: fmt.Sprintf(
			"durability fsync needs WAITAOF, which Redis has from 7.2 on; the server is %s: use a later one, or durability memory or replicas:n", version)}
	}
	return client.Dedicated(canWait)
}

// detect asks the first server that answers whether it is part of a Cluster.
func (c *connector) detect() (string, error) {
	var faults []error
	for _, addr := range c.config.Addresses {
		client, err := rueidis.NewClient(c.config.options(ModeStandalone, []string{addr}))
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.config.ResponseTimeout))
			var info string
			info, err = client.Do(ctx, client.B().Info().Section("cluster").Build()).ToString()
			cancel()
			if err == nil {
				client.Close()
				if strings.Contains(info, "cluster_enabled:1") {
					return ModeCluster, nil
				}
				if len(c.config.Addresses) > 1 {
					return "", &driver.Error{Class: driver.Unavailable, Detail: fmt.Sprintf(
						"addresses has %d entries but %s is not part of a Cluster: give one address, or master for Sentinels", len(c.config.Addresses), addr)}
				}
				return ModeStandalone, nil
			}
		}
		if client != nil {
			client.Close()
		}
		faults = append(faults, fmt.Errorf("%s: %w", addr, err))
	}
	if len(faults) == 1 {
		return "", faults[0]
	}
	return "", errors.Join(faults...)
}

// options are the settings of the client: it never retries, follows few
// redirects, and looks for dead connections by itself.
func (c *Config) options(mode string, addresses []string) rueidis.ClientOption {
	dialing := time.Duration(c.DialTimeout)
	o := rueidis.ClientOption{
		InitAddress:       addresses,
		SelectDB:          c.Database,
		ClientName:        "understudy",
		ClientSetInfo:     rueidis.DisableClientSetInfo,
		AuthCredentialsFn: c.credentials,
		DialCtxFn:         c.dial,
		DisableRetry:      true,
		DisableCache:      true,
		AlwaysPipelining:  true,
		ConnWriteTimeout:  time.Duration(c.ResponseTimeout),
		// A batch may be 8 MiB; what is larger than the buffer is written through.
		ReadBufferEachConn:  128 << 10,
		WriteBufferEachConn: 128 << 10,
		// 256 commands in flight on a connection; more wait for their turn. Four times
		// as many would take 700 KB of memory each.
		RingScaleEachConn: 8,
	}
	if c.TLS != nil {
		o.TLSConfig = toServer
	}
	o.Dialer.Timeout = dialing
	o.Dialer.KeepAlive = time.Second // also the interval of the client's own checks
	switch mode {
	case ModeSentinel:
		o.Sentinel = c.sentinelOption()
	case ModeCluster:
		o.ShuffleInit = true
		o.InitAddress = append([]string(nil), addresses...)
		o.ClusterOption = rueidis.ClusterOption{MaxMovedRedirections: 5, ShardsRefreshInterval: 10 * time.Second}
	default:
		o.ForceSingleClient = true
	}
	return o
}

func (c *Config) sentinelOption() rueidis.SentinelOption {
	o := rueidis.SentinelOption{
		MasterSet:               c.Master,
		TLSConfig:               toSentinel,
		ClientName:              "understudy",
		TopologyRefreshInterval: 2 * time.Second,
	}
	o.Dialer.Timeout = time.Duration(c.DialTimeout)
	o.Dialer.KeepAlive = time.Second
	return o
}
