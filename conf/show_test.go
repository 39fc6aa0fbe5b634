// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/conf"
)

// hidden is in each secret of the tests.
const hidden = "swordfish"

func secretive(t *testing.T) (path string, options conf.Options) {
	t.Helper()
	path = write(t, `chain: calls
links:
  - name: redis
    plugin: bin/p
    config:
      username: {env: REDIS_USER}
      password: {file: secret}
      api_token: swordfish-inline
      secrets: {a: swordfish-a, b: [swordfish-b]}
      url: esdb://me:swordfish@host:2113
      hosts: ["redis://me:swordfish@host", plain]
      nodes: [{password: swordfish, name: n}, {env: REDIS_USER}]
      password_file: /run/secrets/redis
      tls: {}
      nothing: ~
policy:
  retries: 4
`)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "secret"), []byte("swordfish: file \r\n"), 0o600))
	return path, conf.Options{File: path,
		Environ: []string{"REDIS_USER=swordfish-user", "UNDERSTUDY_SENTINEL=swordfish-sentinel", "UNDERSTUDY_LINKS__REDIS__CONFIG__SENTINEL__PASSWORD=swordfish-env"},
		Set:     []string{"links.redis.config.credential={env: REDIS_USER}", "host=h1"}}
}

func TestSecretsReachTheDriver(t *testing.T) {
	t.Parallel()
	path, options := secretive(t)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), "nothing: ~", "sentinel_user: {env: UNDERSTUDY_SENTINEL}", 1)), 0o600))
	c, err := conf.Load(options)
	require.NoError(t, err)
	var section map[string]any
	require.NoError(t, json.Unmarshal(c.ChainConfig().Links[0].Config, &section))
	require.Equal(t, "swordfish-user", section["username"])
	require.Equal(t, "swordfish: file ", section["password"], "without the last end of line")
	require.Equal(t, "swordfish-user", section["credential"])
	require.Equal(t, "swordfish-sentinel", section["sentinel_user"], "the variable of a secret is not taken for a setting")
	require.Equal(t, map[string]any{"password": "swordfish-env"}, section["sentinel"])
	require.Equal(t, []any{map[string]any{"password": hidden, "name": "n"}, "swordfish-user"}, section["nodes"])
}

func TestShowRedactsSecretsAndNamesOrigins(t *testing.T) {
	t.Parallel()
	path, options := secretive(t)
	options.Environ = append(options.Environ[:1:1], options.Environ[2])
	c, err := conf.Load(options)
	require.NoError(t, err)
	var shown bytes.Buffer
	require.NoError(t, c.Show(&shown))
	require.NotContains(t, shown.String(), hidden)
	folder := filepath.Dir(path)
	text := regexp.MustCompile(` {2,}`).ReplaceAllString(strings.ReplaceAll(shown.String(), folder+"/", ""), "  ")
	require.Equal(t, `chain  "calls"  c.yaml:1
host  "h1"  -set host
retention  168h  default
allow_weaker  []  default
start_degraded  false  default
report_dir  ""  default
links.redis.name  "redis"  c.yaml:3
links.redis.plugin  "bin/p"  c.yaml:4
links.redis.config.api_token  [redacted]  c.yaml:8
links.redis.config.credential  [redacted] from {env: REDIS_USER}  -set links.redis.config.credential
links.redis.config.hosts  ["[redacted]","plain"]  c.yaml:11
links.redis.config.nodes  [{"name":"n","password":"[redacted]"},"[redacted] from {env: REDIS_USER}"]  c.yaml:12
links.redis.config.nothing  null  c.yaml:15
links.redis.config.password  [redacted] from {file: secret}  c.yaml:7
links.redis.config.password_file  "/run/secrets/redis"  c.yaml:13
links.redis.config.secrets  {"a":"[redacted]","b":["[redacted]"]}  c.yaml:9
links.redis.config.sentinel.password  [redacted]  environment UNDERSTUDY_LINKS__REDIS__CONFIG__SENTINEL__PASSWORD
links.redis.config.tls  {}  c.yaml:14
links.redis.config.url  [redacted]  c.yaml:10
links.redis.config.username  [redacted] from {env: REDIS_USER}  c.yaml:6
policy.retries  4  c.yaml:17
policy.timeout  10s  default
policy.attempt  2.5s  default
policy.backoff  50ms  default
policy.max_backoff  1s  default
policy.max_waiting  100000  default
policy.check.interval  1s  default
policy.check.fall  3  default
policy.check.rise  3  default
policy.check.slow  0s  default
policy.mirror  2.5s  default
policy.mirror_mode  "sync"  default
policy.outbox  65536  default
policy.min_in_sync  0  default
policy.stale_standby  "wait"  default
policy.failback  "auto"  default
policy.hold_down  1m  default
policy.max_hold_down  30m  default
policy.handover  2s  default
policy.resync_rate  0  default
log.level  "info"  default
log.format  "json"  default
`, text)
	require.Len(t, c.Settings(), strings.Count(text, "\n"))
}

func TestPrintingAConfigurationShowsNoSecret(t *testing.T) {
	t.Parallel()
	_, options := secretive(t)
	options.Environ = append(options.Environ[:1:1], options.Environ[2])
	c, err := conf.Load(options)
	require.NoError(t, err)
	encoded, err := json.Marshal(c)
	require.NoError(t, err)
	var log bytes.Buffer
	conf.Log{}.Logger(&log).Info("loaded", zap.Any("config", c))
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Links), string(encoded), log.String()} {
		require.NotContains(t, text, hidden)
		require.Contains(t, text, "calls")
	}
}

func TestSecretsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	path := write(t, "chain: c\nlinks:\n- name: a\n  driver: memory\n  config:\n    x: {env: NO_SUCH}\n    y: {file: none}\n    z: [{file: large}]\n    e: {file: empty}\n    v: {env: EMPTY}\n    l: {file: latin1}\n")
	folder := filepath.Dir(path)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "large"), []byte(strings.Repeat(hidden, 10_000)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "empty"), []byte("\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "latin1"), []byte(hidden+"\xe4\n"), 0o600))
	_, err := conf.Load(conf.Options{File: path, Environ: []string{"EMPTY="}})
	var all conf.Problems
	require.ErrorAs(t, err, &all)
	require.Len(t, all, 6)
	require.Equal(t, conf.Problem{Origin: conf.Origin{File: path, Line: 6}, Key: "links.a.config.x", Detail: "{env: NO_SUCH}: the environment variable is not set"}, all[0])
	require.Contains(t, all[1].String(), "c.yaml:7: links.a.config.y: {file: none}: open "+folder)
	require.Contains(t, all[2].String(), "c.yaml:8: links.a.config.z: {file: large}: more than 65536 bytes")
	require.Contains(t, all[3].String(), "c.yaml:9: links.a.config.e: {file: empty}: is empty: want the secret")
	require.Contains(t, all[4].String(), "c.yaml:10: links.a.config.v: {env: EMPTY}: is empty: want the secret")
	require.Contains(t, all[5].String(), "c.yaml:11: links.a.config.l: {file: latin1}: is not UTF-8")
	require.NotContains(t, err.Error(), hidden)
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := conf.Log{Level: "warn", Format: "json"}.Logger(&out)
	for range 300 { // repeats are not dropped
		log.Warn("again", zap.Duration("after", time.Second))
	}
	log.Info("not this")
	require.Equal(t, 300, strings.Count(out.String(), `"msg":"again","after":"1s"`))
	require.NotContains(t, out.String(), "not this")

	out.Reset()
	conf.Log{Level: "debug", Format: "console"}.Logger(&out).Debug("for people")
	require.Contains(t, out.String(), "\tdebug\tfor people")
}
