// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func newDriver(name string) driver.Driver {
	return driver.Driver{
		Name:     name,
		Open:     func(context.Context, driver.OpenRequest) (driver.Store, error) { return nil, driver.Unavailable },
		Validate: func(json.RawMessage) error { return nil },
	}
}

// registerTestDrivers registers two, once in a process: nothing takes them out.
var registerTestDrivers = sync.OnceFunc(func() {
	driver.Register(newDriver("zeta"))
	driver.Register(newDriver("alpha"))
})

func TestRegistry(t *testing.T) {
	t.Parallel()
	registerTestDrivers()
	names := driver.Names()
	require.Subset(t, names, []string{"alpha", "zeta"})
	require.True(t, slices.IsSorted(names))
	got, err := driver.Lookup("alpha")
	require.NoError(t, err)
	require.Equal(t, "alpha", got.Name)

	_, err = driver.Lookup("redis")
	require.ErrorIs(t, err, driver.Unsupported)
	for _, text := range []string{`"redis" is not linked`, "alpha", "zeta", "-tags custom,drivers.redis", "understudy-redis"} {
		require.ErrorContains(t, err, text)
	}

	require.Panics(t, func() { driver.Register(newDriver("alpha")) }, "registered twice")
	require.Panics(t, func() { driver.Register(newDriver("")) })
	incomplete := newDriver("beta")
	incomplete.Open = nil
	require.Panics(t, func() { driver.Register(incomplete) })
}

func TestDecodeConfigIsStrict(t *testing.T) {
	t.Parallel()
	type options struct {
		Address  string          `json:"address"`
		Shards   int             `json:"shards"`
		Timeout  driver.Duration `json:"timeout"`
		Password driver.Secret   `json:"password"`
		TLS      *struct {
			CA  string        `json:"ca"`
			Pin driver.Secret `json:"pin"`
		} `json:"tls"`
	}
	o := options{Address: "default", Timeout: driver.Duration(time.Second)}
	require.NoError(t, driver.DecodeConfig(nil, &o))
	require.NoError(t, driver.DecodeConfig(json.RawMessage(`{"shards":3,"password":"hunter2","timeout":"150ms"}`), &o))
	require.Equal(t, options{"default", 3, driver.Duration(150 * time.Millisecond), driver.NewSecret("hunter2"), nil}, o)

	for config, text := range map[string]string{
		`{"adress":"x"}`:                      `unknown key "adress"; known keys: address, shards, timeout, password, tls.ca, tls.pin`,
		`{"tls":{"c":"x"}}`:                   `unknown key "c"; known keys: address, shards, timeout, password, tls.ca, tls.pin`,
		`["x"]`:                               `want a section, such as {"key": "value"}, not a JSON array`,
		`{"shards":"many"}`:                   `key "shards" is a string, want a whole number`,
		`{"address":7}`:                       `key "address" is a number, want a text`,
		`{"timeout":5}`:                       `key "timeout" is a number, want a text such as "2s"`,
		`{"timeout":"soon"}`:                  `key "timeout" is a string "soon", want a text such as "2s"`,
		`{"password":["hunter2"]}`:            `key "password" is an array, want a text: put it in quotes`,
		`{"password":7312}`:                   `key "password" is a number, want a text: put it in quotes`,
		`{"tls":{"pin":7312}}`:                `key "tls.pin" is a number, want a text: put it in quotes`,
		`{"password":"hunter2"`:               "not a complete JSON object",
		`{"address":hunter2}`:                 "not valid JSON at byte 12",
		`{"shards":1} {"password":"hunter2"}`: "more than one JSON value",
	} {
		err := driver.DecodeConfig(json.RawMessage(config), &options{})
		require.ErrorIs(t, err, driver.Invalid, config)
		require.ErrorContains(t, err, text)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "7312")
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	s := driver.NewSecret("hunter2")
	require.Equal(t, "hunter2", s.Reveal())
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "in", struct{ S driver.Secret }{s})
	encoded, err := json.Marshal(map[string]any{"s": s})
	require.NoError(t, err)
	shown := fmt.Sprintf("%v %+v %#v %s %q %x %d %v %+v", s, s, s, s, s, s, s, struct{ S driver.Secret }{s}, &struct{ S driver.Secret }{s}) +
		log.String() + string(encoded)
	require.NotContains(t, shown, "hunter2")
	require.NotContains(t, shown, fmt.Sprintf("%x", "hunter2"))
	require.Contains(t, shown, "[redacted]")
	require.Empty(t, driver.Secret{}.String())
	require.True(t, driver.Secret{}.IsZero())
}
