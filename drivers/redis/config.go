// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"encoding/json"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
)

// The modes of a Redis installation.
const (
	ModeAuto       = "auto"
	ModeStandalone = "standalone"
	ModeSentinel   = "sentinel"
	ModeCluster    = "cluster"
)

// MaxShards is the largest number of shards of a chain: the cursor of a feed
// names the place in each.
const MaxShards = 32

// Config is the driver's section of a configuration. The zero value of a key
// means its default, see [DefaultConfig].
type Config struct {
	// Mode is auto, standalone, sentinel or cluster. Auto: sentinel if master is
	// set, else what the server says of itself.
	Mode string `json:"mode"`
	// Addresses are host:port of the server, of the Sentinels, or of some nodes of
	// the Cluster. Default: 127.0.0.1:6379.
	Addresses []string `json:"addresses"`
	// Master is the name under which the Sentinels watch the master.
	Master string `json:"master"`
	// Database is the number of the logical database, 0–15. A Cluster has only 0.
	Database int `json:"database"`
	// Prefix begins every key, inside the braces of the hash tag. Default: us.
	Prefix string `json:"prefix"`
	// Shards is the number of parts, each with a hash tag of its own, that the
	// records are spread over, 1–32. It can never change once the chain has been
	// used, and must be the same on all hosts. 0: 1, and 16 on a Cluster.
	Shards int `json:"shards"`

	// Insecure allows plain text over a network. Without it, an address outside
	// this machine needs tls.
	Insecure bool `json:"insecure"`
	// TLS encrypts the connections to Redis, and to the Sentinels unless they have
	// settings of their own. An empty section uses the system's authorities.
	TLS *settings.TLS `json:"tls"`
	// Username of the ACL user; empty: the default user.
	Username string `json:"username"`
	// UsernameFile names a file that holds the username.
	UsernameFile string `json:"username_file"`
	// Password of the user.
	Password driver.Secret `json:"password"`
	// PasswordFile names a file that holds the password. It is read for each new
	// connection, so that a password is replaced without a restart.
	PasswordFile string `json:"password_file"`
	// Sentinel has what differs for the Sentinels themselves.
	Sentinel Sentinel `json:"sentinel"`

	// DialTimeout bounds a connection attempt, TLS and login included. Default: 1s.
	DialTimeout driver.Duration `json:"dial_timeout"`
	// ResponseTimeout is how long a server may keep silent before the connection
	// counts as dead. Default: 2s.
	ResponseTimeout driver.Duration `json:"response_timeout"`

	// Durability is what an acknowledgement waits for: memory (the master's), fsync
	// (its append-only file, by WAITAOF: Redis 7.2), or replicas:n (n of them, by
	// WAIT). Default: memory.
	Durability string `json:"durability"`
	// DurabilityTimeout is how long to wait for that; past it the outcome is
	// unknown. Default: 1s.
	DurabilityTimeout driver.Duration `json:"durability_timeout"`

	// MemoryLimit is a soft limit in bytes of the memory a server uses: past it a
	// probe reports a problem. 0: 90 % of maxmemory, if the server has one.
	MemoryLimit int64 `json:"memory_limit"`
	// StreamLength is how many changes of a shard the feed reaches back. Default:
	// 100000. A change takes about 70 bytes.
	StreamLength int `json:"stream_length"`
	// StreamAge is how long the feed reaches back. Default: 24h.
	StreamAge driver.Duration `json:"stream_age"`
}

// Sentinel is how to reach the Sentinels where that differs from Redis.
type Sentinel struct {
	Username     string        `json:"username"`
	Password     driver.Secret `json:"password"`
	PasswordFile string        `json:"password_file"`
	// TLS of the connections to the Sentinels. Not set: that of Redis.
	TLS *settings.TLS `json:"tls"`
	// Plain: the Sentinels have no TLS although Redis does.
	Plain bool `json:"plain"`
}

// DefaultConfig returns the configuration that an empty section means.
func DefaultConfig() Config {
	return Config{
		Mode:              ModeAuto,
		Addresses:         []string{"127.0.0.1:6379"},
		Prefix:            "us",
		DialTimeout:       driver.Duration(time.Second),
		ResponseTimeout:   driver.Duration(2 * time.Second),
		Durability:        "memory",
		DurabilityTimeout: driver.Duration(time.Second),
		StreamLength:      100_000,
		StreamAge:         driver.Duration(24 * time.Hour),
	}
}

// ParseConfig decodes a section over the defaults and checks it; see
// [Config.Validate].
func ParseConfig(section json.RawMessage) (Config, error) {
	c := DefaultConfig()
	if err := driver.DecodeConfig(section, &c); err != nil {
		return Config{}, driver.In(err, Name, "configure")
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}
