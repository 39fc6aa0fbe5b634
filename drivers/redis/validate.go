// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Validate reports everything that is wrong with c, as one [driver.Invalid]
// error that names each key and the form expected; nil if c can be used. It
// looks at no file and no server.
func (c *Config) Validate() error {
	faults := []error{c.validateAddresses(), c.validateMode(), c.validateTLS(), c.validateLogin(), c.validateNumbers()}
	if _, err := c.durability(); err != nil {
		faults = append(faults, err)
	}
	joined := errors.Join(faults...)
	if joined == nil {
		return nil
	}
	return &driver.Error{Class: driver.Invalid, Store: Name, Op: "configure",
		Detail: strings.ReplaceAll(joined.Error(), "\n", "; ")}
}

func (c *Config) validateAddresses() error {
	var faults []error
	if len(c.Addresses) == 0 {
		faults = append(faults, errors.New("addresses is empty: want host:port of at least one server"))
	}
	plain := c.TLS == nil
	if c.isSentinel() {
		plain = c.Sentinel.TLS == nil && (c.TLS == nil || c.Sentinel.Plain)
	}
	for i, a := range c.Addresses {
		host, port, err := net.SplitHostPort(a)
		n, numeric := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || host == "" || numeric != nil || n == 0:
			faults = append(faults, fmt.Errorf("addresses[%d] %q: want host:port, such as redis.example.org:6379", i, a))
		case plain && !c.Insecure && !isLoopback(host):
			faults = append(faults, fmt.Errorf("addresses[%d] %q is not on this machine and the connection would be plain text: set tls, or insecure: true to accept that", i, a))
		}
	}
	return errors.Join(faults...)
}

func (c *Config) validateMode() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	switch c.Mode {
	case ModeAuto, ModeStandalone, ModeSentinel, ModeCluster:
	default:
		fault(true, "mode %q: want auto, standalone, sentinel or cluster", c.Mode)
	}
	fault(c.Mode == ModeSentinel && c.Master == "", "master is empty: mode sentinel needs the name under which the Sentinels watch the master")
	fault(c.Master != "" && (c.Mode == ModeStandalone || c.Mode == ModeCluster), "master %q is set in mode %s: only Sentinels know masters by name", c.Master, c.Mode)
	fault(c.Mode == ModeStandalone && len(c.Addresses) > 1, "addresses has %d entries in mode standalone: want one, or another mode", len(c.Addresses))
	fault(c.Mode == ModeCluster && c.Database != 0, "database %d in mode cluster: a Cluster has only database 0", c.Database)
	own := c.Sentinel.Username != "" || !c.Sentinel.Password.IsZero() || c.Sentinel.PasswordFile != "" || c.Sentinel.TLS != nil || c.Sentinel.Plain
	fault(own && !c.isSentinel(), "sentinel is set but master is not: the section is for mode sentinel")
	return errors.Join(faults...)
}

func (c *Config) isSentinel() bool {
	return c.Mode == ModeSentinel || c.Mode == ModeAuto && c.Master != ""
}

func (c *Config) validateTLS() error {
	var faults []error
	for _, section := range []struct {
		key string
		tls *TLS
	}{{"tls", c.TLS}, {"sentinel.tls", c.Sentinel.TLS}} {
		t := section.tls
		if t == nil {
			continue
		}
		if (t.Certificate == "") != (t.Key == "") {
			faults = append(faults, fmt.Errorf("%s.certificate and %s.key: want both files, or neither", section.key, section.key))
		}
		if t.MinVersion != "" && t.MinVersion != "1.2" && t.MinVersion != "1.3" {
			faults = append(faults, fmt.Errorf("%s.min_version %q: want 1.2 or 1.3", section.key, t.MinVersion))
		}
	}
	if c.Sentinel.Plain && c.Sentinel.TLS != nil {
		faults = append(faults, errors.New("sentinel.plain and sentinel.tls exclude each other"))
	}
	if c.Insecure && c.TLS != nil && !c.Sentinel.Plain {
		faults = append(faults, errors.New("insecure: true together with tls: nothing would be plain text, so leave insecure out"))
	}
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
	s := c.Sentinel
	fault(!s.Password.IsZero() && s.PasswordFile != "", "sentinel.password and sentinel.password_file exclude each other")
	fault(s.Username != "" && s.Password.IsZero() && s.PasswordFile == "", "sentinel.username without a password: set sentinel.password or sentinel.password_file")
	return errors.Join(faults...)
}

func (c *Config) validateNumbers() error {
	var faults []error
	between := func(key string, v, least, most int64) {
		if v < least || v > most {
			faults = append(faults, fmt.Errorf("%s is %d: want %d–%d", key, v, least, most))
		}
	}
	lasting := func(key string, d driver.Duration, least, most time.Duration) {
		if time.Duration(d) < least || time.Duration(d) > most {
			faults = append(faults, fmt.Errorf("%s is %s: want %s–%s", key, time.Duration(d), least, most))
		}
	}
	between("database", int64(c.Database), 0, 15)
	between("shards", int64(c.Shards), 0, MaxShards)
	between("memory_limit", c.MemoryLimit, 0, 1<<50)
	between("stream_length", int64(c.StreamLength), 1, 100_000_000)
	lasting("stream_age", c.StreamAge, time.Second, 10*365*24*time.Hour)
	lasting("dial_timeout", c.DialTimeout, 10*time.Millisecond, time.Minute)
	lasting("response_timeout", c.ResponseTimeout, 50*time.Millisecond, time.Minute)
	lasting("durability_timeout", c.DurabilityTimeout, time.Millisecond, time.Minute)
	if err := driver.ValidateName("prefix", c.Prefix); err != nil {
		faults = append(faults, fmt.Errorf("prefix %q: want 1–64 of a–z, 0–9, '-', '_', '.', beginning with a letter or digit", c.Prefix))
	}
	return errors.Join(faults...)
}

// durability is what an acknowledgement waits for.
type durability struct {
	fsync    bool
	replicas int
}

func (d durability) waits() bool { return d.fsync || d.replicas > 0 }

func (c *Config) durability() (durability, error) {
	if n, ok := strings.CutPrefix(c.Durability, "replicas:"); ok {
		if replicas, err := strconv.Atoi(strings.TrimSpace(n)); err == nil && replicas >= 1 && replicas <= 100 {
			return durability{replicas: replicas}, nil
		}
	}
	switch c.Durability {
	case "memory":
		return durability{}, nil
	case "fsync":
		return durability{fsync: true}, nil
	}
	return durability{}, fmt.Errorf("durability %q: want memory, fsync, or replicas:n with n from 1 to 100", c.Durability)
}

// isLoopback reports whether connections to host never leave this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
