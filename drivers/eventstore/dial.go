// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"math"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
)

// What a connection is made with.
const (
	firstRetry     = 20 * time.Millisecond
	lastRetry      = 200 * time.Millisecond
	keepaliveEvery = 10 * time.Second
	streamWindow   = 4 << 20
	connWindow     = 8 << 20
	maxMessage     = 17 << 20 // an event of the largest append, and its metadata
)

// protection says how the connections are protected.
func (c *Config) protection() driver.Protection {
	switch {
	case c.TLS != nil && !c.unverified && c.TLS.Certificate != "":
		return driver.MutualTLS
	case c.TLS != nil && !c.unverified:
		return driver.TLS
	}
	for _, host := range c.Hosts {
		if name, _, err := net.SplitHostPort(host); err != nil || !settings.IsLoopback(name) {
			return driver.Plain
		}
	}
	return driver.Local
}

// dial makes a connection to the node at the address, with the certificates and
// credentials that the files hold now. Its certificate must be for host, or for what
// tls.server_name says. gRPC establishes the connection, and again after each break.
// Errors: [driver.Unavailable] when a file cannot be used.
func (c *Config) dial(address, host string) (*grpc.ClientConn, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	headers, err := c.headers()
	if err != nil {
		return nil, err
	}
	// Notices a server that vanished while nothing but the subscription is open; gRPC
	// does not do so more often than every 10 seconds.
	keep := keepalive.ClientParameters{
		Time:                cmp.Or(c.pings.every, keepaliveEvery),
		Timeout:             cmp.Or(c.pings.within, 2*time.Duration(c.ResponseTimeout)),
		PermitWithoutStream: true,
	}
	if keep.Time < 0 || keep.Timeout < 0 {
		keep = keepalive.ClientParameters{Time: math.MaxInt64} // never
	}
	authority := host
	if c.TLS != nil && c.TLS.ServerName != "" {
		authority = c.TLS.ServerName
	}
	// The dialer looks the name up at each attempt, so that changes in DNS are seen.
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithAuthority(authority),
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(perCall{headers: headers, secure: c.TLS != nil}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstRetry, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastRetry},
			MinConnectTimeout: time.Duration(c.ConnectTimeout),
		}),
		grpc.WithKeepaliveParams(keep),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, &driver.Error{Class: driver.Unavailable, Detail: "cannot connect to " + address, Cause: err}
	}
	return conn, nil
}

func (c *Config) transport() (credentials.TransportCredentials, error) {
	if c.TLS == nil {
		return insecure.NewCredentials(), nil
	}
	config, err := c.TLS.Config("") // gRPC puts the authority in
	if err != nil {
		return nil, unusable(err)
	}
	config.InsecureSkipVerify = c.unverified
	return credentials.NewTLS(config), nil
}

// headers returns what every call carries. The official client means to ask for
// the leader as well, but puts that where it is never sent.
func (c *Config) headers() (map[string]string, error) {
	headers := map[string]string{"requires-leader": "true"}
	user, password, err := c.login().Read("")
	if err != nil {
		return nil, unusable(err)
	}
	if user != "" {
		headers["authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	return headers, nil
}

// unusable is the error of a connection for which a file cannot be used.
func unusable(err error) error {
	return &driver.Error{Class: driver.Unavailable, Detail: "cannot connect", Cause: err}
}

// perCall adds headers to every call.
type perCall struct {
	headers map[string]string
	secure  bool
}

func (p perCall) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return p.headers, nil
}

func (p perCall) RequireTransportSecurity() bool { return p.secure }
