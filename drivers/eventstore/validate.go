// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/drivers/settings"
)

// Validate reports everything that is wrong with c, as one [driver.Invalid] error
// that names each key and the form expected; nil if c can be used. It looks at no
// file and no server.
func (c Config) Validate() error { return c.resolve() }

// resolve is Validate and puts what the connection string says, and default ports,
// into c.
func (c *Config) resolve() error {
	var f settings.Faults
	if c.ConnectionString.IsZero() {
		c.resolveHosts(&f)
	} else if err := c.exclusive(); err != nil {
		f.Add(err)
	} else if err := c.fromConnectionString(); err != nil {
		f.Add(err)
	} else {
		c.resolveHosts(&f)
	}
	c.checkLogin(&f)
	c.checkTLS(&f)
	c.checkNumbers(&f)
	c.checkPrefix(&f)
	return f.Err(Name)
}

// exclusive reports keys that a connection string leaves no room for.
func (c *Config) exclusive() error {
	var faults []error
	for _, k := range []struct {
		key string
		set bool
	}{
		{"hosts", c.Hosts != nil}, {"discover", c.Discover}, {"tls", c.TLS != nil},
		{"username", c.Username != ""}, {"password", !c.Password.IsZero()},
	} {
		if k.set {
			faults = append(faults, fmt.Errorf("connection_string and %s exclude each other: the string says it all", k.key))
		}
	}
	return errors.Join(faults...)
}

func (c *Config) resolveHosts(f *settings.Faults) {
	if c.Hosts == nil {
		c.Hosts = []string{"127.0.0.1:" + defaultPort}
	}
	f.If(len(c.Hosts) == 0, "hosts is empty: want host:port of at least one server")
	resolved := make([]string, len(c.Hosts))
	for i, host := range c.Hosts {
		address, err := withPort(host)
		if err != nil {
			f.Add(fmt.Errorf("hosts[%d] %q: %w", i, host, err))
			continue
		}
		resolved[i] = address
		name, _, _ := net.SplitHostPort(address)
		f.If(c.TLS == nil && !c.Insecure && !settings.IsLoopback(name),
			"hosts[%d] %q is not on this machine and the connection would be plain text: set tls, or insecure: true to accept that", i, host)
	}
	c.Hosts = resolved
}

// login returns the credentials.
func (c *Config) login() *settings.Login {
	return &settings.Login{Username: c.Username, UsernameFile: c.UsernameFile, Password: c.Password, PasswordFile: c.PasswordFile}
}

func (c *Config) checkLogin(f *settings.Faults) {
	l := c.login()
	l.Check(f, "")
	f.If(l.HasPassword() && !l.HasName(), "password without a username: set username or username_file")
	f.If(strings.Contains(c.Username, ":"), "username holds a colon: EventStoreDB cannot tell such a name from the password")
	f.If((l.HasName() || l.HasPassword()) && c.TLS == nil && !c.Insecure,
		"credentials without tls would be sent in plain text: set tls, or insecure: true to accept that")
}

func (c *Config) checkTLS(f *settings.Faults) {
	c.TLS.Check(f, "tls")
	f.If(c.unverified && !c.Insecure,
		"tlsVerifyCert=false lets anybody pose as the server: set tls.ca or tlsCAFile, or insecure: true to accept that")
	f.If(c.unverified && c.TLS.CA != "", "tlsVerifyCert=false together with tlsCAFile: the file would not be looked at")
	f.If(c.TLS != nil && !c.unverified && c.Insecure,
		"insecure: true together with tls: nothing would be plain text, so leave insecure out")
}

func (c *Config) checkNumbers(f *settings.Faults) {
	connect, response, call := time.Duration(c.ConnectTimeout), time.Duration(c.ResponseTimeout), time.Duration(c.CallTimeout)
	settings.Between(f, "append_bytes", c.AppendBytes, 512<<10, 4<<20)
	settings.Between(f, "append_events", c.AppendEvents, 1, 4096)
	settings.Between(f, "appends_in_flight", c.AppendsInFlight, 1, 32)
	settings.Between(f, "max_records", c.MaxRecords, 0, 1<<31-1)
	settings.Between(f, "feed", c.Feed, 0, 100_000_000)
	settings.Between(f, "connect_timeout", connect, 10*time.Millisecond, time.Minute)
	settings.Between(f, "response_timeout", response, 10*time.Millisecond, time.Minute)
	settings.Between(f, "call_timeout", call, 100*time.Millisecond, time.Hour)
	f.If(call < response, "call_timeout is %s, less than response_timeout %s: a call would end before the server is missed", call, response)
}

// checkPrefix keeps the journal away from names that EventStoreDB gives a
// meaning: an append to the stream $$ even ends the server.
func (c *Config) checkPrefix(f *settings.Faults) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	f.If(c.StreamPrefix == "" || len(c.StreamPrefix) > 128 || strings.Trim(c.StreamPrefix, allowed) != "",
		"stream_prefix %q: want 1–128 of a–z, A–Z, 0–9, '-', '_', '.'", c.StreamPrefix)
}
