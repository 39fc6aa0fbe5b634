// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/drivers/journal"
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
	if given() {
		return patient(settingsOfGiven())
	}
	return calm(start(t, devserver.Options{}).Addresses()...)
}

// secured returns the settings for a server with TLS and credentials.
func secured(t testing.TB) settings {
	t.Helper()
	if given() {
		return patient(settingsOfGiven())
	}
	server := start(t, devserver.Options{TLS: true})
	return patient(settings{
		"hosts": server.Addresses(), "tls": settings{"ca": caFile(t, server)},
		"username": "admin", "password": "changeit",
	})
}

func caFile(t testing.TB, server *devserver.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(path, server.CA(), 0o600))
	return path
}

var capabilities = []driver.Capability{driver.CapChanges, driver.CapDurable, driver.CapShared}

// feedLength is how many changes the feeds of the suite reach back.
const feedLength = 2048

// linked is the harness of stores in this process. Such a store cannot be killed
// alone; what it holds beyond its memory is the connection, so that is what ends.
func linked(t testing.TB, s settings) contracttest.Harness {
	t.Helper()
	s["feed"] = feedLength
	section := s.json(t)
	open := removing(t, func(ct contracttest.T, chain string) (driver.Store, error) { return openReady(ct, chain, section) })
	return contracttest.Harness{
		Open:         open,
		Capabilities: capabilities,
		Kill:         func(t contracttest.T, store driver.Store) { require.NoError(t, store.Close(t.Context())) },
		DropChanges:  dropChanges(open),
		Timeout:      caseTimeout(),
	}
}

// openReady opens a store and waits until it serves, which takes a while when many
// tests share a machine.
func openReady(t contracttest.T, chain string, section json.RawMessage) (driver.Store, error) {
	store, err := contracttest.Linked(eventstore.Driver(), func(string) json.RawMessage { return section })(t, chain)
	if err != nil {
		return nil, err
	}
	if err := store.(*journal.Machine).Ready(t.Context()); err != nil { //nolint:errcheck,forcetypeassert // that is what Open returns
		return nil, errors.Join(err, store.Close(t.Context()))
	}
	return store, nil
}

// frozen is the harness of stores in this process that reach the leader through a
// proxy for each chain, which can stop letting anything pass.
func frozen(t testing.TB, s settings) contracttest.Harness {
	t.Helper()
	config, err := eventstore.ParseConfig(s.json(t))
	require.NoError(t, err)
	leader := open(t, s, func(o *eventstore.Options) { o.Chain = uniqueChain(t) }).ready().probe().Details["node"]
	var mu sync.Mutex
	proxies := map[string]*proxy{}
	of := func(chain string) *proxy {
		mu.Lock()
		defer mu.Unlock()
		if proxies[chain] == nil {
			proxies[chain] = newProxy(t, leader)
		}
		return proxies[chain]
	}
	through := func(p *proxy) settings {
		if config.TLS != nil && config.Insecure { // the certificate is not checked, which only such a string can say
			login := url.UserPassword(config.Username, config.Password.Reveal())
			return patient(settings{"connection_string": fmt.Sprintf("esdb://%s@%s?tlsVerifyCert=false", login, p.address()), "insecure": true, "feed": feedLength})
		}
		s := patient(settings{"hosts": []string{p.address()}, "feed": feedLength, "username": config.Username, "password": config.Password.Reveal(), "insecure": config.Insecure})
		if config.TLS != nil {
			host, _, err := net.SplitHostPort(leader)
			require.NoError(t, err)
			s["tls"] = settings{"ca": config.TLS.CA, "certificate": config.TLS.Certificate, "key": config.TLS.Key, "server_name": host}
		}
		return s
	}
	h := linked(t, s)
	h.Open = removing(t, func(ct contracttest.T, chain string) (driver.Store, error) {
		return openReady(ct, chain, through(of(chain)).json(ct))
	})
	h.Freeze = func(_ contracttest.T, chain string) func() {
		p := of(chain)
		p.set(func() { p.held = true })
		return func() { p.set(func() { p.held = false }) }
	}
	h.DropChanges = dropChanges(h.Open)
	return h
}

// dropChanges lets a workflow change so often that feeds forget what was before,
// and then expire.
func dropChanges(open func(contracttest.T, string) (driver.Store, error)) func(contracttest.T, string) {
	return func(t contracttest.T, chain string) {
		store, err := open(t, chain)
		require.NoError(t, err)
		epoch, err := store.Epoch(t.Context(), driver.EpochRequest{})
		require.NoError(t, err)
		now := epoch.Time
		filler := driver.Record{ID: "filler", Kind: "filler", Epoch: epoch.Epoch.Number, Status: driver.Succeeded, Created: now, Updated: now, Expires: now.Add(-time.Hour)}
		for filler.Revision < feedLength {
			var records []driver.Record
			for range driver.MaxBatch {
				filler.Revision++
				filler.Token = driver.NewToken()
				records = append(records, filler)
			}
			_, err := store.Merge(t.Context(), driver.MergeRequest{Guard: driver.Guard{Epoch: filler.Epoch}, Records: records})
			require.NoError(t, err)
		}
		for present := true; present; {
			got, err := store.Get(t.Context(), driver.GetRequest{IDs: []string{"filler"}})
			require.NoError(t, err)
			present = len(got.Records) > 0
		}
		require.NoError(t, store.Close(t.Context()))
	}
}

// launched is the harness of stores that each have a process of the plugin's own
// binary.
func launched(t testing.TB, s settings) contracttest.Harness {
	t.Helper()
	s["feed"] = feedLength
	section := s.json(t)
	binary := filepath.Join(t.TempDir(), "understudy-eventstore")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../plugins/eventstore").CombinedOutput()
	require.NoError(t, err, string(output))
	h := contracttest.Harness{
		Open: removing(t, func(t contracttest.T, chain string) (driver.Store, error) {
			store, err := plugins.Launch(t.Context(), plugins.Spec{
				Path: binary, Driver: eventstore.Name, Chain: chain, Link: "journal", Config: section,
				StartTimeout: time.Minute, PingTimeout: 10 * time.Second,
			})
			if err != nil {
				return nil, err
			}
			for err = errNotReady; err != nil && t.Context().Err() == nil; {
				_, err = store.Epoch(t.Context(), driver.EpochRequest{})
			}
			return store, nil
		}),
		Capabilities: capabilities,
		Timeout:      caseTimeout(),
		Kill: func(t contracttest.T, store driver.Store) {
			pid := store.(*plugins.Store).Status().PID //nolint:errcheck,forcetypeassert // opened above
			require.NotZero(t, pid)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		},
	}
	h.DropChanges = dropChanges(h.Open)
	return h
}

var errNotReady = errors.New("not asked yet")
