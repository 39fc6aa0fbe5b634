// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"encoding/json"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
)

// Config is the driver's section of a configuration. The zero value of a key
// means its default, see [DefaultConfig].
type Config struct {
	// ConnectionString names the server as its own documentation does, for example
	// esdb://user:password@host:2113?tls=true. It takes the place of Hosts, Discover,
	// TLS, Username and Password. It is a secret, as it may hold one.
	ConnectionString driver.Secret `json:"connection_string"`
	// Hosts are host or host:port of the server, or of some nodes of the cluster; the
	// port is 2113 unless it is given. Several hosts are asked for the leader by
	// gossip. Default: 127.0.0.1:2113.
	Hosts []string `json:"hosts"`
	// Discover asks also a single host for the leader, such as a DNS name that stands
	// for all nodes.
	Discover bool `json:"discover"`

	// Insecure allows plain text over a network, credentials in plain text, and TLS
	// without a check of the server's certificate (tlsVerifyCert=false).
	Insecure bool `json:"insecure"`
	// TLS encrypts the connections. An empty section uses the system's authorities.
	TLS *settings.TLS `json:"tls"`
	// Username of a user of EventStoreDB.
	Username string `json:"username"`
	// UsernameFile names a file that holds the username.
	UsernameFile string `json:"username_file"`
	// Password of the user.
	Password driver.Secret `json:"password"`
	// PasswordFile names a file that holds the password. It is read for each new
	// connection, so that a password is replaced without a restart.
	PasswordFile string `json:"password_file"`

	// StreamPrefix and the name of the chain are the name of the journal stream.
	// Default: understudy-.
	StreamPrefix string `json:"stream_prefix"`
	// AppendBytes is the limit of one append in bytes, metadata included: the
	// MaxAppendSize of the server or less. 524288–4194304. Default: 1048576.
	AppendBytes int `json:"append_bytes"`
	// AppendEvents is the largest number of events of one append, 1–4096. Default: 512.
	AppendEvents int `json:"append_events"`
	// AppendsInFlight is how many appends may be under way at once, 1–32. Default: 4.
	AppendsInFlight int `json:"appends_in_flight"`

	// ConnectTimeout bounds a connection attempt, TLS included, and a question to the
	// gossip of a node. Default: 750ms.
	ConnectTimeout driver.Duration `json:"connect_timeout"`
	// ResponseTimeout is how long a server may keep a call waiting before it is asked
	// for a sign of life. If that takes as long again, the connection counts as dead.
	// Default: 1s.
	ResponseTimeout driver.Duration `json:"response_timeout"`
	// CallTimeout bounds a call to a server that gives signs of life. Default: 10s.
	CallTimeout driver.Duration `json:"call_timeout"`

	// What only a connection string can ask for; see fromSettings.
	pings      pings // how connections are checked that nothing passes over
	unverified bool  // TLS does not check the server's certificate

	// MaxRecords is how many records the store takes before it answers Full; 0: as
	// many as fit into the memory of the driver.
	MaxRecords int `json:"max_records"`
	// Feed is how many changes the change feed reaches back; 0: 131072.
	Feed int `json:"feed"`
}

// pings is how often an idle connection is checked, and how long the answer may
// take. Below zero: not at all; zero: 10 seconds, and twice the response timeout.
type pings struct{ every, within time.Duration }

// DefaultConfig returns the configuration that an empty section means.
func DefaultConfig() Config {
	return Config{
		StreamPrefix:    "understudy-",
		AppendBytes:     1 << 20,
		AppendEvents:    512,
		AppendsInFlight: 4,
		ConnectTimeout:  driver.Duration(750 * time.Millisecond),
		ResponseTimeout: driver.Duration(time.Second),
		CallTimeout:     driver.Duration(10 * time.Second),
	}
}

// ParseConfig decodes a section over the defaults, puts what a connection string
// says in its place, and checks it all; see [Config.Validate].
func ParseConfig(section json.RawMessage) (Config, error) {
	c := DefaultConfig()
	if err := driver.DecodeConfig(section, &c); err != nil {
		return Config{}, driver.In(err, Name, "configure")
	}
	if err := c.resolve(); err != nil {
		return Config{}, err
	}
	return c, nil
}
