// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func TestConfigFile(t *testing.T) {
	t.Parallel()
	c, err := parseConfig([]byte(`
# the driver's own
config:
  address: localhost:1234
  shards: 4
  tls: {ca: /etc/ca.pem}
declares: [changes, durable]
excuse:
  ClaimOrder/InOneAnswer: the product has no order
timeout: 1m
`))
	require.NoError(t, err)
	require.JSONEq(t, `{"address": "localhost:1234", "shards": 4, "tls": {"ca": "/etc/ca.pem"}}`, string(c.driver))
	require.Equal(t, []driver.Capability{driver.CapChanges, driver.CapDurable}, c.declares)
	require.Equal(t, map[string]string{"ClaimOrder/InOneAnswer": "the product has no order"}, c.excuse)
	require.Equal(t, time.Minute, c.timeout)
	require.True(t, c.stated)

	c, err = parseConfig(nil)
	require.NoError(t, err)
	require.Equal(t, config{}, c)
}

func TestConfigFileFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, says string }{
		"UnknownKey":   {"config: {}\nexcuses: {}\n", `line 2: unknown key "excuses", known keys: config, declares, excuse, timeout`},
		"Twice":        {"timeout: 1s\ntimeout: 2s\n", `line 2: mapping key "timeout" already defined at line 1`},
		"NotYAML":      {"config: [\n", "did not find expected node content"},
		"TwoDocuments": {"timeout: 1s\n---\ntimeout: 2s\n", "more than one YAML document"},
		"ConfigText":   {"config: hello\n", "config: want a section"},
		"ConfigKeys":   {"config: {1: a}\n", "config: want a section"},
		"DeepKeys":     {"config: {a: {1: a}}\n", "want texts as keys"},
		"Declares":     {"declares:\n  - changes\n  - fast\n", `line 3: declares: unknown capability "fast"`},
		"DeclaresText": {"declares: changes\n", "line 1: declares: want a list"},
		"NoCase":       {"excuse:\n  Claim/Nothing: why\n", `line 2: excuse: there is no case "Claim/Nothing"`},
		"NoReason":     {"excuse:\n  ClaimOrder/InOneAnswer: \"\"\n", `line 2: excuse: "ClaimOrder/InOneAnswer" has no reason`},
		"ExcuseList":   {"excuse: [ClaimOrder/InOneAnswer]\n", "line 1: excuse: want a section"},
		"Timeout":      {"timeout: soon\n", `line 1: timeout: "soon": want how long a case may take`},
		"TimeoutZero":  {"timeout: 0s\n", `line 1: timeout: "0s"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseConfig([]byte(test.text))
			require.ErrorContains(t, err, test.says)
		})
	}
}
