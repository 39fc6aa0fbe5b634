// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

func TestConfigIsStrict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ config, want string }{
		{`{"adresses": []}`, `unknown key "adresses"`},
		{`{"shards": "two"}`, `key "shards" is a string, want a whole number`},
		{`{"dial_timeout": 5}`, `want a text such as "2s"`},
		{`{"tls": {"cert": ""}}`, `unknown key "cert"`},
		{`{"addresses": []}`, "addresses is empty"},
		{`{"addresses": ["localhost"]}`, `addresses[0] "localhost": want host:port`},
		{`{"addresses": ["localhost:0"]}`, "want host:port"},
		{`{"addresses": ["localhost:99999"]}`, "want host:port"},
		{`{"addresses": [":6379"]}`, "want host:port"},
		{`{"addresses": ["redis.example.org:6379"]}`, "set tls, or insecure: true"},
		{`{"addresses": ["10.0.0.1:6379"]}`, "set tls, or insecure: true"},
		{`{"addresses": ["10.0.0.1:26379"], "master": "m", "tls": {}, "sentinel": {"plain": true}}`, "set tls, or insecure: true"},
		{`{"insecure": true, "tls": {}}`, "nothing would be plain text"},
		{`{"mode": "single"}`, `mode "single": want auto, standalone, sentinel or cluster`},
		{`{"mode": "sentinel"}`, "master is empty"},
		{`{"mode": "cluster", "master": "m"}`, `master "m" is set in mode cluster`},
		{`{"mode": "standalone", "master": "m"}`, `master "m" is set in mode standalone`},
		{`{"mode": "standalone", "addresses": ["localhost:1", "localhost:2"]}`, "addresses has 2 entries in mode standalone"},
		{`{"mode": "cluster", "database": 1}`, "database 1 in mode cluster"},
		{`{"database": 16}`, "database is 16: want 0–15"},
		{`{"database": -1}`, "database is -1: want 0–15"},
		{`{"sentinel": {"username": "u", "password": "p"}}`, "sentinel is set but master is not"},
		{`{"master": "m", "sentinel": {"plain": true, "tls": {}}, "tls": {}}`, "sentinel.plain and sentinel.tls exclude each other"},
		{`{"master": "m", "sentinel": {"password": "p", "password_file": "f"}}`, "sentinel.password and sentinel.password_file exclude each other"},
		{`{"master": "m", "sentinel": {"username": "u"}}`, "sentinel.username without a password"},
		{`{"prefix": "Ü"}`, `prefix "Ü": want 1–64 of a–z`},
		{`{"prefix": "a{b}"}`, "want 1–64 of a–z"},
		{`{"shards": -1}`, "shards is -1: want 0–32"},
		{`{"shards": 33}`, "shards is 33: want 0–32"},
		{`{"tls": {"certificate": "c"}}`, "tls.certificate and tls.key: want both files, or neither"},
		{`{"tls": {"key": "k"}}`, "tls.certificate and tls.key: want both files, or neither"},
		{`{"tls": {"min_version": "1.1"}}`, `tls.min_version "1.1": want 1.2 or 1.3`},
		{`{"username": "u"}`, "username without a password"},
		{`{"username": "u", "username_file": "f", "password": "p"}`, "username and username_file exclude each other"},
		{`{"password": "p", "password_file": "f"}`, "password and password_file exclude each other"},
		{`{"dial_timeout": "1ms"}`, "dial_timeout is 1ms: want 10ms–1m0s"},
		{`{"response_timeout": "2m"}`, "response_timeout is 2m0s: want 50ms–1m0s"},
		{`{"durability": "disk"}`, `durability "disk": want memory, fsync, or replicas:n`},
		{`{"durability": "replicas:0"}`, `durability "replicas:0"`},
		{`{"durability": "replicas:"}`, `durability "replicas:"`},
		{`{"durability_timeout": "0s"}`, "durability_timeout is 0s"},
		{`{"memory_limit": -1}`, "memory_limit is -1"},
		{`{"stream_length": 0}`, "stream_length is 0"},
		{`{"stream_age": "10ms"}`, "stream_age is 10ms"},
	} {
		err := redis.Driver().Validate(json.RawMessage(c.config))
		require.ErrorIs(t, err, driver.Invalid, c.config)
		require.ErrorContains(t, err, c.want, c.config)
		_, openErr := redis.Open(t.Context(), driver.OpenRequest{Chain: "c", Link: "l", Config: json.RawMessage(c.config), Logger: slog.New(slog.DiscardHandler)})
		require.ErrorIs(t, openErr, driver.Invalid, c.config)
	}
}

func TestConfigNamesAllFaults(t *testing.T) {
	t.Parallel()
	err := redis.Driver().Validate(json.RawMessage(`{"mode": "x", "shards": 99, "prefix": "", "username": "u"}`))
	for _, want := range []string{"mode", "shards", "prefix", "username"} {
		require.ErrorContains(t, err, want)
	}
}

func TestConfigTakes(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		``, `{}`, `{"addresses": ["[::1]:6379"]}`, `{"addresses": ["10.0.0.1:6379"], "insecure": true}`,
		`{"addresses": ["redis.example.org:6379"], "tls": {}}`, `{"addresses": ["a:1", "b:2"], "master": "m", "tls": {}}`,
		`{"mode": "cluster", "addresses": ["a:1"], "tls": {"ca": "ca.pem", "certificate": "c.pem", "key": "k.pem", "server_name": "s", "min_version": "1.3"}}`,
		`{"durability": "replicas:2", "durability_timeout": "500ms", "memory_limit": 1000000}`,
		`{"master": "m", "sentinel": {"username": "u", "password_file": "f"}}`,
	} {
		require.NoError(t, redis.Driver().Validate(json.RawMessage(config)), config)
	}
}

func TestProtectionIsThatOfTheWeakestConnection(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]driver.Protection{
		`{}`:                 driver.Local,
		`{"insecure": true}`: driver.Plain,
		`{"tls": {}}`:        driver.TLS,
		`{"tls": {"certificate": "c", "key": "k"}}`:                                                  driver.MutualTLS,
		`{"master": "m", "tls": {}, "sentinel": {"plain": true}}`:                                    driver.Local,
		`{"master": "m", "tls": {"certificate": "c", "key": "k"}, "sentinel": {"tls": {"ca": "x"}}}`: driver.TLS,
	} {
		s := open(t, "chain", json.RawMessage(config))
		d, err := s.Describe(t.Context(), driver.DescribeRequest{})
		require.NoError(t, err)
		require.Equal(t, want, d.Protection, config)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	config := server.Config(t, map[string]any{"password": "a very secret word"})
	c, err := redis.ParseConfig(config)
	require.NoError(t, err)
	s := open(t, "chain", config)
	_, err = s.Epoch(t.Context(), driver.EpochRequest{})
	require.ErrorIs(t, err, driver.Denied)
	d, describeErr := s.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, describeErr)
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v", c, c, c), err.Error(), fmt.Sprint(d)} {
		require.NotContains(t, shown, "secret")
	}
}

func TestPasswordIsReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(redistest.UserPassword+"\n"), 0o600))
	name := filepath.Join(t.TempDir(), "username")
	require.NoError(t, os.WriteFile(name, []byte(redistest.User), 0o600))
	s := open(t, "chain", server.Config(t, map[string]any{"username": nil, "username_file": name, "password": nil, "password_file": file}))
	commit(t, s, nil, "a")
	server.Do(t, "ACL", "SETUSER", redistest.User, "resetpass", ">another-password")
	server.Do(t, "CLIENT", "KILL", "USER", redistest.User)
	redistest.Eventually(t, "the old password is refused", func() error {
		_, err := s.Epoch(t.Context(), driver.EpochRequest{})
		if driver.ClassOf(err) != driver.Denied {
			return fmt.Errorf("not refused: %w", err)
		}
		return nil
	})
	require.NoError(t, os.WriteFile(file, []byte("another-password"), 0o600))
	redistest.Eventually(t, "the new password is taken", func() error { // an attempt may be under way that has read the old one
		_, err := tryCommit(t, s, nil, "b")
		return err
	})
	require.NoError(t, os.Remove(file))
	fresh := open(t, "chain", server.Config(t, map[string]any{"password": nil, "password_file": file}))
	_, err := fresh.Epoch(t.Context(), driver.EpochRequest{})
	require.ErrorIs(t, err, driver.Denied)
	require.ErrorContains(t, err, "password_file")
}

func TestTLSChecksTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	other := redistest.NewCertificates(t)
	for _, c := range []struct {
		tls  map[string]any
		want string
	}{
		{map[string]any{"ca": other.CA}, "set tls.ca"},
		{map[string]any{}, "set tls.ca"}, // the system's authorities do not know it
		{map[string]any{"ca": server.Certificates().CA, "server_name": "redis.example.org"}, "set tls.server_name"},
		{map[string]any{"ca": filepath.Join(t.TempDir(), "none")}, "tls.ca"},
		{map[string]any{"ca": server.Certificates().Key}, "holds no certificate in PEM form"},
		{map[string]any{"ca": server.Certificates().CA, "certificate": other.CA, "key": other.Key}, "tls.certificate and tls.key"},
		{nil, "set tls"},
	} {
		changes := map[string]any{"tls": c.tls, "dial_timeout": "10s"}
		if c.tls == nil {
			changes["tls"] = nil
		}
		s := open(t, "chain", server.Config(t, changes))
		_, err := tryCommit(t, s, nil, "a")
		require.ErrorIs(t, err, driver.Unavailable, "%v", c.tls)
		require.ErrorContains(t, err, c.want, "%v", c.tls)
	}
	plainText := redistest.Start(t, redistest.Options{PlainText: true})
	_, err := tryCommit(t, open(t, "chain", plainText.Config(t, map[string]any{"tls": map[string]any{}, "dial_timeout": "300ms"})), nil, "a")
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorContains(t, err, "is this the port for TLS")
	require.NotContains(t, err.Error(), "\n")
	mutual := map[string]any{"ca": server.Certificates().CA, "certificate": server.Certificates().Certificate, "key": server.Certificates().Key,
		"server_name": "localhost", "min_version": "1.3"}
	commit(t, open(t, "chain", server.Config(t, map[string]any{"tls": mutual})), nil, "a")
}

func TestModeIsFoundByItself(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	commit(t, open(t, "chain", server.Config(t, map[string]any{"mode": "auto"})), nil, "a")
	both := open(t, "chain", server.Config(t, map[string]any{"mode": "auto", "addresses": []string{server.Addr, server.Addr}}))
	_, err := both.Epoch(t.Context(), driver.EpochRequest{})
	require.ErrorContains(t, err, "is not part of a Cluster")
}

func TestHostsMustAgreeOnShards(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	commit(t, open(t, "chain", server.Config(t, map[string]any{"shards": 3})), nil, "a", "b", "c", "d", "e")
	s := open(t, "chain", server.Config(t, map[string]any{"shards": 2}))
	_, err := tryCommit(t, s, nil, "f")
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorContains(t, err, "set shards to 3")
	_, err = s.Probe(t.Context(), driver.ProbeRequest{})
	require.ErrorContains(t, err, "set shards to 3")
}

// Shards that nobody has used yet cannot tell that they should not exist.
func TestMoreShardsThanInUseAreRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	commit(t, open(t, "chain", server.Config(t, map[string]any{"shards": 1})), nil, "a")
	s := open(t, "chain", server.Config(t, map[string]any{"shards": 16}))
	for _, id := range numbered("r", 20) { // on most of the 16
		_, err := tryCommit(t, s, nil, id)
		require.ErrorIs(t, err, driver.Unavailable, id)
		require.ErrorContains(t, err, "set shards to 1", id)
	}
	require.Equal(t, "0", server.Do(t, "EXISTS", "{us:chain:1}:m", "{us:chain:5}:m", "{us:chain:15}:m"))
}

// Data that another version of the driver has laid out otherwise are left alone.
func TestAnotherLayoutIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := open(t, "chain", server.Config(t, nil))
	commit(t, s, nil, "a")
	for _, forge := range [][]string{{"HSET", "{us:chain:0}:m", "v", "2"}, {"HDEL", "{us:chain:0}:m", "v"}} {
		server.Do(t, forge...)
		before := server.Do(t, "HGETALL", "{us:chain:0}:m")
		_, err := tryCommit(t, s, nil, "b")
		require.ErrorIs(t, err, driver.Unavailable)
		require.ErrorContains(t, err, "another version of this driver")
		_, err = s.Get(t.Context(), driver.GetRequest{IDs: []string{"a"}})
		require.ErrorContains(t, err, "another version of this driver")
		_, err = s.Epoch(t.Context(), driver.EpochRequest{})
		require.ErrorContains(t, err, "another version of this driver")
		require.Equal(t, before, server.Do(t, "HGETALL", "{us:chain:0}:m"))
	}
}

func TestAddressesOfTheWrongKind(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	for _, c := range []struct {
		changes map[string]any
		want    string
	}{
		{map[string]any{"addresses": []string{watched.Servers[0].Addr}}, "the server is no Sentinel"},
		{map[string]any{"master": "other"}, "No such master"},
		{map[string]any{"mode": "standalone", "master": nil, "sentinel": nil, "addresses": []string{watched.Sentinels[0].Addr}}, "it is a Sentinel (set master)"},
	} {
		_, err := tryCommit(t, open(t, "chain", watched.Config(t, c.changes)), nil, "a")
		require.ErrorIs(t, err, driver.Unavailable, "%v", c.changes)
		require.ErrorContains(t, err, c.want, "%v", c.changes)
	}
}

func TestDocumentedContractFileIsTaken(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/redis.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```yaml file=contract.yaml\n")
	require.True(t, found)
	text, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	var file struct{ Config map[string]any }
	require.NoError(t, yaml.Unmarshal([]byte(text), &file))
	section, err := json.Marshal(file.Config)
	require.NoError(t, err)
	c, err := redis.ParseConfig(section)
	require.NoError(t, err)
	require.Equal(t, "understudy", c.Username)
}

func TestDocumentedACLIsTheOneTested(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/redis.md")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(strings.ReplaceAll(string(page), "\\\n", " ")), " "), strings.Join(redis.ACL("us"), " "))
}
