// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/conf"
)

const topKeys = "chain, host, retention, allow_weaker, start_degraded, report_dir, links, policy, log"
const policyKeys = "retries, timeout, attempt, backoff, max_backoff, max_waiting, check, mirror, mirror_mode, outbox, min_in_sync, stale_standby, " +
	"failback, hold_down, max_hold_down, handover, resync_rate"
const aDuration = `a duration above 0 such as "2s" or "150ms"; leave the key out for the default`

func TestProblemsOfTheFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string // after small
		want []string
	}{
		"UnknownKey":       {"polcy: {}", []string{`c.yaml:8: polcy: unknown key, perhaps "policy" is meant; known keys: ` + topKeys}},
		"UnknownInSection": {"policy:\n  timout: 2s", []string{`c.yaml:9: policy.timout: unknown key, perhaps "timeout" is meant; known keys: ` + policyKeys}},
		"KeyOfASection":    {"attempt: 2s", []string{`c.yaml:8: attempt: unknown key, perhaps "policy.attempt" is meant; known keys: ` + topKeys}},
		"KeyOfTheFile":     {"log: {allow_weaker: []}", []string{`c.yaml:8: log.allow_weaker: unknown key, perhaps "allow_weaker of the file itself" is meant; known keys: level, format`}},
		"Strange":          {"zzz: 1", []string{`c.yaml:8: zzz: unknown key; known keys: ` + topKeys}},
		"Twice":            {"host: a\nhost: b", []string{`c.yaml:9: host: set before, in line 8`}},
		"NumberForText":    {"host: 5", []string{`c.yaml:8: host: is the number 5: want a text; put it in quotes if it looks like something else`}},
		"SectionForText":   {"host: {a: b}", []string{`c.yaml:8: host: is a section: want a text; put it in quotes if it looks like something else`}},
		"Empty":            {"host:", []string{`c.yaml:8: host: is empty: want a text; put it in quotes if it looks like something else`}},
		"TextForNumber":    {"policy: {retries: many}", []string{`c.yaml:8: policy.retries: is "many": want a whole number above 0; leave the key out for the default`}},
		"RealForNumber":    {"policy: {retries: 2.5}", []string{`c.yaml:8: policy.retries: is the number 2.5: want a whole number above 0; leave the key out for the default`}},
		"Zero":             {"policy: {retries: 0}", []string{`c.yaml:8: policy.retries: is "0": want a whole number above 0; leave the key out for the default`}},
		"ZeroDuration":     {"policy: {mirror: 0s}", []string{`c.yaml:8: policy.mirror: is "0s": want ` + aDuration}},
		"NoUnit":           {"policy: {timeout: 5}", []string{`c.yaml:8: policy.timeout: is the number 5: want ` + aDuration}},
		"BadUnit":          {"policy: {timeout: 5 sec}", []string{`c.yaml:8: policy.timeout: is "5 sec": want ` + aDuration}},
		"Negative":         {"policy: {timeout: -5s}", []string{`c.yaml:8: policy.timeout: is "-5s": want ` + aDuration}},
		"NoneOfThese":      {"log: {level: verbose}", []string{`c.yaml:8: log.level: is "verbose": want one of debug, info, warn, error`}},
		"TruthForSection":  {"policy: true", []string{`c.yaml:8: policy: is the truth value true: want a section`}},
		"TextForList":      {"allow_weaker: redis", []string{`c.yaml:8: allow_weaker: is "redis": want a list of texts`}},
		"ListOfNumbers":    {"allow_weaker: [1]", []string{`c.yaml:8: allow_weaker: holds the number 1: want a list of texts`}},
		"NoSuchLink":       {"allow_weaker: [other]", []string{`c.yaml:8: allow_weaker: names "other", which is no link; links: ["redis" "event-store"]`}},
		"Contradiction":    {"policy: {attempt: 20s}", []string{`c.yaml:8: policy.attempt: is 20s: one attempt would be longer than policy.timeout, 10s`}},
		"TwoDocuments":     {"---\nchain: x", []string{`c.yaml: more than one YAML document: want one`}},
		"BadMerge":         {"policy: {<<: 5}", []string{`c.yaml:8: policy: << is the number 5: want a section or a list of sections`}},
		"HostUnprintable":  {"host: \"a\\nb\"", []string{`c.yaml:8: host: "a\nb": want at most 256 bytes of printable UTF-8`}},
		"ZeroFall":         {"policy: {check: {fall: 0}}", []string{`c.yaml:8: policy.check.fall: is "0": want a whole number above 0; leave the key out for the default`}},
		"ZeroTime":         {"policy: {hold_down: 0s}", []string{`c.yaml:8: policy.hold_down: is "0s": want ` + aDuration}},
		"NegativeSlow":     {"policy: {check: {slow: -1s}}", []string{`c.yaml:8: policy.check.slow: is "-1s": want a duration such as "2s" or "150ms", or "0s"`}},
		"NegativeNumber":   {"policy: {min_in_sync: -1}", []string{`c.yaml:8: policy.min_in_sync: is "-1": want a whole number, 0 or above`}},
		"NoTruth":          {"start_degraded: maybe", []string{`c.yaml:8: start_degraded: is "maybe": want true or false`}},
		"NoMode":           {"policy: {mirror_mode: both}", []string{`c.yaml:8: policy.mirror_mode: is "both": want one of sync, async`}},
		"DeeperKey":        {"interval: 2s", []string{`c.yaml:8: interval: unknown key, perhaps "policy.check.interval" is meant; known keys: ` + topKeys}},
		"TooFewLinks":      {"policy: {min_in_sync: 2}", []string{`c.yaml:8: policy.min_in_sync: is 2: a chain of 2 links has at most 1 standbys, so nothing would ever be acknowledged`}},
		"SlowChecks": {"policy:\n  check:\n    interval: 5s", []string{
			`c.yaml:10: policy.check.interval: is 5s: 3 status checks (policy.check.fall) take 3 × 5s = 15s, more than policy.timeout, 10s`}},
		"AllAtOnce": {"polcy: {}\nlog: {level: 3}\nhost: [a]\npolicy: {backoff: 2s, max_backoff: 1s}", []string{
			`c.yaml:8: polcy: unknown key, perhaps "policy" is meant; known keys: ` + topKeys,
			`c.yaml:9: log.level: is the number 3: want one of debug, info, warn, error`,
			`c.yaml:10: host: is a list: want a text; put it in quotes if it looks like something else`,
			`c.yaml:11: policy.backoff: is 2s: more than policy.max_backoff, 1s`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, problems(t, small+c.text, nil))
		})
	}
}

func TestProblemsOfLinks(t *testing.T) {
	t.Parallel()
	const linkKeys = "name, plugin, args, sha256, driver, config"
	const nameForm = `want 1–64 of a–z, 0–9, '-', '_', '.', beginning with a letter or digit`
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"EmptyFile": {"", []string{`c.yaml: chain: "": ` + nameForm, `c.yaml: links: has 0 entries: want 1–16`}},
		"OnlyText":  {"5", []string{`c.yaml:1: is the number 5: want a section`}},
		"NoLinks":   {"chain: c\nlinks:\n", []string{`c.yaml:2: links: has 0 entries: want 1–16`}},
		"NoList":    {"chain: c\nlinks: {redis: {}}", []string{`c.yaml:2: links: is a section: want a list of links, each with its name`}},
		"NoSection": {"chain: c\nlinks: [redis]", []string{`c.yaml:2: links[0]: is "redis": want a section`}},
		"NoName":    {"chain: c\nlinks:\n- driver: d", []string{`c.yaml:3: links[0].name: "": ` + nameForm}},
		"BadName":   {"chain: C\nlinks:\n- {driver: d, name: A/b}", []string{`c.yaml:1: chain: "C": ` + nameForm, `c.yaml:3: links[0].name: "A/b": ` + nameForm}},
		"SameName":  {"chain: c\nlinks:\n- {driver: d, name: a}\n- {driver: d, name: a}", []string{`c.yaml:4: links[1].name: "a" is taken by another link`}},
		"NoStore":   {"chain: c\nlinks:\n- name: a", []string{`c.yaml:3: links.a: "a" has 0 of plugin and driver: want exactly one`}},
		"TwoStores": {"chain: c\nlinks:\n- {name: a, plugin: p, driver: d}", []string{`c.yaml:3: links.a: "a" has 2 of plugin and driver: want exactly one`}},
		"BadSum":    {"chain: c\nlinks:\n- name: a\n  plugin: p\n  sha256: abc", []string{`c.yaml:5: links.a.sha256: is "abc": want 64 hexadecimal digits`}},
		"NoPlugin": {"chain: c\nlinks:\n- name: a\n  driver: d\n  args: [x]\n  sha256: '0000000000000000000000000000000000000000000000000000000000000000'", []string{
			`c.yaml:5: links.a.args: set, but the link has no plugin`, `c.yaml:6: links.a.sha256: set, but the link has no plugin`}},
		"UnknownKey":   {"chain: c\nlinks:\n- {name: a, driver: d}\n- {name: b, plugn: d}", []string{`c.yaml:4: links.b.plugn: unknown key, perhaps "plugin" is meant; known keys: ` + linkKeys}},
		"NoDriverKeys": {"chain: c\nlinks:\n- {name: a, driver: d, config: [x]}", []string{`c.yaml:3: links.a.config: is a list: want a section, the driver's own`}},
		"NotFinite":    {"chain: c\nlinks:\n- {name: a, driver: d, config: {x: .inf}}", []string{`c.yaml:3: links.a.config.x: is not a finite number: want a finite one, or a text in quotes`}},
		"Tagged":       {"chain: c\nlinks:\n- {name: a, driver: d, config: {x: !mine 5}}", []string{`c.yaml:3: links.a.config.x: has the tag !mine: want a value without a tag`}},
		"BadScalar":    {"chain: c\nlinks:\n- {name: a, driver: d, config: {x: !!int secret}}", []string{`c.yaml:3: links.a.config.x: is not what its tag says`}},
		"TwiceInside":  {"chain: c\nlinks:\n- name: a\n  driver: d\n  config:\n    x: 1\n    x: 2", []string{`c.yaml:7: links.a.config.x: set before, in line 6`}},
		"KeyNoText":    {"chain: c\nlinks:\n- name: a\n  driver: d\n  config: {[a]: 1}", []string{`c.yaml:5: links.a.config: a key is not a text`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Subset(t, problems(t, c.text, nil), c.want)
		})
	}
}

func TestProblemsOfTheEnvironmentAndFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		environ, set []string
		want         string
	}{
		"UnknownVariable":   {[]string{"UNDERSTUDY_POLICY__TIMOUT=2s"}, nil, `environment UNDERSTUDY_POLICY__TIMOUT: policy.timout: unknown key, perhaps "timeout" is meant; known keys: ` + policyKeys},
		"OneUnderscore":     {[]string{"UNDERSTUDY_POLICY_TIMEOUT=2s"}, nil, `environment UNDERSTUDY_POLICY_TIMEOUT: policy_timeout: unknown key; known keys: ` + topKeys},
		"WrongType":         {[]string{"UNDERSTUDY_POLICY__TIMEOUT=2"}, nil, `environment UNDERSTUDY_POLICY__TIMEOUT: policy.timeout: is "2": want ` + aDuration},
		"WholeSection":      {[]string{"UNDERSTUDY_POLICY={}"}, nil, `environment UNDERSTUDY_POLICY: policy: only the file can set it`},
		"AllLinks":          {[]string{"UNDERSTUDY_LINKS=[]"}, nil, `environment UNDERSTUDY_LINKS: links: only the file can set it`},
		"NameOfALink":       {[]string{"UNDERSTUDY_LINKS__REDIS__NAME=x"}, nil, `environment UNDERSTUDY_LINKS__REDIS__NAME: links.redis.name: only the file can set it`},
		"NoSuchLink":        {[]string{"UNDERSTUDY_LINKS__RADIS__PLUGIN=x"}, nil, `environment UNDERSTUDY_LINKS__RADIS__PLUGIN: links.radis: no such link and key; links of the file: redis, event-store`},
		"SectionNoSection":  {[]string{"UNDERSTUDY_LINKS__REDIS__CONFIG=5"}, nil, `environment UNDERSTUDY_LINKS__REDIS__CONFIG: links.redis.config: want a section, such as {key: value}`},
		"NoYAML":            {[]string{"UNDERSTUDY_LINKS__REDIS__CONFIG__X=[hidden"}, nil, `environment UNDERSTUDY_LINKS__REDIS__CONFIG__X: links.redis.config.x: is not a value as it would stand in the file: put a text in quotes`},
		"EmptyKey":          {[]string{"UNDERSTUDY_LINKS__REDIS__CONFIG____X=5"}, nil, `environment UNDERSTUDY_LINKS__REDIS__CONFIG____X: links.redis.config..x: a key between two separators is empty`},
		"WholeAndPart":      {[]string{"UNDERSTUDY_LINKS__REDIS__CONFIG__TLS={}", "UNDERSTUDY_LINKS__REDIS__CONFIG__TLS__CA=x"}, nil, `environment UNDERSTUDY_LINKS__REDIS__CONFIG__TLS__CA: links.redis.config.tls.ca: set as a whole and in part (environment UNDERSTUDY_LINKS__REDIS__CONFIG__TLS): want one of the two`},
		"SameInTwoCases":    {[]string{"UNDERSTUDY_HOST=a", "UNDERSTUDY_host=b"}, nil, `environment UNDERSTUDY_host: host: set by the environment UNDERSTUDY_HOST too: want one of the two`},
		"SecretNotUTF8":     {[]string{"UNDERSTUDY_LINKS__REDIS__CONFIG__PASSWORD=hidd\xe4n"}, nil, `environment UNDERSTUDY_LINKS__REDIS__CONFIG__PASSWORD: links.redis.config.password: is not UTF-8, as which alone the driver can get it`},
		"NoKey":             {nil, []string{"=5s"}, `-set =5s: want KEY=VALUE, such as policy.timeout=5s`},
		"NoValue":           {nil, []string{"policy.timeout"}, `-set policy.timeout: want KEY=VALUE, such as policy.timeout=5s`},
		"UnknownFlagKey":    {nil, []string{"polcy.timeout=2s"}, `-set polcy.timeout: polcy: unknown key, perhaps "policy" is meant; known keys: ` + topKeys},
		"WrongTypeOfFlag":   {nil, []string{"log.format=xml"}, `-set log.format: log.format: is "xml": want one of json, console`},
		"SecretOnFlag":      {nil, []string{"links.redis.config.password=hidden"}, `-set links.redis.config.password: links.redis.config.password: a secret does not belong on a command line, which others can see: want {env: NAME} or {file: PATH}`},
		"ContradictionFlag": {nil, []string{"policy.attempt=20s"}, `-set policy.attempt: policy.attempt: is 20s: one attempt would be longer than policy.timeout, 10s`},
		"SecretNotThere":    {nil, []string{"links.redis.config.password={env: NOT_SET}"}, `-set links.redis.config.password: links.redis.config.password: {env: NOT_SET}: the environment variable is not set`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, []string{c.want}, problems(t, small, c.environ, c.set...))
		})
	}
}

// Names of links can begin one another, and look the same as variables.
func TestLinksOfSimilarNames(t *testing.T) {
	t.Parallel()
	const links = "chain: c\nlinks:\n- {name: a, driver: d}\n- {name: a.b, driver: d}\n- {name: a.config, driver: d}\n- {name: x-y, driver: d}\n- {name: x_y, driver: d}\n"
	c, err := load(t, links, []string{"UNDERSTUDY_LINKS__A_B__CONFIG__FEED=6"}, "links.a.b.config.name=n", "links.a.config.feed=7", "links.x-y.config.feed=8")
	require.NoError(t, err)
	require.JSONEq(t, `{"feed": 7}`, c.Links[0].Config.Reveal())
	require.JSONEq(t, `{"feed": 6, "name": "n"}`, c.Links[1].Config.Reveal())
	require.JSONEq(t, `{"feed": 8}`, c.Links[3].Config.Reveal())
	require.Equal(t, []string{`environment UNDERSTUDY_LINKS__X_Y__CONFIG__FEED: links: means a key of more than one link, x-y, x_y: set it in the file`},
		problems(t, links, []string{"UNDERSTUDY_LINKS__X_Y__CONFIG__FEED=6"}))
	require.Equal(t, []string{`-set links.a.config.driver: links: means a key of more than one link, a, a.config: set it in the file`},
		problems(t, links, nil, "links.a.config.driver=memory"))
	require.Equal(t, []string{`-set links.a.b.feed: links.a.b.feed: unknown key; known keys: name, plugin, args, sha256, driver, config`},
		problems(t, links, nil, "links.a.b.feed=6"))
}

func TestAnAnchorThatHoldsItself(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"chain: c\nlinks:\n- name: a\n  driver: d\n  config: &a {x: *a}\n",
		"policy: &a {<<: *a}\n",
		"a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nchain: c\nlinks:\n- {name: a, driver: d, config: {x: *e}}\n",
	} {
		_, err := load(t, text, nil)
		require.ErrorContains(t, err, "does an anchor hold itself?")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(small, "UNDERSTUDY_POLICY__TIMEOUT", "5s")
	f.Add("chain: c\nlinks:\n- &a {name: a, driver: d, config: {x: [*a], <<: [*a]}}\n", "UNDERSTUDY_LINKS__A__CONFIG__X", "{env: A}")
	f.Add("? [a]\n: b\n", "UNDERSTUDY_LINKS__", "")
	f.Add("- name\n- {}", "UNDERSTUDY___", "&a [*a]")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		path := write(t, text)
		c, err := conf.Load(conf.Options{File: path, Environ: []string{name + "=" + value}, Set: []string{name + "=" + value, value}})
		require.Equal(t, err == nil, c != nil)
		if err == nil {
			chained := c.ChainConfig()
			require.NoError(t, chained.Validate())
		}
	})
}
