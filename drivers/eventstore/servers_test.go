// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/plugins"
)

// settings are a section of a configuration.
type settings map[string]any

func (s settings) json(t require.TestingT) json.RawMessage {
	b, err := json.Marshal(s)
	require.NoError(t, err)
	return b
}

// start runs a development server in this process.
func start(t testing.TB, o devserver.Options) *devserver.Server {
	t.Helper()
	server, err := devserver.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

// plain returns the settings for a server without TLS: the one named by the
// environment, or a development server.
func plain(t testing.TB) settings {
	t.Helper()
	if url := os.Getenv("UNDERSTUDY_EVENTSTORE_URL"); url != "" {
		return given(url)
	}
	return settings{"hosts": start(t, devserver.Options{}).Addresses()}
}

// secured returns the settings for a server with TLS and credentials.
func secured(t testing.TB) settings {
	t.Helper()
	if url := os.Getenv("UNDERSTUDY_EVENTSTORE_URL"); url != "" {
		return given(url)
	}
	server := start(t, devserver.Options{TLS: true})
	return settings{
		"hosts": server.Addresses(), "tls": settings{"ca": caFile(t, server)},
		"username": "admin", "password": "changeit",
	}
}

// given returns the settings for the server that the environment names. Data of
// former runs do not matter, since chains get new names.
func given(url string) settings {
	if ca := os.Getenv("UNDERSTUDY_EVENTSTORE_CA"); ca != "" {
		separator := "?"
		if strings.Contains(url, "?") {
			separator = "&"
		}
		url += separator + "tlsCAFile=" + ca
	}
	s := settings{"connection_string": url}
	if os.Getenv("UNDERSTUDY_EVENTSTORE_INSECURE") == "true" {
		s["insecure"] = true
	}
	return s
}

func caFile(t testing.TB, server *devserver.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(path, server.CA(), 0o600))
	return path
}

var capabilities = []driver.Capability{driver.CapChanges, driver.CapDurable, driver.CapShared}

// linked is the harness of stores in this process. Such a store cannot be killed
// alone; what it holds beyond its memory is the connection, so that is what ends.
func linked(t testing.TB, s settings) contracttest.Harness {
	t.Helper()
	section := s.json(t)
	return contracttest.Harness{
		Open:         contracttest.Linked(eventstore.Driver(), func(string) json.RawMessage { return section }),
		Capabilities: capabilities,
		Kill:         func(t contracttest.T, store driver.Store) { require.NoError(t, store.Close(t.Context())) },
	}
}

// launched is the harness of stores that each have a plugin process.
func launched(t testing.TB, s settings) contracttest.Harness {
	t.Helper()
	section := s.json(t)
	return contracttest.Harness{
		Open: func(t contracttest.T, chain string) (driver.Store, error) {
			return plugins.Launch(t.Context(), plugins.Spec{
				Path: self(t), Args: []string{"plugin"}, Driver: eventstore.Name, Chain: chain, Link: "journal", Config: section,
				StartTimeout: 15 * time.Second,
			})
		},
		Capabilities: capabilities,
		Kill: func(t contracttest.T, store driver.Store) {
			pid := store.(*plugins.Store).Status().PID //nolint:errcheck,forcetypeassert // opened above
			require.NotZero(t, pid)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		},
	}
}
