// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
)

func TestConfigTakesAConnectionStringApart(t *testing.T) {
	t.Parallel()
	c, err := eventstore.ParseConfig(json.RawMessage(`{"connection_string": "esdb+discover://us%40er:p%3Aw@es.example.org,b:1234?tls=true&tlsCAFile=/ca.pem&userCertFile=/c.pem&userKeyFile=/k.pem&nodePreference=leader"}`))
	require.NoError(t, err)
	require.Equal(t, []string{"es.example.org:2113", "b:1234"}, c.Hosts)
	require.True(t, c.Discover)
	require.Equal(t, "us@er", c.Username)
	require.Equal(t, "p:w", c.Password.Reveal())
	require.Equal(t, []string{"/ca.pem", "/c.pem", "/k.pem"}, []string{c.TLS.CA, c.TLS.Certificate, c.TLS.Key})
	require.NotContains(t, fmt.Sprintf("%+v", c), "p:w", "secrets are never shown")

	c, err = eventstore.ParseConfig(nil)
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:2113"}, c.Hosts)
	require.Nil(t, c.TLS)
}

// TestConnectionStringsMeanWhatTheyMeanElsewhere compares with the official client,
// which reads the file of the authorities at once and has no IPv6 addresses.
func TestConnectionStringsMeanWhatTheyMeanElsewhere(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"esdb://localhost",
		"esdb://localhost:1234?tls=false",
		"esdb://localhost?TLS=False",
		"esdb://es-1.example.org/",
		"esdb://admin:changeit@es-1.example.org:2113?tls=true",
		"esdb://us%40er:p%3Aw%2F%25+%2C@es-1.example.org",
		"esdb://u:p@es-1.example.org,es-2.example.org:2114,es-3.example.org?tls=true",
		"esdb+discover://u:p@es.example.org",
		"esdb+discover://u:p@es-1.example.org:1,es-2.example.org:2?nodePreference=leader",
		"esdb://es-1.example.org?tlsVerifyCert=true",
		"esdb://es-1.example.org?userCertFile=%2Fc+d.pem&userKeyFile=/k.pem",
		"esdb://localhost:2113?tls=false&keepAliveTimeout=10000&keepAliveInterval=-1",
	} {
		want, err := esdb.ParseConnectionString(text)
		require.NoError(t, err, text)
		got, err := eventstore.ParseConfig(settings{"connection_string": text}.json(t))
		require.NoError(t, err, text)
		hosts := []string{want.Address}
		if want.GossipSeeds != nil {
			hosts = nil
		}
		for _, seed := range want.GossipSeeds {
			hosts = append(hosts, seed.String())
		}
		require.Equal(t, hosts, got.Hosts, text)
		require.Equal(t, want.DnsDiscover, got.Discover, text)
		require.Equal(t, []string{want.Username, want.Password}, []string{got.Username, got.Password.Reveal()}, text)
		require.Equal(t, want.DisableTLS, got.TLS == nil, text)
		if got.TLS != nil {
			require.Equal(t, []string{want.UserCertFile, want.UserKeyFile}, []string{got.TLS.Certificate, got.TLS.Key}, text)
		}
	}
}

func TestConfigAccepts(t *testing.T) {
	t.Parallel()
	for _, section := range []string{
		`{}`,
		`{"hosts": ["localhost", "[::1]:2114", "::1"]}`,
		`{"hosts": ["a.example.org"], "tls": {}, "username": "u", "password_file": "/p"}`,
		`{"hosts": ["a.example.org"], "insecure": true, "username_file": "/u", "password": "p"}`,
		`{"connection_string": "esdb://127.0.0.1:2113?tls=false"}`,
		`{"connection_string": "esdb://a.example.org?tls=false", "insecure": true}`,
		`{"connection_string": "esdb://a.example.org?tlsVerifyCert=false", "insecure": true}`,
		`{"connection_string": "esdb://a.example.org/"}`,
		`{"connection_string": "esdb://localhost:2113?tls=false&keepAliveTimeout=10000&keepAliveInterval=10000"}`,
		`{"append_bytes": 524288, "append_events": 1, "appends_in_flight": 32, "connect_timeout": "2s", "response_timeout": "3s", "call_timeout": "1m", "max_records": 5, "feed": 10}`,
	} {
		require.NoError(t, eventstore.Driver().Validate(json.RawMessage(section)), section)
	}
}

func TestConfigRefusesEachWithItsOwnMessage(t *testing.T) {
	t.Parallel()
	for section, want := range map[string]string{
		`{"colour": "red"}`:                                                                     `unknown key "colour"`,
		`{"hosts": []}`:                                                                         "hosts is empty",
		`{"hosts": ["127.0.0.1:0"]}`:                                                            `hosts[0] "127.0.0.1:0": want host or host:port`,
		`{"hosts": ["localhost", "a b"]}`:                                                       `hosts[1] "a b"`,
		`{"hosts": ["es.example.org"]}`:                                                         "would be plain text: set tls, or insecure: true",
		`{"hosts": ["es.example.org"], "tls": {}, "insecure": true}`:                            "insecure: true together with tls",
		`{"username": "u", "password": "p"}`:                                                    "credentials without tls",
		`{"tls": {}, "username": "u"}`:                                                          "username without a password",
		`{"tls": {}, "password": "p"}`:                                                          "password without a username",
		`{"tls": {}, "username": "u:v", "password": "p"}`:                                       "username holds a colon",
		`{"tls": {}, "username": "u", "username_file": "/u", "password": "p"}`:                  "username and username_file exclude each other",
		`{"tls": {}, "username": "u", "password": "p", "password_file": "/p"}`:                  "password and password_file exclude each other",
		`{"tls": {"certificate": "/c"}}`:                                                        "tls.certificate and tls.key: want both",
		`{"append_bytes": 1000}`:                                                                "append_bytes is 1000: want 524288–4194304",
		`{"append_events": 0}`:                                                                  "append_events is 0: want 1–4096",
		`{"appends_in_flight": 33}`:                                                             "appends_in_flight is 33: want 1–32",
		`{"max_records": -1}`:                                                                   "max_records is -1",
		`{"feed": -1}`:                                                                          "feed is -1",
		`{"connect_timeout": "1ms"}`:                                                            "connect_timeout is 1ms: want 10ms–1m0s",
		`{"response_timeout": "0s"}`:                                                            "response_timeout is 0s",
		`{"call_timeout": "2h"}`:                                                                "call_timeout is 2h0m0s",
		`{"call_timeout": "500ms"}`:                                                             "call_timeout is 500ms, less than response_timeout 1s",
		`{"call_timeout": 5}`:                                                                   `key "call_timeout" is a number, want a text such as "2s"`,
		`{"stream_prefix": ""}`:                                                                 `stream_prefix "": want 1–128`,
		`{"stream_prefix": "$$"}`:                                                               `stream_prefix "$$"`,
		`{"stream_prefix": "$us-"}`:                                                             `stream_prefix "$us-"`,
		`{"connection_string": "http://localhost"}`:                                             "want esdb://… or esdb+discover://…",
		`{"connection_string": "esdb://localhost/db?tls=false"}`:                                "has a path",
		`{"connection_string": "esdb://:p@localhost"}`:                                          "the user name before @ is empty",
		`{"connection_string": "esdb://u@localhost"}`:                                           "the password before @ is empty",
		`{"connection_string": "esdb://u:p@localhost?tls=false"}`:                               "credentials without tls",
		`{"connection_string": "esdb://localhost?tls=maybe"}`:                                   "tls: want true or false",
		`{"connection_string": "esdb://localhost?colour=red"}`:                                  `unknown setting "colour"`,
		`{"connection_string": "esdb://localhost?keepAliveInterval=soon"}`:                      "keepAliveInterval: want milliseconds, or -1 for never",
		`{"connection_string": "esdb://localhost?keepAliveTimeout=0"}`:                          "keepAliveTimeout: want milliseconds",
		`{"connection_string": "esdb://localhost?gossipTimeout=5"}`:                             "gossipTimeout has no meaning here",
		`{"connection_string": "esdb://localhost?nodePreference=follower"}`:                     "always kept with the leader",
		`{"connection_string": "esdb://localhost?tlsVerifyCert=false"}`:                         "lets anybody pose as the server",
		`{"connection_string": "esdb://localhost?tls=false&tlsCAFile=/c"}`:                      "tls=false together with other settings",
		`{"connection_string": "esdb://localhost?tlsVerifyCert=false&tlsCAFile=/c"}`:            "the file would not be looked at",
		`{"connection_string": "esdb://localhost?tls=false", "hosts": ["localhost"]}`:           "connection_string and hosts exclude each other",
		`{"connection_string": "esdb://localhost?tls=false", "discover": true}`:                 "connection_string and discover exclude each other",
		`{"connection_string": "esdb://localhost", "tls": {}}`:                                  "connection_string and tls exclude each other",
		`{"connection_string": "esdb://localhost", "username": "u", "password": "p"}`:           "connection_string and username exclude each other",
		`{"connection_string": "esdb://es.example.org?tls=false"}`:                              "would be plain text",
		`{"connection_string": "esdb://"}`:                                                      `hosts[0] "": want host or host:port`,
		`{"connection_string": "esdb://localhost?tls=true&tls=%zz"}`:                            "not properly escaped",
		`{"tls": {"certificate": "/c"}, "append_events": 0, "username": "u", "password": "p" }`: "append_events is 0",
	} {
		err := eventstore.Driver().Validate(json.RawMessage(section))
		require.ErrorIs(t, err, driver.Invalid, section)
		require.ErrorContains(t, err, want, section)
	}
}

func TestConfigFaultsDoNotShowThePassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"esdb://u:hunter2@/a/b", "ftp://u:hunter2@h", "esdb://u:hunter2%zz@h", "esdb://u:hunter2@h?tls=x", "hunter2"} {
		section, err := json.Marshal(map[string]string{"connection_string": text})
		require.NoError(t, err)
		err = eventstore.Driver().Validate(section)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	_, err := eventstore.Open(eventstore.Options{Config: eventstore.DefaultConfig(), Chain: "$$"})
	require.ErrorIs(t, err, driver.Invalid)
	c := eventstore.DefaultConfig()
	c.CallTimeout = driver.Duration(time.Nanosecond)
	_, err = eventstore.Open(eventstore.Options{Config: c, Chain: "calls"})
	require.ErrorIs(t, err, driver.Invalid)
}

func TestDescribeSaysHowConnectionsAreProtected(t *testing.T) {
	t.Parallel()
	for section, want := range map[string]driver.Protection{
		`{}`: driver.Local,
		`{"hosts": ["es.example.org"], "insecure": true}`:                                      driver.Plain,
		`{"hosts": ["es.example.org"], "tls": {}}`:                                             driver.TLS,
		`{"tls": {"certificate": "/c", "key": "/k"}}`:                                          driver.MutualTLS,
		`{"connection_string": "esdb://es.example.org?tlsVerifyCert=false", "insecure": true}`: driver.Plain,
		`{"connection_string": "esdb://localhost:1?tlsVerifyCert=false", "insecure": true}`:    driver.Local,
		`{"connection_string": "esdb://es.example.org:2113?userCertFile=/c&userKeyFile=/k"}`:   driver.MutualTLS,
	} {
		c, err := eventstore.ParseConfig(json.RawMessage(section))
		require.NoError(t, err)
		store, err := eventstore.Open(eventstore.Options{Config: c, Chain: "calls"})
		require.NoError(t, err)
		d, err := store.Describe(t.Context(), driver.DescribeRequest{})
		require.NoError(t, err)
		require.Equal(t, want, d.Protection, section)
		require.Equal(t, "understudy-calls", d.Details["stream"])
		require.NoError(t, store.Close(t.Context()))
	}
}
