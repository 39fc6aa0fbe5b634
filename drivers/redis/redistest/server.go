// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/internal/freeport"
)

// The users of each server and their passwords.
const (
	Admin         = "admin"
	AdminPassword = "admin-password"
	User          = "understudy"
	UserPassword  = "user-password"
)

// Options are what is special about a server. The zero value is valid.
type Options struct {
	Config []string // further lines of redis.conf
	// PlainText: without TLS, for measurements.
	PlainText bool
}

// Server is one Redis server.
type Server struct {
	Addr string // host:port
	Dir  string // its data

	certs   Certificates
	plain   bool
	port    int
	process process

	mu     sync.Mutex
	client rueidis.Client
}

// Start starts a single server and waits until it answers.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s := prepare(tb, NewCertificates(tb), o)
	s.Start(tb)
	return s
}

// prepare makes a server that is still to be started, and that ends with the test.
func prepare(tb testing.TB, certs Certificates, o Options) *Server {
	tb.Helper()
	s := &Server{Dir: tb.TempDir(), certs: certs, plain: o.PlainText, port: freeport.Reserve(tb, 1)}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	lines := append(listening(s.port, certs, o.PlainText),
		"save \"\"",
		"daemonize no",
		"dir "+s.Dir,
		"masteruser "+Admin,
		"masterauth "+AdminPassword,
		"repl-diskless-sync-delay 0",
		"repl-ping-replica-period 1",
		// Redis 7.0 loads an append-only file as user default, and what that user may
		// not do is left out without an error; so it keeps all rights.
		"user default on >"+AdminPassword+" ~* &* +@all",
		"user "+Admin+" on >"+AdminPassword+" ~* &* +@all",
		"user "+User+" on >"+UserPassword+" "+strings.Join(redis.ACL("us"), " "),
	)
	writeConfig(tb, s.Dir, append(lines, o.Config...))
	tb.Cleanup(func() {
		if s.client != nil {
			s.client.Close()
		}
		s.process.end(tb, syscall.SIGKILL)
	})
	return s
}

func listening(port int, certs Certificates, plain bool) []string {
	if plain {
		return []string{"bind 127.0.0.1", "port " + strconv.Itoa(port)}
	}
	return []string{
		"bind 127.0.0.1",
		"port 0",
		"tls-port " + strconv.Itoa(port),
		"tls-ca-cert-file " + certs.CA,
		"tls-cert-file " + certs.Certificate,
		"tls-key-file " + certs.Key,
		"tls-auth-clients optional",
		"tls-replication yes",
		"tls-cluster yes",
	}
}

func writeConfig(t T, dir string, lines []string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "redis.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// Start starts the server, with the data it has, and waits until it answers.
func (s *Server) Start(t T) {
	t.Helper()
	s.process.start(t, s.Dir, filepath.Join(s.Dir, "redis.conf"))
	s.await(t)
}

func (s *Server) await(t T) {
	t.Helper()
	Eventually(t, s.Addr+" answers", func() error {
		select {
		case <-s.process.exited:
			require.FailNow(t, "redis-server ended", s.process.log())
		default:
		}
		return s.Admin(t).Do(t.Context(), s.Admin(t).B().Ping().Build()).Error()
	})
}

// Stop ends the server in good order; it saves its data if save is true.
func (s *Server) Stop(t T, save bool) {
	t.Helper()
	if save {
		s.Do(t, "SAVE")
	}
	s.process.end(t, syscall.SIGTERM)
}

// Kill ends the server at once.
func (s *Server) Kill(t T) {
	t.Helper()
	s.process.end(t, syscall.SIGKILL)
}

// Freeze stops the server without ending it: it accepts connections and never
// answers.
func (s *Server) Freeze(t T) { t.Helper(); s.process.signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw(t T) { t.Helper(); s.process.signal(t, syscall.SIGCONT) }

// Snapshot saves the data and returns a copy, for Restore.
func (s *Server) Snapshot(t T) []byte {
	t.Helper()
	s.Do(t, "SAVE")
	b, err := os.ReadFile(filepath.Join(s.Dir, "dump.rdb"))
	require.NoError(t, err)
	return b
}

// Restart kills the server and starts it with the data of a snapshot, or without
// any if it is nil.
func (s *Server) Restart(t T, snapshot []byte) {
	t.Helper()
	s.Kill(t)
	s.Restore(t, snapshot)
	s.Start(t)
}

// Restore replaces the data of a server that is not running.
func (s *Server) Restore(t T, snapshot []byte) {
	t.Helper()
	dump := filepath.Join(s.Dir, "dump.rdb")
	require.NoError(t, os.RemoveAll(dump))
	if snapshot != nil {
		require.NoError(t, os.WriteFile(dump, snapshot, 0o600))
	}
}

// Admin returns a client that may do everything.
func (s *Server) Admin(t T) rueidis.Client {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		s.client = s.dial(t)
	}
	return s.client
}

// dial makes a client; one that is not connected yet connects when it is used.
func (s *Server) dial(t T) rueidis.Client {
	t.Helper()
	o := rueidis.ClientOption{
		InitAddress: []string{s.Addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, AlwaysPipelining: true,
		Username: Admin, Password: AdminPassword, ConnWriteTimeout: patience,
	}
	o.Dialer.Timeout = patience
	if !s.plain {
		o.TLSConfig = s.certs.TLS(t)
	}
	client, err := rueidis.NewClient(o)
	if client == nil {
		require.NoError(t, err)
	}
	return client
}

// KillScript ends the script that blocks the server.
func (s *Server) KillScript(t T) {
	t.Helper()
	client := s.dial(t) // the other one may be waiting for the script
	defer client.Close()
	require.NoError(t, client.Do(t.Context(), client.B().ScriptKill().Build()).Error())
}

// Do runs a command as Admin; the answer is what redis-cli would show, roughly.
func (s *Server) Do(t T, args ...string) string {
	t.Helper()
	out, err := s.TryDo(t, args...)
	require.NoError(t, err, "%s: %s", s.Addr, strings.Join(args, " "))
	return out
}

// TryDo is Do with the error.
func (s *Server) TryDo(t T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := s.Admin(t)
	m, err := c.Do(ctx, c.B().Arbitrary(args...).Build()).ToAny()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", err
	}
	return fmt.Sprint(m), nil
}

// Info returns one line of INFO.
func (s *Server) Info(t T, key string) string {
	t.Helper()
	for line := range strings.Lines(s.Do(t, "INFO")) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	require.FailNow(t, "INFO has no line "+key)
	return ""
}

// Config returns a configuration of the driver for the server, with changes.
func (s *Server) Config(t T, changes map[string]any) json.RawMessage {
	t.Helper()
	c := map[string]any{"mode": "standalone", "addresses": []string{s.Addr}}
	return s.secure(t, c, changes)
}

// secure completes a configuration by login and TLS.
func (s *Server) secure(t T, c, changes map[string]any) json.RawMessage {
	t.Helper()
	c["username"], c["password"] = User, UserPassword
	if !s.plain {
		c["tls"] = map[string]any{"ca": s.certs.CA}
	}
	for k, v := range changes {
		c[k] = v
		if v == nil {
			delete(c, k)
		}
	}
	b, err := json.Marshal(c)
	require.NoError(t, err)
	return b
}

// Certificates returns the files that the server's certificate is made of.
func (s *Server) Certificates() Certificates { return s.certs }

// Log returns what the server has printed, once it has ended.
func (s *Server) Log() string { return s.process.log() }
