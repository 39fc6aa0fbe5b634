// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
)

// Validate reports everything that is wrong with c, as one [driver.Invalid]
// error that names each key and the form expected; nil if c can be used. It
// looks at no file and no server.
func (c *Config) Validate() error {
	var f settings.Faults
	c.checkAddresses(&f)
	c.checkMode(&f)
	c.checkTLS(&f)
	c.login().Check(&f, "")
	c.Sentinel.login().Check(&f, "sentinel.")
	c.checkNumbers(&f)
	_, err := c.durability()
	f.Add(err)
	return f.Err(Name)
}

func (c *Config) checkAddresses(f *settings.Faults) {
	f.If(len(c.Addresses) == 0, "addresses is empty: want host:port of at least one server")
	plain := c.TLS == nil
	if c.isSentinel() {
		plain = c.Sentinel.TLS == nil && (c.TLS == nil || c.Sentinel.Plain)
	}
	for i, a := range c.Addresses {
		host, port, err := net.SplitHostPort(a)
		n, numeric := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || numeric != nil || n == 0 {
			f.Add(fmt.Errorf("addresses[%d] %q: want host:port, such as redis.example.org:6379", i, a))
			continue
		}
		f.If(plain && !c.Insecure && !settings.IsLoopback(host),
			"addresses[%d] %q is not on this machine and the connection would be plain text: set tls, or insecure: true to accept that", i, a)
	}
}

func (c *Config) checkMode(f *settings.Faults) {
	switch c.Mode {
	case ModeAuto, ModeStandalone, ModeSentinel, ModeCluster:
	default:
		f.Add(fmt.Errorf("mode %q: want auto, standalone, sentinel or cluster", c.Mode))
	}
	f.If(c.Mode == ModeSentinel && c.Master == "", "master is empty: mode sentinel needs the name under which the Sentinels watch the master")
	f.If(c.Master != "" && (c.Mode == ModeStandalone || c.Mode == ModeCluster), "master %q is set in mode %s: only Sentinels know masters by name", c.Master, c.Mode)
	f.If(c.Mode == ModeStandalone && len(c.Addresses) > 1, "addresses has %d entries in mode standalone: want one, or another mode", len(c.Addresses))
	f.If(c.Mode == ModeCluster && c.Database != 0, "database %d in mode cluster: a Cluster has only database 0", c.Database)
	f.If(c.Sentinel != (Sentinel{}) && !c.isSentinel(), "sentinel is set but master is not: the section is for mode sentinel")
}

func (c *Config) isSentinel() bool {
	return c.Mode == ModeSentinel || c.Mode == ModeAuto && c.Master != ""
}

func (c *Config) checkTLS(f *settings.Faults) {
	c.TLS.Check(f, "tls")
	c.Sentinel.TLS.Check(f, "sentinel.tls")
	f.If(c.Sentinel.Plain && c.Sentinel.TLS != nil, "sentinel.plain and sentinel.tls exclude each other")
	f.If(c.Insecure && c.TLS != nil && !c.Sentinel.Plain, "insecure: true together with tls: nothing would be plain text, so leave insecure out")
}

// login returns the credentials for Redis.
func (c *Config) login() *settings.Login {
	return &settings.Login{Username: c.Username, UsernameFile: c.UsernameFile, Password: c.Password, PasswordFile: c.PasswordFile}
}

// login returns the credentials for the Sentinels.
func (s *Sentinel) login() *settings.Login {
	return &settings.Login{Username: s.Username, Password: s.Password, PasswordFile: s.PasswordFile}
}

func (c *Config) checkNumbers(f *settings.Faults) {
	settings.Between(f, "database", c.Database, 0, 15)
	settings.Between(f, "shards", c.Shards, 0, MaxShards)
	settings.Between(f, "memory_limit", c.MemoryLimit, 0, 1<<50)
	settings.Between(f, "stream_length", c.StreamLength, 1, 100_000_000)
	settings.Between(f, "stream_age", time.Duration(c.StreamAge), time.Second, 10*365*24*time.Hour)
	settings.Between(f, "dial_timeout", time.Duration(c.DialTimeout), 10*time.Millisecond, time.Minute)
	settings.Between(f, "response_timeout", time.Duration(c.ResponseTimeout), 50*time.Millisecond, time.Minute)
	settings.Between(f, "durability_timeout", time.Duration(c.DurabilityTimeout), time.Millisecond, time.Minute)
	f.If(driver.ValidateName("prefix", c.Prefix) != nil,
		"prefix %q: want 1–64 of a–z, 0–9, '-', '_', '.', beginning with a letter or digit", c.Prefix)
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
