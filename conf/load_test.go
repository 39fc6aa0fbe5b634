// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"flag"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
)

func TestSmallFileMeansTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := load(t, small, nil)
	require.NoError(t, err)
	got := c.ChainConfig()
	want := chain.Config{Name: "calls"}.WithDefaults()
	require.Equal(t, want.Policy, got.WithDefaults().Policy)
	require.Equal(t, want.Retention, got.Retention)
	require.Equal(t, conf.Log{Level: "info", Format: "json"}, c.Log)
	require.Len(t, got.Links, 2)
	require.JSONEq(t, `{"addresses": ["a:1", "b:2"], "database": 3}`, string(got.Links[0].Config))
	got.Links[0].Config = nil
	require.Equal(t, []chain.Link{{Name: "redis", Plugin: "/opt/understudy-redis"}, {Name: "event-store", Driver: "memory"}}, got.Links)
	require.NoError(t, got.Validate())
}

func TestEveryKeyOfTheHost(t *testing.T) {
	t.Parallel()
	const sum = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF"
	path := write(t, `
chain: calls
host: h1
retention: -1s
allow_weaker: [b]
links:
  - {name: a, plugin: bin/a, args: [plugin, redis], sha256: `+sum+`}
  - {name: b, driver: memory, config: {}}
start_degraded: true
report_dir: reports
policy:
  {retries: 5, timeout: 20s, attempt: 4s, backoff: 10ms, max_backoff: 3s, max_waiting: 70, check: {interval: 2s, fall: 4, rise: 5, slow: 300ms},
  mirror: 1s, mirror_mode: async, outbox: 80, min_in_sync: 1, stale_standby: serve, failback: manual, hold_down: 6s, max_hold_down: 7s,
  handover: 800ms, resync_rate: 900}
log: {level: debug, format: console}
`)
	c, err := conf.Load(conf.Options{File: path, Environ: []string{}})
	require.NoError(t, err)
	got := c.ChainConfig()
	require.Equal(t, "{}", string(got.Links[1].Config))
	got.Links[1].Config = nil
	require.Equal(t, chain.Config{
		Name: "calls", Host: "h1", Retention: -time.Second, AllowWeaker: []string{"b"},
		Links: []chain.Link{
			{Name: "a", Plugin: filepath.Join(filepath.Dir(path), "bin", "a"), Args: []string{"plugin", "redis"}, SHA256: sum},
			{Name: "b", Driver: "memory"},
		},
		StartDegraded: true, ReportDir: filepath.Join(filepath.Dir(path), "reports"),
		Policy: chain.Policy{Retries: 5, Timeout: 20 * time.Second, Attempt: 4 * time.Second,
			Backoff: 10 * time.Millisecond, MaxBackoff: 3 * time.Second, MaxWaiting: 70,
			Check:  chain.Check{Interval: 2 * time.Second, Fall: 4, Rise: 5, Slow: 300 * time.Millisecond},
			Mirror: time.Second, MirrorMode: chain.MirrorAsync, Outbox: 80, MinInSync: 1, StaleStandby: chain.StaleServe,
			Failback: chain.FailbackManual, HoldDown: 6 * time.Second, MaxHoldDown: 7 * time.Second,
			Handover: 800 * time.Millisecond, ResyncRate: 900},
	}, got)
	for i := range reflect.TypeFor[chain.Policy]().NumField() {
		require.False(t, reflect.ValueOf(got.Policy).Field(i).IsZero(), "no key for %s", reflect.TypeFor[chain.Policy]().Field(i).Name)
	}
	require.Equal(t, conf.Log{Level: "debug", Format: "console"}, c.Log)
}

func TestEnvironmentIsOverTheFileAndFlagsAreOverBoth(t *testing.T) {
	t.Parallel()
	c, err := load(t, small+"policy: {timeout: 20s, mirror: 1s, retries: 7}\nhost: file\n", []string{
		"UNDERSTUDY_HOST=env",
		"UNDERSTUDY_POLICY__TIMEOUT=30s",
		"UNDERSTUDY_POLICY__RETRIES=8",
		"UNDERSTUDY_POLICY__CHECK__FALL=9",
		"UNDERSTUDY_START_DEGRADED=true",
		"UNDERSTUDY_ALLOW_WEAKER=redis, event-store",
		"UNDERSTUDY_LINKS__REDIS__PLUGIN=other",
		"UNDERSTUDY_LINKS__REDIS__CONFIG__DATABASE=4",
		"UNDERSTUDY_LINKS__REDIS__CONFIG__TLS__CA=ca.pem",
		"UNDERSTUDY_LINKS__REDIS__CONFIG__PASSWORD=0123{: no YAML",
		"UNDERSTUDY_LINKS__EVENT_STORE__CONFIG={max_records: 5}",
		"UNDERSTUDY_EVENTSTORE_URL=esdb://somewhere", "UNDERSTUDY_PLUGIN_LOG_LEVEL=debug", "UNDERSTUDY_CONFIG=elsewhere",
		"PATH=/bin",
	}, "policy.timeout=40s", "policy.timeout=50s", "policy.check.slow=0s", "links.redis.config.addresses=[c:3]", "links.event-store.config.feed=9")
	require.NoError(t, err)
	require.Equal(t, "env", c.Host)
	require.Equal(t, 50*time.Second, c.Policy.Timeout)
	require.Equal(t, 8, c.Policy.Retries)
	require.Equal(t, 9, c.Policy.Check.Fall)
	require.True(t, c.StartDegraded)
	require.Equal(t, time.Second, c.Policy.Mirror)
	require.Equal(t, []string{"redis", "event-store"}, c.AllowWeaker)
	require.Equal(t, "other", c.Links[0].Plugin, "a path of the environment is no path relative to the file")
	require.JSONEq(t, `{"addresses": ["c:3"], "database": 4, "tls": {"ca": "ca.pem"}, "password": "0123{: no YAML"}`, c.Links[0].Config.Reveal())
	require.JSONEq(t, `{"max_records": 5, "feed": 9}`, c.Links[1].Config.Reveal())
}

func TestSectionsOfDriversReachThemAsTheyStand(t *testing.T) {
	t.Parallel()
	c, err := load(t, `chain: calls
links:
  - name: a
    driver: memory
    config:
      text: "5"
      date: 2001-02-03
      yes: yes
      number: 0x10
      large: 18446744073709551615
      real: 2.5
      truth: true
      nothing: ~
      empty: {}
      none: []
      7: seven
      "a.b/c": dotted
      list: [1, {env: x, file: y}, [two]]
      shared: &shared {ca: one, key: two}
      alias: *shared
      merge: {<<: *shared, key: three}
      both: {<<: [{ca: four}, *shared]}
`, nil)
	require.NoError(t, err)
	require.JSONEq(t, `{"text": "5", "date": "2001-02-03", "yes": "yes", "number": 16, "large": 18446744073709551615, "real": 2.5,
		"truth": true, "nothing": null, "empty": {}, "none": [], "7": "seven", "a.b/c": "dotted", "list": [1, {"env": "x", "file": "y"}, ["two"]],
		"shared": {"ca": "one", "key": "two"}, "alias": {"ca": "one", "key": "two"}, "merge": {"ca": "one", "key": "three"},
		"both": {"ca": "four", "key": "two"}}`, c.Links[0].Config.Reveal())
}

func TestTheFileIsNamed(t *testing.T) {
	t.Parallel()
	path := write(t, small)
	c, err := conf.Load(conf.Options{Environ: []string{"UNDERSTUDY_CONFIG=" + path}})
	require.NoError(t, err)
	require.Equal(t, "calls", c.Chain)

	_, err = conf.Load(conf.Options{Environ: []string{}})
	require.ErrorContains(t, err, "UNDERSTUDY_CONFIG")
	_, err = conf.Load(conf.Options{File: path + ".not"})
	require.ErrorContains(t, err, path+".not")
	_, err = conf.Load(conf.Options{File: write(t, "a: [1\nb: 2")})
	require.ErrorContains(t, err, "not valid YAML: line 1")
}

func TestFlags(t *testing.T) {
	t.Parallel()
	var o conf.Options
	fs := flag.NewFlagSet("program", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.AddFlags(fs)
	require.NoError(t, fs.Parse([]string{"-config", "f.yaml", "-set", "a=b", "-set", "c=d=e"}))
	require.Equal(t, conf.Options{File: "f.yaml", Set: []string{"a=b", "c=d=e"}}, o)
}

func TestDefaultsAreAFile(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	require.NoError(t, conf.WriteDefaults(&text))
	c, err := load(t, small+text.String(), nil)
	require.NoError(t, err)
	require.Equal(t, conf.Default().Policy, c.Policy)
	require.Equal(t, conf.Default().Log, c.Log)
	require.Equal(t, conf.Default().Retention, c.Retention)
	require.Contains(t, text.String(), "retention: 168h\n")
	require.Contains(t, text.String(), "  max_backoff: 1s\n")
}
