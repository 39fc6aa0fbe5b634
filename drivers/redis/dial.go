// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
)

// notSent marks an error that came before any command of ours was sent on the
// connection. It does not unwrap to its cause for rueidis' sake, which would
// replace a timeout by context.DeadlineExceeded.
type notSent struct{ cause error }

func (e *notSent) Error() string { return e.cause.Error() }

// toSentinel marks the settings of connections to Sentinels: rueidis hands the
// TLS settings of a connection to the function that dials, and nothing else that
// tells the two kinds apart.
var toSentinel = &tls.Config{MinVersion: tls.VersionTLS12}

// toServer makes rueidis connect to the ports for TLS of a Cluster, which names
// both kinds. How is up to the function that dials.
var toServer = &tls.Config{MinVersion: tls.VersionTLS12}

// sentinelAddr is the address of a Sentinel, for which other credentials hold.
type sentinelAddr struct{ net.Addr }

// dial makes a connection to Redis or to a Sentinel.
func (c *Config) dial(ctx context.Context, addr string, _ *net.Dialer, kind *tls.Config) (net.Conn, error) {
	conn := &greeted{sentinel: kind == toSentinel}
	d := dialer{c.TLS, c.Insecure, time.Duration(c.DialTimeout)}
	if conn.sentinel && c.Sentinel.Plain {
		d.tls = nil
	} else if conn.sentinel && c.Sentinel.TLS != nil {
		d.tls = c.Sentinel.TLS
	}
	var err error
	if conn.Conn, err = d.dial(ctx, addr); err != nil {
		return nil, &notSent{err}
	}
	return conn, nil
}

// dialer makes connections by the settings of one section.
type dialer struct {
	tls      *settings.TLS
	insecure bool
	timeout  time.Duration
}

func (d dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	if d.tls == nil && !d.insecure && !settings.IsLoopback(host) {
		return nil, fmt.Errorf("%s, named by the server, is not on this machine and the connection would be plain text: set tls, or insecure: true", addr)
	}
	var plain net.Dialer
	conn, err := plain.DialContext(ctx, "tcp", addr)
	if err != nil || d.tls == nil {
		return conn, err
	}
	if conn, err = d.encrypt(ctx, conn, host); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return conn, nil
}

func (d dialer) encrypt(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	config, err := d.tls.Config(host)
	if err == nil {
		encrypted := tls.Client(conn, config)
		if err = encrypted.HandshakeContext(ctx); err == nil {
			return encrypted, nil
		}
		err = advise(err)
	}
	_ = conn.Close() // what went wrong is in err
	return nil, err
}

// advise adds to the error of a handshake what can be done about it.
func advise(err error) error {
	var unknown x509.UnknownAuthorityError
	var otherName x509.HostnameError
	var notTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: set tls.ca to the file of its authority", err)
	case errors.As(err, &otherName):
		return fmt.Errorf("%w: set tls.server_name to a name in the certificate", err)
	case errors.As(err, &notTLS), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: is this the port for TLS (tls-port)?", err)
	}
	return err
}

// greeted is a connection that knows whether the server has ever answered. The
// first exchange is the greeting (HELLO); until it is over nothing else is sent.
type greeted struct {
	net.Conn
	sentinel bool
	answered atomic.Bool
}

func (c *greeted) RemoteAddr() net.Addr {
	if c.sentinel {
		return sentinelAddr{c.Conn.RemoteAddr()}
	}
	return c.Conn.RemoteAddr()
}

func (c *greeted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, c.mark(err)
}

func (c *greeted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.mark(err)
}

func (c *greeted) mark(err error) error {
	if err == nil || c.answered.Load() {
		return err
	}
	if _, encrypted := c.Conn.(*tls.Conn); !encrypted && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return &notSent{fmt.Errorf("no greeting from %s: %w: if it wants TLS, set tls", c.RemoteAddr(), err)}
	}
	return &notSent{fmt.Errorf("no greeting from %s: %w", c.RemoteAddr(), err)}
}

// credentials gives the login of the next connection.
func (c *Config) credentials(to rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	login, at := c.login(), ""
	if _, ok := to.Address.(sentinelAddr); ok {
		login, at = c.Sentinel.login(), "sentinel."
	}
	username, password, err := login.Read(at)
	if err != nil {
		return rueidis.AuthCredentials{}, &driver.Error{Class: driver.Denied, Detail: "no credentials", Cause: err}
	}
	return rueidis.AuthCredentials{Username: username, Password: password}, nil
}
