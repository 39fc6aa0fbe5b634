// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/understudy-dev/understudy/conf"
	"github.com/understudy-dev/understudy/drivers/redis"
)

const sample = "understudy.yaml"

func TestSample(t *testing.T) {
	t.Parallel()
	c, err := conf.Load(conf.Options{File: sample, Environ: []string{}})
	require.NoError(t, err)
	require.Equal(t, "recorder", c.Chain)
	require.Equal(t, "../bin/understudy-redis", c.Links[0].Plugin)
	require.Equal(t, conf.Default().Policy, c.Policy)
	require.NoError(t, redis.Driver().Validate(c.ChainConfig().Links[0].Config))
}

// What the sample shows in comments holds as well, and it shows every key.
func TestSampleWithoutComments(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(sample)
	require.NoError(t, err)
	whole := regexp.MustCompile(`(?m)^( *)#(\w)`).ReplaceAllString(string(text), "$1$2")
	c, err := load(t, whole, []string{"REDIS_PASSWORD=secret"})
	require.NoError(t, err)
	require.Equal(t, conf.Default().Policy, c.Policy, "the sample shows the defaults")
	require.Equal(t, conf.Default().Log, c.Log)
	require.Equal(t, conf.Default().Retention, c.Retention)

	var shown, defaults map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(whole), &shown))
	for _, key := range []string{"chain", "host", "retention", "allow_weaker", "start_degraded", "report_dir", "links"} {
		require.Contains(t, shown, key)
	}
	link, isLink := shown["links"].([]any)[0].(map[string]any)
	require.True(t, isLink)
	for _, key := range []string{"name", "plugin", "args", "sha256", "config"} {
		require.Contains(t, link, key)
	}
	var all sink
	require.NoError(t, conf.WriteDefaults(&all))
	require.NoError(t, yaml.Unmarshal(all, &defaults))
	require.Equal(t, defaults["policy"], shown["policy"])
	require.Equal(t, defaults["log"], shown["log"])
}

type sink []byte

func (s *sink) Write(b []byte) (int, error) {
	*s = append(*s, b...)
	return len(b), nil
}
