// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Validate reports everything that is wrong with c, as one [driver.Invalid] error
// that names each key and the form expected; nil if c can be used. It looks at no
// file and no server.
func (c Config) Validate() error { return c.resolve() }

// resolve is Validate and puts what the connection string says, and default ports,
// into c.
func (c *Config) resolve() error {
	var faults []error
	if c.ConnectionString.IsZero() {
		faults = append(faults, c.resolveHosts())
	} else if err := c.exclusive(); err != nil {
		faults = append(faults, err)
	} else if err := c.fromConnectionString(); err != nil {
		faults = append(faults, err)
	} else {
		faults = append(faults, c.resolveHosts())
	}
	faults = append(faults, c.validateLogin(), c.validateTLS(), c.validateNumbers(), c.validatePrefix())
	joined := errors.Join(faults...)
	if joined == nil {
		return nil
	}
	return &driver.Error{Class: driver.Invalid, Store: Name, Op: "configure",
		Detail: strings.ReplaceAll(joined.Error(), "\n", "; ")}
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

func (c *Config) resolveHosts() error {
	if c.Hosts == nil {
		c.Hosts = []string{"127.0.0.1:" + defaultPort}
	}
	var faults []error
	if len(c.Hosts) == 0 {
		faults = append(faults, errors.New("hosts is empty: want host:port of at least one server"))
	}
	resolved := make([]string, len(c.Hosts))
	for i, host := range c.Hosts {
		address, err := withPort(host)
		if err != nil {
			faults = append(faults, fmt.Errorf("hosts[%d] %q: %w", i, host, err))
			continue
		}
		resolved[i] = address
		if name, _, _ := net.SplitHostPort(address); c.TLS == nil && !c.Insecure && !isLoopback(name) {
			faults = append(faults, fmt.Errorf("hosts[%d] %q is not on this machine and the connection would be plain text: set tls, or insecure: true to accept that", i, host))
		}
	}
	c.Hosts = resolved
	return errors.Join(faults...)
}

func (c *Config) validateLogin() error {
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	named := c.Username != "" || c.UsernameFile != ""
	secret := !c.Password.IsZero() || c.PasswordFile != ""
	fault(c.Username != "" && c.UsernameFile != "", "username and username_file exclude each other")
	fault(!c.Password.IsZero() && c.PasswordFile != "", "password and password_file exclude each other")
	fault(named && !secret, "username without a password: set password or password_file")
	fault(secret && !named, "password without a username: set username or username_file")
	fault(strings.Contains(c.Username, ":"), "username holds a colon: EventStoreDB cannot tell such a name from the password")
	fault((named || secret) && c.TLS == nil && !c.Insecure, "credentials without tls would be sent in plain text: set tls, or insecure: true to accept that")
	return errors.Join(faults...)
}

func (c *Config) validateTLS() error {
	var faults []error
	t := c.TLS
	if t != nil && (t.Certificate == "") != (t.Key == "") {
		faults = append(faults, errors.New("tls.certificate and tls.key: want both files, or neither"))
	}
	if t != nil && t.unverified && !c.Insecure {
		faults = append(faults, errors.New("tlsVerifyCert=false lets anybody pose as the server: set tls.ca or tlsCAFile, or insecure: true to accept that"))
	}
	if t != nil && t.unverified && t.CA != "" {
		faults = append(faults, errors.New("tlsVerifyCert=false together with tlsCAFile: the file would not be looked at"))
	}
	if t != nil && !t.unverified && c.Insecure {
		faults = append(faults, errors.New("insecure: true together with tls: nothing would be plain text, so leave insecure out"))
	}
	return errors.Join(faults...)
}

func (c *Config) validateNumbers() error {
	var faults []error
	between := func(key string, v, least, most int) {
		if v < least || v > most {
			faults = append(faults, fmt.Errorf("%s is %d: want %d–%d", key, v, least, most))
		}
	}
	lasting := func(key string, d driver.Duration, least, most time.Duration) {
		if time.Duration(d) < least || time.Duration(d) > most {
			faults = append(faults, fmt.Errorf("%s is %s: want %s–%s", key, time.Duration(d), least, most))
		}
	}
	between("append_bytes", c.AppendBytes, 512<<10, 4<<20)
	between("append_events", c.AppendEvents, 1, 4096)
	between("appends_in_flight", c.AppendsInFlight, 1, 32)
	between("max_records", c.MaxRecords, 0, 1<<31-1)
	between("feed", c.Feed, 0, 100_000_000)
	lasting("connect_timeout", c.ConnectTimeout, 10*time.Millisecond, time.Minute)
	lasting("response_timeout", c.ResponseTimeout, 10*time.Millisecond, time.Minute)
	lasting("call_timeout", c.CallTimeout, 100*time.Millisecond, time.Hour)
	if c.CallTimeout < c.ResponseTimeout {
		faults = append(faults, fmt.Errorf("call_timeout is %s, less than response_timeout %s: a call would end before the server is missed",
			time.Duration(c.CallTimeout), time.Duration(c.ResponseTimeout)))
	}
	return errors.Join(faults...)
}

// validatePrefix keeps the journal away from names that EventStoreDB gives a
// meaning: an append to the stream $$ even ends the server.
func (c *Config) validatePrefix() error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	if c.StreamPrefix == "" || len(c.StreamPrefix) > 128 || strings.Trim(c.StreamPrefix, allowed) != "" {
		return fmt.Errorf("stream_prefix %q: want 1–128 of a–z, A–Z, 0–9, '-', '_', '.'", c.StreamPrefix)
	}
	return nil
}

// isLoopback reports whether connections to host never leave this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
